"""10,000 waiting runs: what each costs the workers' memory, the server's memory and the disk.

Workers keep the coroutines of the runs that waited last for a moment, at most `limits.resting_max` of them, and Python
keeps that memory for the next ones. The first figure has all of it in it, which weighs more in the fewer runs of
`--quick`. So the same number waits once more: what the workers grow by then is what a further waiting run costs them.

A server in Go that has nothing to do collects two minutes after it last did; before that its memory says how much it
had to do. What idle workers say to each other makes it collect once in between, when what the burst had in use is still
in its caches (seen: 99.6 MB after 140 s, 62.3 MB 14 s later). So its figure, over both passes, is taken after twice
that time, except with `--quick`.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from typing import NamedTuple

from benchmarks.event_loop import run
from benchmarks.floor import IN_FLIGHT
from benchmarks.processes import disk_bytes, resident_bytes
from benchmarks.row import Goal, Row
from benchmarks.system import System, flow, system, wait_until_at_rest
from benchmarks.workflows import waiter
from relight.config.limits import KIB

__all__ = ("rows",)

_GOALS = ((2.0, 0.2), (2.0, 1.0), (3.0, 1.5))
_WARM_UP = 2_000
_SETTLE_S = 3.0
_COLLECTED_S = 250.0


def rows(*, is_quick: bool) -> Iterator[Row]:
    count = 2_000 if is_quick else 10_000
    with system() as ours:
        # Memory that ordinary work needs is there before, so that the difference is that of the waiting runs.
        run(_pass_through(ours, _WARM_UP))
        before = _sizes(ours)
        run(_let_wait(ours, count))
        after = _sizes(ours)
        run(_let_wait(ours, count))
        if not is_quick:
            time.sleep(_COLLECTED_S)
        further = _sizes(ours)
    workers, server, disk = _GOALS
    yield _row("waiting_worker_memory", after.workers - before.workers, count, workers)
    yield _row("waiting_worker_memory_further", further.workers - after.workers, count, None)
    yield _row("waiting_server_memory", further.server - before.server, 2 * count, server)
    yield _row("waiting_disk", further.disk - before.disk, 2 * count, disk)


def _row(name: str, size: int, count: int, goal: tuple[float, float] | None) -> Row:
    wanted = None if goal is None else Goal(reach=goal[0], aim=goal[1], is_ratio=False)
    return Row(name=name, value=size / count / KIB, unit="KiB/run", goal=wanted)


class _Sizes(NamedTuple):
    """Bytes; of the workers' memory that of both together."""

    workers: int
    server: int
    disk: int


def _sizes(ours: System) -> _Sizes:
    workers = sum(resident_bytes(one) for one in ours.workers)
    return _Sizes(workers, resident_bytes(ours.server.process_id), disk_bytes(ours.server.directory))


async def _pass_through(ours: System, count: int) -> None:
    places = asyncio.Semaphore(IN_FLIGHT)
    async with ours.client() as client:

        async def one(number: int) -> None:
            async with places:
                await flow(client, number)

        await asyncio.gather(*(one(number) for number in range(count)))
    await asyncio.sleep(_SETTLE_S)


async def _let_wait(ours: System, count: int) -> None:
    places = asyncio.Semaphore(IN_FLIGHT)
    async with ours.client() as client:

        async def one(number: int) -> str:
            async with places:
                return (await client.start(waiter, f"topic {number}")).id

        runs = await asyncio.gather(*(one(number) for number in range(count)))
        await wait_until_at_rest(client, runs[-IN_FLIGHT:])
        await wait_until_at_rest(client, runs[:: max(1, count // 100)])
    await asyncio.sleep(_SETTLE_S)
