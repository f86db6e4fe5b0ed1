"""Runs that are held for long: their leases, their mailboxes, and what others may do to either."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any

import pytest
from tests.crash.workers_in_memory import WorkersInMemory, workers_in_memory

from relight import Run, WorkflowContext, step, workflow
from relight.config.limits import LIMITS
from relight.subjects import records as r
from relight.testing.memory import MemoryDoor, Operation


class Gate:
    """Where the attempts of a test wait."""

    def __init__(self) -> None:
        self.begun = 0
        self.open = asyncio.Event()


_gates: dict[str, Gate] = {}


@pytest.fixture
def gate(request: pytest.FixtureRequest) -> Gate:
    _gates[request.node.name] = Gate()
    return _gates[request.node.name]


@step
async def held(gate: str) -> str:
    _gates[gate].begun += 1
    await _gates[gate].open.wait()
    return "done"


@workflow
async def works_for_long(ctx: WorkflowContext, gate: str) -> str:
    return await held(gate)


async def _listens(ctx: WorkflowContext, gate: str, signals: int) -> str:
    """Meanwhile a step is at work, so that the run is never let go."""
    work = asyncio.ensure_future(held(gate))
    for _ in range(signals):
        await ctx.wait_for_signal("news", type=int)
    return await work


@workflow
async def listens_and_works(ctx: WorkflowContext, gate: str, signals: int) -> str:
    return await _listens(ctx, gate, signals)


@workflow
async def is_woken_and_works(ctx: WorkflowContext, gate: str, signals: int) -> str:
    await ctx.wait_for_signal("begin", type=int)
    return await _listens(ctx, gate, signals)


def _mailbox(site: WorkersInMemory, run: Run[Any]) -> int:
    return site.server.stream.count(site.client.subjects.wake("default", run.id))


async def test_a_lease_that_is_held_for_hours_is_changed_for_a_fresh_one(
    gate: Gate, request: pytest.FixtureRequest
) -> None:
    async with workers_in_memory() as site:
        await site.add(works_for_long)
        run = await site.result(site.client.start(works_for_long, request.node.name))
        await site.until(lambda: gate.begun == 1)
        start = site.client.subjects.start("default", run.id)
        await site.pass_time(LIMITS.lease_s_max / 2)
        assert site.server.unacknowledged(start), "the start is the lease"
        published = Counter[str]()

        def on_operation(door: MemoryDoor, operation: Operation, moment: str) -> None:
            published[operation.name] += moment == "after"

        site.server.on_operation = on_operation
        await site.pass_time(2 * LIMITS.lease_s_max)

        assert published["publish"] == 2
        assert not site.server.unacknowledged(start)
        assert len(site.server.unacknowledged(site.client.subjects.wake("default", run.id))) == 1
        gate.open.set()
        assert await site.result(run.result()) == "done"
        assert gate.begun == 1


async def test_the_consumed_mailbox_of_a_run_that_is_never_let_go_is_purged(
    gate: Gate, request: pytest.FixtureRequest
) -> None:
    signals = LIMITS.mailbox_purge + 300
    async with workers_in_memory() as site:
        await site.add(listens_and_works)
        run = await site.result(site.client.start(listens_and_works, request.node.name, signals))
        await site.until(lambda: gate.begun == 1)

        for number in range(signals):
            await run.signal("news", number)
        await site.until(lambda: len(site.records(run.id, r.SignalReceived)) == signals)
        await site.passes()

        assert _mailbox(site, run) < LIMITS.mailbox_purge / 2
        gate.open.set()
        assert await site.result(run.result()) == "done"


async def test_what_lies_unread_is_consumed_in_groups(gate: Gate, request: pytest.FixtureRequest) -> None:
    signals = 1_000
    gate.open.set()
    async with workers_in_memory() as site:
        first = await site.add(is_woken_and_works)
        run = await site.result(site.client.start(is_woken_and_works, request.node.name, signals))
        await site.until(lambda: bool(site.records(run.id, r.SignalAwaited)))
        first.kill()
        await run.signal("begin", 0)
        for number in range(signals):
            await run.signal("news", number)
        await site.add(is_woken_and_works)

        assert await site.result(run.result()) == "done"
        assert len(site.turns(run.id)) < 20


async def test_the_lease_is_not_purged_with_what_was_consumed(gate: Gate, request: pytest.FixtureRequest) -> None:
    signals = LIMITS.mailbox_purge + 300
    async with workers_in_memory() as site:
        first = await site.add(is_woken_and_works)
        run = await site.result(site.client.start(is_woken_and_works, request.node.name, signals))
        await site.until(lambda: bool(site.records(run.id, r.SignalAwaited)))
        await site.pass_time(5)
        await run.signal("begin", 0)
        await site.until(lambda: gate.begun == 1)
        for number in range(signals):
            await run.signal("news", number)
        await site.until(lambda: len(site.records(run.id, r.SignalReceived)) == signals + 1)
        await site.passes()
        first.kill()

        await site.add(is_woken_and_works)
        await site.until(lambda: gate.begun == 2)
        gate.open.set()

        assert await site.result(run.result()) == "done"


async def test_a_run_goes_on_whose_lease_a_zombie_has_acknowledged_before_its_owner_died(
    gate: Gate, request: pytest.FixtureRequest
) -> None:
    async with workers_in_memory() as site:
        first = await site.add(works_for_long)
        run = await site.result(site.client.start(works_for_long, request.node.name))
        await site.until(lambda: gate.begun == 1)
        await site.pass_time(1)
        (lease,) = site.server.unacknowledged(site.client.subjects.start("default", run.id))
        site.server.consumer("start", "default").ack(lease)
        first.kill()
        await site.add(works_for_long)
        await site.pass_time(30)
        assert gate.begun == 1, "nothing is left that would bring it forward"

        await run.signal("anything")
        await site.until(lambda: gate.begun == 2)
        gate.open.set()

        assert await site.result(run.result()) == "done"


async def test_the_lease_of_a_worker_that_is_stopped_for_a_moment_is_not_claimed_although_it_was_freed(
    gate: Gate, request: pytest.FixtureRequest
) -> None:
    async with workers_in_memory() as site:
        stopped = await site.add(works_for_long, concurrency=1)  # What is freed comes to the other one.
        run = await site.result(site.client.start(works_for_long, request.node.name))
        await site.until(lambda: gate.begun == 1)
        await site.pass_time(1)
        (lease,) = site.server.unacknowledged(site.client.subjects.start("default", run.id))

        stopped.door.stop()
        await site.add(works_for_long)
        site.server.consumer("start", "default").nak(lease, stopped.door, 0.0)  # As a worker that begins does.
        await site.pass_time(2)
        stopped.door.resume()
        await site.pass_time(10)
        gate.open.set()

        assert await site.result(run.result()) == "done"
        assert gate.begun == 1
        assert {turn.epoch for turn in site.turns(run.id)} == {1}


@workflow
async def ticks(ctx: WorkflowContext, history: int) -> None:
    for _ in range(100):
        await ctx.wait_for_signal("tick", type=int)
    ctx.continue_as_new(history + 1)


async def test_so_is_that_of_a_run_that_is_taken_up_for_each_message(request: pytest.FixtureRequest) -> None:
    signals = LIMITS.mailbox_purge // 2 + 50
    async with workers_in_memory() as site:
        await site.add(ticks)
        run = await site.result(site.client.start(ticks, 1, id=request.node.name))

        for number in range(signals):
            await site.result(run.signal("tick", number))
            await site.pass_time(2 * LIMITS.linger_s)

        assert _mailbox(site, run) < signals / 2
