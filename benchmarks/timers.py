"""1,000 durable timers due at one moment: how late the step behind each of them begins."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

from benchmarks.event_loop import run
from benchmarks.row import Goal, Row
from benchmarks.system import System, system
from benchmarks.workflows import sleeper

__all__ = ("rows",)

_TIMERS = 1_000
_AHEAD_S = 8.0
"""All of them are armed, and their runs out of memory, well before they are due."""


def rows(*, is_quick: bool) -> Iterator[Row]:
    with system() as ours:
        rounds = [run(_late_s(ours)) for _ in range(1 if is_quick else 3)]
    late = sorted(one for part in rounds for one in part)
    goal = Goal(reach=0.6, aim=0.5, is_ratio=False)
    yield Row(name="timers_lateness_p50", value=late[len(late) // 2], unit="s")
    yield Row(name="timers_lateness_p99", value=late[len(late) * 99 // 100], unit="s", goal=goal)


async def _late_s(ours: System) -> list[float]:
    async with ours.client() as client:
        due = datetime.now(UTC) + timedelta(seconds=_AHEAD_S)
        runs = await asyncio.gather(*(client.start(sleeper, due) for _ in range(_TIMERS)))
        return await asyncio.gather(*(one.result() for one in runs))
