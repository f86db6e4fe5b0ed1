"""The same, sustained, with retirement: each finished run is retired by the client, and that counts into the time.

A retiring task takes whatever has finished meanwhile, as a janitor would; none waits for others to finish. The floor is
sustained as well, for about ten seconds before and after: one of a second is some 7 % faster.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator

from benchmarks.event_loop import run
from benchmarks.floor import IN_FLIGHT, floor
from benchmarks.row import Goal, Row, paired
from benchmarks.system import System, flow, system
from relight import Relight
from relight.actors.retire import retire_each
from relight.config.limits import LIMITS

__all__ = ("rows",)

_GOAL = Goal(reach=0.28, aim=0.45, more_is_better=True)
_RETIRING = 6
_QUEUED_MAX = 400


def rows(*, is_quick: bool) -> Iterator[Row]:
    seconds, count = (20.0, 2_000) if is_quick else (60.0, 100_000)
    with floor() as bare, system() as ours:
        [result] = paired(1, lambda: bare.flows_per_s(count), lambda: run(_sustained(ours, seconds)))
    yield Row(
        name="workflows_sustained",
        value=result.value,
        unit="workflows/s",
        floor=result.floor,
        ratio=result.ratio,
        goal=_GOAL,
    )


async def _sustained(ours: System, seconds: float) -> float:
    """Return workflows per second; the time ends when the last of them is retired."""
    finished: asyncio.Queue[str] = asyncio.Queue(_QUEUED_MAX)
    began = time.perf_counter()
    async with ours.client() as client:
        retiring = [asyncio.create_task(_retire(client, finished)) for _ in range(_RETIRING)]
        running = [_run_until(client, finished, began + seconds) for _ in range(IN_FLIGHT)]
        count = sum(await asyncio.gather(*running))
        await finished.join()
        took_s = time.perf_counter() - began
        for one in retiring:
            one.cancel()
    return count / took_s


async def _run_until(client: Relight, finished: asyncio.Queue[str], end: float) -> int:
    count = 0
    while time.perf_counter() < end:
        run_id = await flow(client, count)
        await finished.put(run_id)
        count += 1
    return count


async def _retire(client: Relight, finished: asyncio.Queue[str]) -> None:
    while True:
        runs = [await finished.get()]
        while not finished.empty() and len(runs) < LIMITS.retirements_at_once:
            runs.append(finished.get_nowait())
        left = await retire_each(client.door, client.subjects, runs)
        assert not left, left
        for _ in runs:
            finished.task_done()
