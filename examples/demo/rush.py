"""Hundreds of orders, while a worker is killed and replaced every second."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import NamedTuple

from examples.demo.children import Said
from examples.demo.provider import ANSWER_S
from examples.demo.shop import Order, charge_card
from examples.demo.stage import Actor, Stage
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from relight import RelightError

__all__ = ("Rush", "play")

STARTS_AT_ONCE = 50
GIVE_UP_S = 45.0


class Rush(NamedTuple):
    """How it went."""

    unfinished: list[str]
    completed: int
    killed: int
    seconds: float


async def play(console: Console, stage: Stage, orders: list[Order]) -> Rush:
    """Start a run for each order, and return when all have completed or time is up."""
    starting = asyncio.Semaphore(STARTS_AT_ONCE)
    unfinished: list[str] = []
    killed: list[Actor] = []

    async def process(order: Order) -> None:
        async with starting:
            run = await stage.start(order, f"-{order.id}")
        try:
            await run.result(timeout=GIVE_UP_S)
            advance(len(killed))
        except RelightError:
            unfinished.append(run.id)

    # The time that a new worker needs to start is about that between two kills; a third one keeps the orders moving.
    await stage.add()
    began_s = time.monotonic()
    with _progress(console, len(orders)) as advance:
        killing = asyncio.create_task(_kill_every_second(stage, killed))
        try:
            await asyncio.gather(*map(process, orders))
        finally:
            killing.cancel()
            await asyncio.wait([killing])
    return Rush(sorted(unfinished), len(orders) - len(unfinished), len(killed), time.monotonic() - began_s)


async def _kill_every_second(stage: Stage, killed: list[Actor]) -> None:
    async with asyncio.TaskGroup() as replacing:
        while True:
            await asyncio.sleep(1)
            # On a slow machine a new worker needs longer than a second; the last one that works is spared.
            ready = [one for one in stage.actors if one.child.is_ready]
            if len(ready) > 1:
                await _until_it_has_paid(stage, ready[0])
                await stage.kill(ready[0])
                replacing.create_task(stage.add())
                killed.append(ready[0])


async def _until_it_has_paid(stage: Stage, actor: Actor) -> None:
    """Wait until the worker asks for a charge, and then for the moment when that is booked and not yet answered."""
    asks = asyncio.Event()

    def hear(who: Actor, said: Said) -> None:
        if who is actor and said["what"] == "calls" and said["step"] == charge_card.name:
            asks.set()

    stage.hear = hear
    await asks.wait()
    await asyncio.sleep(ANSWER_S / 2)


@contextmanager
def _progress(console: Console, total: int) -> Generator[Callable[[int], None], None, None]:
    """Yield a function to call for each order that completes, with the number of workers killed so far."""
    if not console.is_terminal:
        yield _Lines(console, total).advance
        return
    columns = (
        TextColumn("  orders"), BarColumn(40), MofNCompleteColumn(),
        TextColumn("workers killed: {task.fields[killed]}"), TimeElapsedColumn(),
    )  # fmt: skip
    with Progress(*columns, console=console) as bar:
        task = bar.add_task("orders", total=total, killed=0)
        yield lambda killed: bar.update(task, advance=1, killed=killed)


class _Lines:
    """A progress bar for those who have no terminal: one line for each fifth."""

    def __init__(self, console: Console, total: int) -> None:
        self._console = console
        self._total = total
        self._done = 0

    def advance(self, killed: int) -> None:
        self._done += 1
        if self._done % max(1, self._total // 5) == 0:
            self._console.print(f"  {self._done:>3} of {self._total} orders, workers killed: {killed}", highlight=False)
