"""One workflow of one step on an idle system: until its step begins, and until the client has its result."""

from __future__ import annotations

import time
from collections.abc import Iterator

from benchmarks.event_loop import run
from benchmarks.floor import floor
from benchmarks.row import Goal, Row, median, paired
from benchmarks.system import System, system
from benchmarks.workflows import one_step

__all__ = ("rows",)

_RUNS = 20
_NAMES = ("first_step", "one_step_workflow")
_GOALS = (Goal(reach=6, aim=4), Goal(reach=10, aim=6))


def rows(*, is_quick: bool) -> Iterator[Row]:
    with floor(workers=0) as bare, system() as ours:
        results = paired(3 if is_quick else 11, lambda: bare.publish_us(400), lambda: run(_times_us(ours)))
    for name, goal, result in zip(_NAMES, _GOALS, results, strict=True):
        yield Row(name=name, value=result.value, unit="us", floor=result.floor, ratio=result.ratio, goal=goal)


async def _times_us(ours: System) -> tuple[float, float]:
    to_step: list[int] = []
    to_result: list[int] = []
    async with ours.client() as client:
        await client.call(one_step)
        for _ in range(_RUNS):
            began = time.monotonic_ns()
            step_began = await client.call(one_step)
            to_result.append(time.monotonic_ns() - began)
            to_step.append(step_began - began)
    return median(to_step) / 1e3, median(to_result) / 1e3
