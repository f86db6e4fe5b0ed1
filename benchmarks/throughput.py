"""Three-step workflows per second: 400 in flight, one client that awaits each result, two worker processes."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator

from benchmarks.event_loop import run
from benchmarks.floor import IN_FLIGHT, floor
from benchmarks.row import Goal, Row, paired
from benchmarks.system import System, flow, system

__all__ = ("rows", "rows_always")

_GOAL = Goal(reach=0.4, aim=0.6, more_is_better=True)


def rows(*, is_quick: bool) -> Iterator[Row]:
    yield _row("workflows", is_quick=is_quick, shards=1, sync="default")


def rows_always(*, is_quick: bool) -> Iterator[Row]:
    yield _row("workflows_always", is_quick=is_quick, shards=8, sync="always")


def _row(name: str, *, is_quick: bool, shards: int, sync: str) -> Row:
    repeat, count = (3, 2_000) if is_quick else (9, 4_000)
    with floor(shards=shards, sync=sync) as bare, system(shards=shards, sync=sync) as ours:
        [result] = paired(repeat, lambda: bare.flows_per_s(count), lambda: run(_workflows_per_s(ours, count)))
    return Row(name=name, value=result.value, unit="workflows/s", floor=result.floor, ratio=result.ratio, goal=_GOAL)


async def _workflows_per_s(ours: System, count: int) -> float:
    places = asyncio.Semaphore(IN_FLIGHT)
    async with ours.client() as client:

        async def one(number: int) -> None:
            async with places:
                await flow(client, number)

        began = time.perf_counter()
        await asyncio.gather(*(one(number) for number in range(count)))
        return count / (time.perf_counter() - began)
