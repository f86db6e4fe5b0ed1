"""What ends a run without any of its code, any worker of its queue does: also one that does not have the code."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from functools import partial
from typing import Any

import pytest
from tests.crash.workers_in_memory import MemoryWorker, WorkersInMemory, workers_in_memory

from relight import Run, RunFailed, RunTerminated, RunTimedOut, Workflow, WorkflowContext, step, workflow
from relight.actors.door import Delivery
from relight.actors.retire import retire
from relight.subjects import records as r
from relight.subjects.codec import encode
from relight.subjects.messages import Signal
from relight.testing.memory import MemoryDoor, Operation

DAY = timedelta(days=1)


@workflow
async def waits(ctx: WorkflowContext) -> None:
    await ctx.suspend("go")


@workflow(pin="version")
async def pinned(ctx: WorkflowContext) -> None:
    await ctx.suspend("go", timeout=timedelta(hours=10))


def waits_for(name: str) -> Workflow[..., Any]:
    @workflow(name="waits_for")
    async def one(ctx: WorkflowContext) -> None:
        await ctx.suspend(name)

    return one


@workflow(pin="version")
async def holds_a_child(ctx: WorkflowContext) -> None:
    await ctx.call(waits, id="child")


@workflow
async def calls(ctx: WorkflowContext) -> None:
    await ctx.call(holds_a_child, id="middle")


@step
async def never_ends() -> None:
    await asyncio.Event().wait()


@workflow(pin="version")
async def works(ctx: WorkflowContext) -> None:
    await never_ends()


async def test_terminate_ends_a_run_of_whose_version_there_is_no_worker(site: WorkersInMemory) -> None:
    run = await left_behind(site, pinned)
    await site.add(pinned, version="2")

    await site.result(run.signal("unheard"))
    await site.result(run.terminate(reason="too old"))

    with pytest.raises(RunTerminated, match="too old"):
        await site.result(run.result())
    assert not site.records(run.id, r.SignalReceived, r.Parked)
    await nothing_is_left(site, run)


async def test_terminate_ends_one_whose_step_was_under_way_when_its_worker_died(site: WorkersInMemory) -> None:
    worker = await site.add(works, version="1")
    run = await site.result(site.client.start(works))
    await site.until(lambda: bool(site.records(run.id, r.StepScheduled)))
    worker.kill()
    await site.add(works, version="2")

    await site.result(run.terminate())

    with pytest.raises(RunTerminated):
        await site.result(run.result())
    await nothing_is_left(site, run)


async def test_terminate_ends_one_that_no_worker_has_begun_because_none_knows_its_workflow(
    site: WorkersInMemory,
) -> None:
    await site.add(waits)
    run = await site.result(site.client.start(works))
    await site.pass_time(60)
    assert not site.turns(run.id)

    await site.result(run.terminate())

    with pytest.raises(RunTerminated):
        await site.result(run.result())
    await nothing_is_left(site, run)


async def test_another_worker_ends_it_when_that_worker_dies_at_it(site: WorkersInMemory) -> None:
    worker = await site.add(waits)
    run = await site.result(site.client.start(works))
    await site.pass_time(60)
    await site.result(run.terminate())

    def dies(door: MemoryDoor, operation: Operation, now: str) -> None:
        if ".log." in operation.subject and now == "before":
            site.server.on_operation = None
            worker.kill()

    site.server.on_operation = dies
    await site.until(lambda: site.server.on_operation is None)
    await site.add(waits)

    with pytest.raises(RunTerminated):
        await site.result(run.result())
    await nothing_is_left(site, run)


async def test_its_time_out_ends_a_run_of_whose_version_there_is_no_worker(site: WorkersInMemory) -> None:
    run = await left_behind(site, pinned, timeout=timedelta(hours=1))
    await site.add(pinned, version="2")

    await site.pass_time(3590)
    assert not site.records(run.id, r.RunTimedOut)

    with pytest.raises(RunTimedOut):
        await site.result(run.result())
    await nothing_is_left(site, run)


async def test_its_time_out_ends_a_run_that_is_stuck(site: WorkersInMemory) -> None:
    worker = await site.add(waits_for("go"), code="old")
    run = await site.result(site.client.start(waits_for("go"), timeout=timedelta(minutes=5)))
    await site.until(lambda: bool(site.records(run.id, r.Suspended)))
    worker.kill()
    worker = await site.add(waits_for("stop"), code="new")
    await site.result(run.signal("any"))
    await site.until(lambda: bool(site.records(run.id, r.Parked)))
    await site.pass_time(2)
    worker.kill()
    await site.add(waits_for("stop"), code="new")

    await site.pass_time(290)
    assert not site.records(run.id, r.RunTimedOut)
    await site.pass_time(11)
    assert site.records(run.id, r.RunTimedOut)
    with pytest.raises(RunTimedOut):
        await site.result(run.result())
    await nothing_is_left(site, run)


async def test_what_was_sent_in_time_counts_where_the_code_is_there(site: WorkersInMemory) -> None:
    worker = await site.add(waits)
    run = await site.result(site.client.start(waits, timeout=DAY))
    await site.until(lambda: has_suspended(site, run.id))
    worker.kill()
    await site.result(run.resume("go"))
    for _ in range(2):
        worker = await site.add(waits)
        kill_at(site, worker, 1, "before", subject=".log.")
        await site.until(lambda worker=worker: not worker.door.process.is_alive)  # type: ignore[misc]
    site.server.on_operation = None
    await site.pass_time(DAY.total_seconds())

    await site.add(waits)

    await site.result(run.result())
    assert site.records(run.id, r.RunCompleted)


async def test_what_was_sent_after_its_deadline_does_not_count(site: WorkersInMemory) -> None:
    run = await left_behind(site, pinned, timeout=timedelta(hours=1))
    await site.pass_time(3700)
    await site.result(run.terminate())

    await site.add(pinned, version="2")

    with pytest.raises(RunTimedOut):
        await site.result(run.result())


async def test_cancel_waits_for_its_code_and_is_not_lost(site: WorkersInMemory) -> None:
    run = await left_behind(site, pinned)
    await site.add(pinned, version="2")

    await site.result(run.cancel())
    await site.pass_time(60)
    assert not site.records(run.id, r.CancelRequested, r.RunCancelled)
    assert "it is a cancel" in " ".join((await site.result(run.describe())).waits_for)
    await site.add(pinned, version="1")

    await site.until(lambda: bool(site.records(run.id, r.RunCancelled)))


async def test_a_worker_of_its_version_that_is_at_work_ends_it_itself(site: WorkersInMemory) -> None:
    await site.add(works, version="2")
    owner = await site.add(works, version="1")
    run = await site.result(site.client.start(works))
    await site.until(lambda: bool(site.records(run.id, r.StepScheduled)))
    owner_name = site.turns(run.id)[-1].owner

    await site.result(run.terminate())

    with pytest.raises(RunTerminated):
        await site.result(run.result())
    assert site.turns(run.id)[-1].owner == owner_name
    assert owner.door.process.is_alive


@pytest.mark.parametrize("moment", ["before", "after"])
@pytest.mark.parametrize("frees_leases", [False, True])
async def test_parent_and_children_hear_of_it_wherever_the_worker_dies_that_ends_it(
    moment: str, frees_leases: bool
) -> None:
    for number in range(1, 100):
        async with workers_in_memory() as site:
            site.server.frees_leases_of_the_dead = frees_leases
            first = await site.add(calls, waits, holds_a_child, version="1")
            run = await site.result(site.client.start(calls))
            await site.until(partial(has_suspended, site, "child"))
            await site.pass_time(5)
            first.kill()
            mortal = await site.add(calls, waits, holds_a_child, version="2")
            kill_at(site, mortal, number, moment)

            await site.result(site.client.get_run("middle").terminate())
            await site.pass_time(30)
            has_died = not mortal.door.process.is_alive
            site.server.on_operation = None
            await site.add(calls, waits, holds_a_child, version="3")

            with pytest.raises(RunFailed, match="was terminated"):
                await site.result(run.result())
            with pytest.raises(RunTerminated):
                await site.result(site.client.get_run("child").result())
            assert len(site.records("middle", r.RunTerminated)) == 1
            assert len(site.records(run.id, r.ChildEnded)) == 1
            for one in (run.id, "middle", "child"):
                await nothing_is_left(site, site.client.get_run(one))
        if not has_died:
            assert number > 5
            return
    raise AssertionError("it takes more operations than that")


async def test_children_hear_of_it_although_a_zombie_acknowledges_the_delivery_of_who_ended_it(
    site: WorkersInMemory,
) -> None:
    run = await left_behind(site, holds_a_child, waits)
    zombie, taken = site.server.door("zombie"), list[Delivery]()
    await zombie.consume("wake", "default", taken.append, places=1)
    await site.result(run.terminate())
    await site.until(lambda: bool(taken))
    mortal = await site.add(holds_a_child, version="2")
    kill_at(site, mortal, 1, "after", subject=site.client.subjects.log(run.id))
    await site.until(lambda: not mortal.door.process.is_alive)

    zombie.ack(taken[0])
    await site.add(holds_a_child, waits, version="3")

    with pytest.raises(RunTerminated):
        await site.result(site.client.get_run("child").result())


async def test_terminate_ends_a_corrupt_run_and_its_parent_hears_of_it(site: WorkersInMemory) -> None:
    first = await site.add(calls, waits, holds_a_child)
    run = await site.result(site.client.start(calls))
    await site.until(lambda: bool(site.records("child", r.Suspended)))
    await site.pass_time(5)
    vandal, subjects = site.server.door("vandal"), site.client.subjects
    await site.result(vandal.publish(subjects.log("middle"), b"not a turn"))
    first.kill()
    await site.add(calls, waits, holds_a_child)
    middle: Run[Any] = site.client.get_run("middle")
    await site.result(vandal.publish(subjects.wake("default", "middle"), encode(Signal(name="found"))))
    await site.until(lambda: b'"Parked"' in tail_of(site, "middle"))
    seen = await site.result(middle.describe())
    assert (seen.status, seen.parked) == ("parked", "corrupt")
    assert "by run.terminate" in seen.waits_for[0]

    await site.result(middle.terminate(reason="beyond repair"))

    with pytest.raises(RunTerminated, match="beyond repair"):
        await site.result(middle.result())
    with pytest.raises(RunFailed, match="beyond repair"):
        await site.result(run.result())
    for one in ("middle", run.id):
        await nothing_is_left(site, site.client.get_run(one))
    await site.result(retire(site.server.door("janitor"), site.client.subjects, "middle"))


async def left_behind(
    site: WorkersInMemory, workflow: Workflow[[], Any], *others: Workflow[..., Any], timeout: timedelta = DAY
) -> Run[Any]:
    """A run that waits, and whose version has no worker any more."""
    worker = await site.add(workflow, *others, version="1")
    run: Run[Any] = await site.result(site.client.start(workflow, timeout=timeout))
    await site.until(lambda: bool(site.records(run.id, r.Suspended, r.ChildAwaited)))
    await site.pass_time(5)  # It lets its lease go.
    worker.kill()
    return run


def has_suspended(site: WorkersInMemory, run: str) -> bool:
    return bool(site.records(run, r.Suspended))


def tail_of(site: WorkersInMemory, run: str) -> bytes:
    last = site.server.stream.last(site.client.subjects.log(run))
    return b"" if last is None else last.data


async def nothing_is_left(site: WorkersInMemory, run: Run[Any]) -> None:
    """Nothing will be delivered for it any more."""
    await site.pass_time(120)
    subjects = site.client.subjects
    for subject in (subjects.start("default", run.id), subjects.wake("default", run.id)):
        assert not site.server.unacknowledged(subject)
    assert not site.server.stream.every(subjects.timers(run.id))


def kill_at(site: WorkersInMemory, worker: MemoryWorker, number: int, moment: str, *, subject: str = "") -> None:
    """Kill it at its so many'th operation, on this subject if one is given."""
    left = [number]

    def on_operation(door: MemoryDoor, operation: Operation, now: str) -> None:
        if door is worker.door and now == moment and subject in operation.subject:
            left[0] -= 1
            if left[0] == 0:
                worker.kill()

    site.server.on_operation = on_operation
