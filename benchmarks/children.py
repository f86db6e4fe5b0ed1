"""1,000 children of one step gathered by one parent, beside the floor's time for as many flows."""

from __future__ import annotations

import time
from collections.abc import Iterator

from benchmarks.event_loop import run
from benchmarks.floor import floor
from benchmarks.row import Goal, Row, paired
from benchmarks.system import System, system
from benchmarks.workflows import gathers_children

__all__ = ("rows",)

_GOAL = Goal(reach=3, aim=2)


def rows(*, is_quick: bool) -> Iterator[Row]:
    repeat, count = (3, 300) if is_quick else (7, 1_000)
    with floor() as bare, system() as ours:
        [result] = paired(repeat, lambda: count / bare.flows_per_s(count), lambda: run(_gathered_s(ours, count)))
    yield Row(name="children", value=result.value, unit="s", floor=result.floor, ratio=result.ratio, goal=_GOAL)


async def _gathered_s(ours: System, count: int) -> float:
    async with ours.client() as client:
        began = time.perf_counter()
        await client.call(gathers_children, count)
        return time.perf_counter() - began
