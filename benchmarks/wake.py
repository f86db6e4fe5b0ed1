"""Waking by `resume`, until the client has the result: 100 runs wait, out of memory, and are woken one by one."""

from __future__ import annotations

import time
from collections.abc import Iterator

from benchmarks.event_loop import run
from benchmarks.floor import floor
from benchmarks.row import Goal, Row, median, paired
from benchmarks.system import System, system, wait_until_at_rest
from benchmarks.workflows import waiter

__all__ = ("rows",)

_WAITING = 100


def rows(*, is_quick: bool) -> Iterator[Row]:
    with floor(workers=0) as bare, system() as ours:
        [result] = paired(3 if is_quick else 7, lambda: bare.publish_us(400), lambda: run(_wake_us(ours)))
    goal = Goal(reach=12, aim=8)
    yield Row(name="wake", value=result.value, unit="us", floor=result.floor, ratio=result.ratio, goal=goal)


async def _wake_us(ours: System) -> float:
    times: list[float] = []
    async with ours.client() as client:
        waiting = [await client.start(waiter, f"topic {number}") for number in range(_WAITING)]
        await wait_until_at_rest(client, [one.id for one in waiting])
        for one in waiting:
            began = time.perf_counter()
            await one.resume("answer", "yes")
            await one.result()
            times.append(time.perf_counter() - began)
    return median(times) * 1e6
