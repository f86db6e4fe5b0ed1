"""Workers with different code in one queue: who lacks a run's code hands what came for it to a worker that has it."""

from __future__ import annotations

import asyncio

import pytest
from tests.crash.workers_in_memory import WorkersInMemory, workers_in_memory

from relight import WorkflowContext, step, workflow
from relight.subjects import records as r
from relight.testing.memory import MemoryDoor, Operation

_PATIENCE_S = 0.9
"""Less than the first delay with which a delivery is given back."""


@step
async def worked() -> str:
    return "worked"


@workflow
async def works(ctx: WorkflowContext) -> str:
    return await worked()


@workflow
async def rests(ctx: WorkflowContext) -> None:
    """What the other worker has."""


class Gate:
    """Where steps of a test wait, each in its place."""

    def __init__(self) -> None:
        self.waiting = 0
        self.open = asyncio.Event()


_gates: dict[str, Gate] = {}


@step
async def passed(gate: str) -> str:
    _gates[gate].waiting += 1
    await _gates[gate].open.wait()
    return "passed"


@workflow
async def passes(ctx: WorkflowContext, gate: str) -> str:
    return await passed(gate)


@workflow(pin="version")
async def stays_in_memory(ctx: WorkflowContext) -> str:
    return await ctx.suspend("answer", type=str)


def _given_back(site: WorkersInMemory) -> list[str]:
    """Which worker has given a delivery back, as it happens."""
    given_back = list[str]()

    def on_operation(door: MemoryDoor, operation: Operation, moment: str) -> None:
        if operation.name == "nak" and moment == "after":
            given_back.append(operation.by)

    site.server.on_operation = on_operation
    return given_back


async def test_starts_go_to_the_worker_that_has_their_workflow() -> None:
    async with workers_in_memory() as site:
        await site.add(rests)
        able = await site.add(works)
        given_back = _given_back(site)
        began_ms = site.server.clock.now_ms()

        runs = [await site.result(site.client.start(works)) for _ in range(20)]
        results = await site.result(asyncio.gather(*(run.result() for run in runs)))

        assert results == ["worked"] * 20
        assert site.server.clock.now_ms() - began_ms < 1000 * _PATIENCE_S
        assert given_back == []
        assert {turn.owner for run in runs for turn in site.turns(run.id)} == {able.host.worker}
        assert all(len(site.records(run.id, r.StepCompleted)) == 1 for run in runs)


async def test_an_answer_goes_to_the_worker_of_the_version_with_which_the_run_stays() -> None:
    async with workers_in_memory() as site:
        first = await site.add(stays_in_memory, version="1")
        runs = [await site.result(site.client.start(stays_in_memory)) for _ in range(10)]
        await site.until(lambda: all(site.records(run.id, r.Suspended) for run in runs))
        await site.pass_time(5)
        first.kill()
        await site.add(stays_in_memory, version="2")
        await site.add(rests)
        heir = await site.add(stays_in_memory, version="1")
        given_back = _given_back(site)
        began_ms = site.server.clock.now_ms()

        for run in runs:
            await site.result(run.resume("answer", "yes"))
        results = await site.result(asyncio.gather(*(run.result() for run in runs)))

        assert results == ["yes"] * 10
        assert site.server.clock.now_ms() - began_ms < 1000 * _PATIENCE_S
        assert given_back == []
        assert {site.turns(run.id)[-1].owner for run in runs} == {heir.host.worker}


async def test_a_worker_without_room_is_handed_no_starts() -> None:
    gate = _gates["room"] = Gate()
    async with workers_in_memory() as site:
        await site.add(rests)
        await site.add(passes, concurrency=1)
        given_back = _given_back(site)

        runs = [await site.result(site.client.start(passes, "room")) for _ in range(8)]
        await site.pass_time(3)

        assert "worker-1" in given_back
        # One that it has asked for already may come beside one that it is handed.
        assert 1 <= gate.waiting <= 2
        gate.open.set()
        assert await site.result(asyncio.gather(*(run.result() for run in runs))) == ["passed"] * 8


async def test_the_starts_that_a_worker_is_handed_take_its_places() -> None:
    async with workers_in_memory() as site:
        other = await site.add(rests)
        await site.add(works, passes, concurrency=1)
        for _ in range(20):
            run = await site.result(site.client.start(works))
            await site.result(run.result())
        other.kill()
        gate = _gates["places"] = Gate()

        runs = [await site.result(site.client.start(passes, "places")) for _ in range(6)]
        await site.pass_time(60)

        assert gate.waiting == 1
        gate.open.set()
        assert await site.result(asyncio.gather(*(run.result() for run in runs))) == ["passed"] * 6


async def test_a_worker_of_another_queue_is_handed_nothing() -> None:
    async with workers_in_memory() as site:
        await site.add(rests)
        elsewhere = await site.add(works, queue="elsewhere")
        given_back = _given_back(site)

        run = await site.result(site.client.start(works))
        await site.pass_time(2)

        assert set(given_back) == {"worker-1"}
        assert not elsewhere.host.holds(run.id)
        assert site.turns(run.id) == []


async def test_a_worker_that_drains_is_handed_nothing() -> None:
    async with workers_in_memory() as site:
        await site.add(rests)
        leaving = await site.add(works)
        await site.result(leaving.host.drain(0.0))
        given_back = _given_back(site)

        await site.result(site.client.start(works))
        await site.pass_time(2)

        assert set(given_back) == {"worker-1"}


@pytest.mark.parametrize("moment", ["before", "after"])
@pytest.mark.parametrize("number", [1, 2, 3, 4, 5])
async def test_runs_go_on_when_the_worker_dies_that_was_handed_their_starts(number: int, moment: str) -> None:
    async with workers_in_memory() as site:
        await site.add(rests)
        able = await site.add(works)
        seen = 0

        def on_operation(door: MemoryDoor, operation: Operation, now: str) -> None:
            nonlocal seen
            seen += door is able.door and now == moment
            if seen == number:
                able.kill()

        site.server.on_operation = on_operation
        runs = [await site.result(site.client.start(works)) for _ in range(4)]
        await site.pass_time(1)
        site.server.on_operation = None
        await site.add(works)
        results = await site.result(asyncio.gather(*(run.result() for run in runs)))

        assert seen >= number, "it was killed"
        assert results == ["worked"] * 4
        assert all(len(site.records(run.id, r.StepCompleted)) == 1 for run in runs)
        await site.pass_time(60)
        of = site.client.subjects
        assert all(not site.server.unacknowledged(of.start("default", run.id)) for run in runs)


async def test_a_stuck_run_goes_on_although_who_parked_it_died_before_it_had_left_word() -> None:
    gate = _gates["stuck"] = Gate()

    @workflow(name="passes")
    async def changed(ctx: WorkflowContext, gate: str) -> str:
        return await worked()

    async with workers_in_memory() as site:
        first = await site.add(passes, code="code")
        run = await site.result(site.client.start(passes, "stuck"))
        await site.until(lambda: gate.waiting == 1)
        await site.pass_time(1)
        first.kill()
        parking = await site.add(changed, code="other code")

        def on_operation(door: MemoryDoor, operation: Operation, moment: str) -> None:
            if operation.name == "schedule":
                parking.kill()

        site.server.on_operation = on_operation
        await site.until(lambda: bool(site.records(run.id, r.Parked)))
        await site.pass_time(1)
        site.server.on_operation = None
        gate.open.set()
        await site.add(passes, code="code")

        await site.pass_time(60)

        assert [type(one) for one in site.records(run.id, r.Parked, r.Unparked)] == [r.Parked, r.Unparked]
        assert site.records(run.id, r.RunCompleted)
