"""Hundreds of orders, while a worker is killed and replaced every second."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from collections.abc import Iterator
from typing import NamedTuple

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from examples.demo.shop import Order
from examples.demo.stage import Stage

__all__ = ("Rush", "play")

STARTS_AT_ONCE = 50
GIVE_UP_S = 120.0


class Rush(NamedTuple):
    """How it went."""

    completed: int
    killed: int
    seconds: float


async def play(console: Console, stage: Stage, orders: list[Order]) -> Rush:
    """Start a run for each order and return when all have completed."""
    killed = 0
    began_s = time.monotonic()

    def count_kill() -> None:
        nonlocal killed
        killed += 1

    with _progress(console, len(orders)) as advance:
        starting = asyncio.Semaphore(STARTS_AT_ONCE)

        async def process(order: Order) -> None:
            async with starting:
                run = await stage.start(order, f"-{order.id}")
            await run.result(timeout=GIVE_UP_S)
            advance(killed)

        killing = asyncio.create_task(_kill_every_second(stage, count_kill))
        try:
            async with asyncio.TaskGroup() as tasks:
                for order in orders:
                    tasks.create_task(process(order))
        finally:
            killing.cancel()
            with suppress(asyncio.CancelledError):
                await killing
    return Rush(len(orders), killed, time.monotonic() - began_s)


async def _kill_every_second(stage: Stage, count: Callable[[], None]) -> None:
    async with asyncio.TaskGroup() as replacing:
        while True:
            await asyncio.sleep(1)
            # On a slow machine a new worker needs longer than a second; the last one that works is spared.
            ready = [one for one in stage.actors if one.child.is_ready]
            if len(ready) > 1:
                await stage.kill(ready[0])
                replacing.create_task(stage.add())
                count()


@contextmanager
def _progress(console: Console, total: int) -> Iterator[Callable[[int], None]]:
    """Yield a function to call for each order that completes, with the number of workers killed so far."""
    done = 0
    if not console.is_terminal:
        def tell(killed: int) -> None:
            nonlocal done
            done += 1
            if done % max(1, total // 5) == 0:
                console.print(f"  {done:>3} of {total} orders, {killed} workers killed", highlight=False)

        yield tell
        return
    columns = (TextColumn("  orders"), BarColumn(40), MofNCompleteColumn(), TextColumn("{task.fields[killed]} workers killed"), TimeElapsedColumn())
    with Progress(*columns, console=console) as bar:
        task = bar.add_task("orders", total=total, killed=0)
        yield lambda killed: bar.update(task, advance=1, killed=killed)
