"""A run that waits stays in its owner's memory for a while: until when, and what must not be dropped with it."""

from __future__ import annotations

import asyncio
import gc
from typing import Any, cast

import pytest
from tests.crash.workers_in_memory import MemoryWorker, WorkersInMemory, workers_in_memory

from relight import WorkflowContext, step, workflow
from relight.actors.door import Door, Stored
from relight.config.limits import LIMITS
from relight.subjects import records as r

_gate = asyncio.Event()


@step
async def work() -> str:
    await _gate.wait()
    return "done"


@workflow
async def works_after_the_third_signal(ctx: WorkflowContext) -> str:
    for _ in range(3):
        await ctx.wait_for_signal("go", type=int)
    return await work()


@workflow
async def waits(ctx: WorkflowContext) -> str:
    return await ctx.suspend("answer", type=str)


class _LateDoor:
    """A door whose next look at the end of a journal comes back only when the test lets it."""

    def __init__(self, door: Door) -> None:
        self._door = door
        self.is_late = False
        self.answer = asyncio.Event()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._door, name)

    async def last(self, subject: str) -> Stored | None:
        is_late, self.is_late = self.is_late, False
        found = await self._door.last(subject)
        if is_late:
            await self.answer.wait()
        return found


async def test_a_run_is_not_dropped_while_it_works_because_it_once_rested() -> None:
    _gate.clear()
    async with workers_in_memory() as site:
        first = await site.add(works_after_the_third_signal)
        run = await site.client.start(works_after_the_third_signal)
        await site.until(lambda: len(site.turns(run.id)) == 1)
        await site.pass_time(2 * LIMITS.linger_s)
        first.kill()
        second, door = await _late_worker(site)

        door.is_late = True
        await run.signal("go", 1)
        await site.passes()
        await run.signal("go", 2)  # Its delivery overtakes that of the first, and brings both messages.
        await site.until(lambda: len(site.turns(run.id)) == 2)
        await site.passes()
        door.answer.set()
        await site.pass_time(0.9 * LIMITS.linger_s)
        await run.signal("go", 3)
        await site.pass_time(2 * LIMITS.linger_s)
        assert second.host.steps_running == 1
        _gate.set()

        assert await site.result(run.result()) == "done"


async def _late_worker(site: WorkersInMemory) -> tuple[MemoryWorker, _LateDoor]:
    worker = await site.add(works_after_the_third_signal)
    door = _LateDoor(worker.door)
    worker.host.door = cast("Door", door)
    return worker, door


async def test_a_waiting_run_leaves_memory_when_it_has_lingered() -> None:
    async with workers_in_memory() as site:
        worker = await site.add(waits)
        run = await site.client.start(waits)
        await site.until(lambda: len(site.turns(run.id)) == 1)

        await site.pass_time(0.9 * LIMITS.linger_s)
        held_before = worker.host.holds(run.id)
        await site.pass_time(0.4 * LIMITS.linger_s)

        assert held_before
        assert not worker.host.holds(run.id)


@step
async def reads(size: int) -> str:
    return "x" * size


@workflow
async def reads_and_waits(ctx: WorkflowContext, size: int, times: int = 1) -> int:
    read = [await reads(size) for _ in range(times)]
    await ctx.suspend("answer")
    return sum(map(len, read))


@pytest.mark.parametrize("size", [200_000, 700_000])
async def test_waiting_runs_are_kept_only_while_what_they_hold_has_room(size: int) -> None:
    async with workers_in_memory() as site:
        worker = await site.add(reads_and_waits)
        runs = [await site.client.start(reads_and_waits, size) for _ in range(200)]

        await site.until(lambda: all(site.records(run.id, r.Suspended) for run in runs))
        await site.passes()
        held = sum(worker.host.holds(run.id) for run in runs)

        assert held == LIMITS.resting_bytes_max // size
        await site.result(runs[0].resume("answer"))
        assert await site.result(runs[0].result()) == size
        # What it held is given back, whoever takes the room.
        await site.pass_time(2 * LIMITS.linger_s)
        again = [await site.client.start(reads_and_waits, size) for _ in range(200)]
        await site.until(lambda: all(site.records(run.id, r.Suspended) for run in again))
        await site.passes()
        assert sum(worker.host.holds(run.id) for run in again) == held


@pytest.mark.parametrize(("size", "times"), [(60_000, 4), (700_000, 1)])  # In the journal, and apart.
async def test_runs_that_were_read_again_count_as_much_as_before(size: int, times: int) -> None:
    async with workers_in_memory() as site:
        worker = await site.add(reads_and_waits)
        kept_max = LIMITS.resting_bytes_max // (size * times)
        runs = [await site.client.start(reads_and_waits, size, times) for _ in range(kept_max + 20)]
        await site.until(lambda: all(site.records(run.id, r.Suspended) for run in runs))
        await site.pass_time(5)

        for run in runs:
            await run.signal("wakes")
        await site.until(lambda: all(site.records(run.id, r.SignalReceived) for run in runs))
        await site.passes()

        assert 0.95 * kept_max < sum(worker.host.holds(run.id) for run in runs) <= kept_max


async def test_of_more_waiting_runs_than_are_kept_those_that_rested_first_are_dropped() -> None:
    async with workers_in_memory() as site:
        worker = await site.add(waits)
        runs = [await site.client.start(waits) for _ in range(LIMITS.resting_max + 50)]

        await site.until(lambda: all(site.turns(run.id) for run in runs))
        await site.passes()

        assert sum(worker.host.holds(run.id) for run in runs) == LIMITS.resting_max


_left: list[str] = []


@workflow
async def cleans_up(ctx: WorkflowContext) -> None:
    try:
        await ctx.suspend("answer", type=str)
    finally:
        _left.append("cleaned up")


async def _rests_at_a_worker_that_leaves() -> None:
    async with workers_in_memory() as site:
        worker = await site.add(cleans_up)
        run = await site.result(site.client.start(cleans_up))
        await site.until(lambda: len(site.turns(run.id)) == 1)
        await site.pass_time(LIMITS.linger_s / 2)
        await site.result(worker.host.drain(0))


async def test_the_code_of_a_run_that_rests_does_not_go_on_when_its_worker_leaves() -> None:
    _left.clear()

    await _rests_at_a_worker_that_leaves()
    gc.collect()

    assert _left == []
