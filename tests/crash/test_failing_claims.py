"""What goes wrong around a claim, in a worker that lives: its journal stays whole, and it is not taken for dead."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from datetime import timedelta
from typing import Literal

import pytest
from tests.crash.deadly import dies_before, dies_behind_a_turn, fresh
from tests.crash.workers_in_memory import WorkersInMemory, workers_in_memory

from relight import RunTerminated, RunTimedOut, WorkflowContext, step, workflow
from relight.subjects import records as r
from relight.testing.memory import Faults, MemoryDoor, Operation
from relight.testing.memory import door as memory_door

executed: list[str] = []


@pytest.fixture
async def site() -> AsyncGenerator[WorkersInMemory]:
    executed.clear()
    async with workers_in_memory() as site:
        fresh(site)
        yield site


class Failing:
    """A codec that raises, when it is told to, for what goes into a journal."""

    name = "failing"

    def __init__(self) -> None:
        self.fails_times = 0
        self.failures = 0

    def encode(self, data: bytes, *, key: bytes, place: bytes) -> bytes:
        if self.fails_times and b"\0log\0" in place:
            self.fails_times -= 1
            self.failures += 1
            raise RuntimeError("it is away")
        return data

    def decode(self, data: bytes, *, key: bytes, place: bytes) -> bytes:
        return data


@step
async def works() -> None:
    executed.append("works")


@workflow
async def works_and_waits(ctx: WorkflowContext) -> None:
    await works()
    await ctx.suspend("go")


@step
async def hangs() -> None:
    executed.append("hangs")
    await asyncio.Event().wait()


@workflow
async def hangs_in_a_step(ctx: WorkflowContext) -> None:
    await hangs()


@workflow(timeout=300)
async def waits_five_minutes(ctx: WorkflowContext) -> None:
    await ctx.suspend("go")


@workflow
async def listens(ctx: WorkflowContext) -> None:
    await ctx.wait_for_signal("word", type=str)


@workflow
async def asks_for_much(ctx: WorkflowContext) -> None:
    await asyncio.gather(*(works() for _ in range(400)))


@pytest.mark.parametrize("comes_again", [False, True])
async def test_an_error_before_the_first_turn_leaves_no_journal_without_its_start(
    site: WorkersInMemory, comes_again: bool
) -> None:
    codec = Failing()
    async with site.another_client(codec) as client:
        run = await site.result(client.start(works_and_waits))
        if comes_again:
            await dies_before(site, await site.add(works_and_waits, codecs=[codec]), "publish")
        codec.fails_times = 1
        await site.add(works_and_waits, codecs=[codec])
        await site.pass_time(120)

        assert codec.failures == 1
        assert (await site.result(run.describe())).status == "waiting"


async def test_nor_does_a_first_turn_that_does_not_fit(site: WorkersInMemory, monkeypatch: pytest.MonkeyPatch) -> None:
    run = await site.result(site.client.start(asks_for_much))
    monkeypatch.setattr(memory_door, "_PAYLOAD_BYTES_MAX", 10_000)
    await site.add(asks_for_much)
    await site.pass_time(60)
    assert [type(one) for one in site.turns(run.id)[0].records] == [r.RunStarted, r.Claimed]
    assert (await site.result(run.describe())).parked == "stuck"

    monkeypatch.undo()
    await site.result(run.retry())
    await site.result(run.result())


async def test_a_run_goes_on_although_what_its_worker_would_say_last_can_not_be_said(site: WorkersInMemory) -> None:
    codec = Failing()
    async with site.another_client(codec) as client:
        worker = await site.add(works_and_waits, codecs=[codec])
        run = await site.result(client.start(works_and_waits))
        await site.pass_time(5)
        worker.kill()
        await site.result(run.resume("go"))
        await dies_before(site, await site.add(works_and_waits, codecs=[codec]), "publish")
        third = await site.add(works_and_waits, codecs=[codec])

        def fail_behind_the_claim(door: MemoryDoor, operation: Operation, now: Literal["before", "after"]) -> None:
            if door is third.door and now == "after" and ".log." in operation.subject and not codec.failures:
                codec.fails_times = 2

        site.server.on_operation = fail_behind_the_claim
        await site.result(run.result())
        assert codec.failures == 2


async def test_who_parks_what_does_not_fit_is_not_taken_for_dead(
    site: WorkersInMemory, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker = await site.add(listens)
    run = await site.result(site.client.start(listens))
    await site.until(lambda: bool(site.records(run.id, r.SignalAwaited)))
    await site.pass_time(5)
    worker.kill()
    await site.result(run.signal("word", "x" * 50_000))
    monkeypatch.setattr(memory_door, "_PAYLOAD_BYTES_MAX", 10_000)
    await dies_before(site, await site.add(listens), "publish")
    await dies_behind_a_turn(site, await site.add(listens))
    await site.add(listens)
    await site.pass_time(600)

    assert (await site.result(run.describe())).parked == "stuck"


async def test_no_step_is_launched_after_a_time_out_that_passed_while_the_claim_was_stored(
    site: WorkersInMemory,
) -> None:
    run = await site.result(site.client.start(hangs_in_a_step, timeout=timedelta(seconds=60)))
    worker = await site.add(hangs_in_a_step)
    await site.until(lambda: bool(site.records(run.id, r.StepScheduled)))
    worker.kill()
    executed.clear()
    over_ms = site.server.clock.now_ms() + 100_000

    def lost_for_long(operation: Operation) -> Literal["lost", "known"]:
        return "lost" if ".log." in operation.subject and site.server.clock.now_ms() < over_ms else "known"

    site.server.faults = Faults(outcome=lost_for_long)
    await site.add(hangs_in_a_step)
    await site.until(lambda: bool(site.records(run.id, r.RunTimedOut)))
    assert executed == []


@pytest.mark.parametrize("workers", [1, 2])
async def test_tries_that_store_nothing_leave_nothing_behind_and_come_less_and_less_often(
    site: WorkersInMemory, workers: int
) -> None:
    codec, given_back = Failing(), list[int]()
    async with site.another_client(codec) as client:
        for _ in range(workers):
            await site.add(works_and_waits, codecs=[codec])
        run = await site.result(client.start(works_and_waits))
        await site.until(lambda: bool(site.records(run.id, r.Suspended)))
        await site.pass_time(60)
        await site.result(run.resume("go"))
        codec.fails_times = 1_000_000

        def count(door: MemoryDoor, operation: Operation, now: Literal["before", "after"]) -> None:
            if now == "before" and operation.name in ("nak", "publish"):
                given_back.append(site.server.clock.now_ms())

        await site.pass_time(600)
        site.server.on_operation = count
        await site.pass_time(600)
        assert len(given_back) <= 20
        codec.fails_times = 0
        await site.result(run.result())


@pytest.mark.parametrize("has_code", [True, False])
async def test_nor_do_tries_to_end_a_run_leave_anything_behind(site: WorkersInMemory, *, has_code: bool) -> None:
    codec, given_back = Failing(), list[int]()
    async with site.another_client(codec) as client:
        worker = await site.add(waits_five_minutes, codecs=[codec])
        run = await site.result(client.start(waits_five_minutes))
        await site.until(lambda: bool(site.records(run.id, r.Suspended)))
        await site.pass_time(60)
        worker.kill()
        await site.add(waits_five_minutes if has_code else listens, codecs=[codec])
        codec.fails_times = 1_000_000

        def count(door: MemoryDoor, operation: Operation, now: Literal["before", "after"]) -> None:
            if now == "before" and operation.name in ("nak", "publish"):
                given_back.append(site.server.clock.now_ms())
                assert len(given_back) < 100

        site.server.on_operation = count
        if has_code:
            await site.result(run.terminate())
        await site.pass_time(900)
        codec.fails_times = 0
        with pytest.raises(RunTerminated if has_code else RunTimedOut):
            await site.result(run.result())
