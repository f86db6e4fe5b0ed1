"""Time per sequential step: 100 trivial steps of one run, from the beginning of one to the beginning of the next."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

from benchmarks.event_loop import run
from benchmarks.floor import floor
from benchmarks.row import Goal, Row, median, paired
from benchmarks.system import System, system
from benchmarks.workflows import moments_of_steps

__all__ = ("rows", "rows_always")

_STEPS = 100
_GOAL = Goal(reach=1.6, aim=1.25)


def rows(*, is_quick: bool) -> Iterator[Row]:
    yield _row("sequential_step", is_quick=is_quick, shards=1, sync="default")


def rows_always(*, is_quick: bool) -> Iterator[Row]:
    yield _row("sequential_step_always", is_quick=is_quick, shards=8, sync="always")


def _row(name: str, *, is_quick: bool, shards: int, sync: str) -> Row:
    with floor(shards=shards, sync=sync, workers=0) as bare, system(shards=shards, sync=sync) as ours:
        repeat = 5 if is_quick else 25
        [result] = paired(repeat, lambda: bare.publish_us(400), lambda: run(_step_us(ours)))
    return Row(name=name, value=result.value, unit="us", floor=result.floor, ratio=result.ratio, goal=_GOAL)


async def _step_us(ours: System) -> float:
    async with ours.client() as client:
        moments = await client.call(moments_of_steps, _STEPS)
    return median(second - first for first, second in pairwise(moments)) / 1e3
