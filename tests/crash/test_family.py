"""What parents and children learn of each other's ends, whoever dies in between: a test for each line that gives it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Literal

import msgspec
import pytest
from tests.crash.workers_in_memory import MemoryWorker, WorkersInMemory

from relight import Run, RunCancelled, RunFailed, StepFailed, Workflow, WorkflowContext, step, workflow
from relight.actors.retire import retire
from relight.config.limits import LIMITS
from relight.subjects import records as r
from relight.subjects.codec import decode_start, encode
from relight.subjects.messages import ChildOver, ParentOver, Start
from relight.testing.memory import Faults, MemoryDoor, Operation

NOTED: list[str] = []


@step
async def one() -> int:
    return 1


@workflow
async def leaf(ctx: WorkflowContext) -> int:
    return await one()


@workflow
async def waits(ctx: WorkflowContext) -> str:
    return await ctx.suspend("go", type=str)


@workflow
async def parent(ctx: WorkflowContext) -> int:
    return await ctx.call(leaf, id="child")


@workflow
async def leaves(ctx: WorkflowContext) -> str:
    return (await ctx.start(waits, id="child")).id


@workflow
async def keeps_back(ctx: WorkflowContext) -> str:
    try:
        await ctx.start(leaf, id="taken", on_parent_close="wait")
    except StepFailed:
        return "refused"
    return "started"


@workflow
async def gives_up(ctx: WorkflowContext) -> str:
    call = asyncio.ensure_future(ctx.call(leaf, id="taken"))
    await asyncio.sleep(0)
    call.cancel()
    try:
        await call
    except asyncio.CancelledError:
        return "cancelled"
    return "called"


@step
async def note(name: str) -> None:
    NOTED.append(name)


@workflow
async def cleans_up(ctx: WorkflowContext) -> None:
    try:
        await ctx.suspend("go")
    finally:
        await ctx.sleep(5)
        await note("cleaned up")


@workflow
async def waits_for_it(ctx: WorkflowContext) -> None:
    ctx.compensate(note, "undone")
    await ctx.start(cleans_up, id="child", on_parent_close="wait")


@workflow
async def continues_after_it(ctx: WorkflowContext) -> None:
    ctx.compensate(note, "undone")
    await ctx.start(cleans_up, id="child", on_parent_close="wait")
    ctx.continue_as_new()


@workflow
async def returns_much(ctx: WorkflowContext) -> str:
    return "x" * 200_000


@workflow
async def takes_much(ctx: WorkflowContext) -> int:
    return len(await ctx.call(returns_much, id="child"))


@workflow
async def calls_later(ctx: WorkflowContext) -> str:
    await ctx.sleep(1)
    return await ctx.call(waits, id="child")


async def test_a_parent_hears_of_its_child_although_the_childs_worker_died_after_recording_its_end(
    site: WorkersInMemory,
) -> None:
    worker = await site.add(parent, leaf)
    _kill(site, worker, lambda one: one.name == "publish" and ".wake." in one.subject, "before")
    run = await site.result(site.client.start(parent))
    await site.until(lambda: not worker.door.process.is_alive)
    await site.add(parent, leaf)

    assert await site.result(run.result()) == 1

    assert len(site.records(run.id, r.ChildEnded)) == 1


async def test_a_retired_child_has_told_its_parent(site: WorkersInMemory) -> None:
    worker = await site.add(parent, leaf)
    _kill(site, worker, lambda one: one.name == "publish" and ".wake." in one.subject, "before")
    run = await site.result(site.client.start(parent))
    await site.until(lambda: not worker.door.process.is_alive)

    await site.result(retire(site.server.door("janitor"), site.client.subjects, "child"))
    await site.add(parent, leaf)

    assert await site.result(run.result()) == 1


async def test_a_child_whose_start_comes_after_its_parents_end_is_cancelled(site: WorkersInMemory) -> None:
    await site.add(leaves, waits)
    run = await site.result(site.client.start(leaves))
    await site.result(run.result())
    with pytest.raises(RunCancelled):
        await site.result(site.client.get_run("child").result())
    stored = site.server.stream.last(site.client.subjects.start_any_queue("child"))
    assert stored is not None
    late = msgspec.structs.replace(decode_start(stored.data).run, seed="ab" * 16)

    await site.pass_time(LIMITS.ack_wait_s)
    door = site.server.door("zombie")
    await site.result(
        door.publish(site.client.subjects.start("default", "late"), encode(Start(v=1, run=late)), fence=0)
    )

    with pytest.raises(RunCancelled, match="its parent has ended"):
        await site.result(site.client.get_run("late").result())


async def test_its_first_step_does_not_run(site: WorkersInMemory) -> None:
    ran = list[int]()

    @step
    async def runs() -> None:
        ran.append(1)

    @workflow
    async def acts(ctx: WorkflowContext) -> None:
        await runs()

    await site.add(leaves, waits, acts)
    await site.result((await site.result(site.client.start(leaves))).result())
    stored = site.server.stream.last(site.client.subjects.start_any_queue("child"))
    assert stored is not None
    late = msgspec.structs.replace(decode_start(stored.data).run, seed="ab" * 16, workflow="acts", arguments=())
    await site.pass_time(LIMITS.ack_wait_s)
    start = site.client.subjects.start("default", "late")
    await site.result(site.server.door("zombie").publish(start, encode(Start(v=1, run=late)), fence=0))

    with pytest.raises(RunCancelled, match="its parent has ended"):
        await site.result(site.client.get_run("late").result())
    assert ran == []


async def test_so_is_one_whose_first_worker_dies_before_its_first_turn(site: WorkersInMemory) -> None:
    first = await site.add(leaves, waits)
    run = await site.result(site.client.start(leaves))
    await site.result(run.result())
    stored = site.server.stream.last(site.client.subjects.start_any_queue("child"))
    assert stored is not None
    late = msgspec.structs.replace(decode_start(stored.data).run, seed="ab" * 16)
    await site.pass_time(LIMITS.ack_wait_s)

    def on_operation(door: MemoryDoor, operation: Operation, moment: str) -> None:
        if door is first.door and operation.name == "publish" and operation.subject.endswith(".late"):
            first.kill()

    site.server.on_operation = on_operation
    start = site.client.subjects.start("default", "late")
    await site.result(site.server.door("zombie").publish(start, encode(Start(v=1, run=late)), fence=0))
    await site.until(lambda: not first.door.process.is_alive)
    assert not site.records("late")
    await site.add(leaves, waits)

    with pytest.raises(RunCancelled, match="its parent has ended"):
        await site.result(site.client.get_run("late").result())


async def test_a_child_whose_start_is_late_runs_if_its_parent_still_does(site: WorkersInMemory) -> None:
    """It waited for a worker of its queue."""
    await site.add(parent)
    run = await site.result(site.client.start(parent))
    await site.pass_time(LIMITS.ack_wait_s * 3)

    await site.add(leaf)

    assert await site.result(run.result()) == 1


async def test_the_end_of_another_run_is_none_of_its_business(site: WorkersInMemory) -> None:
    await site.add(waits)
    run: Run[str] = await site.result(site.client.start(waits))
    await site.until(lambda: bool(site.records(run.id, r.Suspended)))

    mailbox = site.client.subjects.wake("default", run.id)
    await site.result(site.server.door("other").publish(mailbox, encode(ParentOver(parent="somebody"))))
    await site.pass_time(5)

    assert not site.records(run.id, r.CancelRequested)


async def test_a_childs_end_that_is_told_twice_counts_once(site: WorkersInMemory) -> None:
    @workflow
    async def goes_on(ctx: WorkflowContext) -> int:
        number = await ctx.call(leaf, id="child")
        await ctx.suspend("go")
        return number

    await site.add(goes_on, leaf)
    run = await site.result(site.client.start(goes_on))
    await site.until(lambda: bool(site.records(run.id, r.Suspended)))

    mailbox = site.client.subjects.wake("default", run.id)
    again = encode(ChildOver(child="child", end=r.RunCompleted()))
    await site.result(site.server.door("other").publish(mailbox, again))
    await site.pass_time(5)

    assert len(site.records(run.id, r.ChildEnded)) == 1


async def test_a_child_that_ends_after_its_parent_was_retired_does_not_bring_it_back(site: WorkersInMemory) -> None:
    @workflow
    async def detaches(ctx: WorkflowContext) -> str:
        return (await ctx.start(waits, id="child", on_parent_close="detach")).id

    await site.add(detaches, waits)
    run = await site.result(site.client.start(detaches))
    await site.result(run.result())
    await site.result(retire(site.server.door("janitor"), site.client.subjects, run.id))

    await site.result(site.client.get_run("child").resume("go", "went"))
    assert await site.result(site.client.get_run("child").result()) == "went"
    await site.pass_time(60)

    assert not site.turns(run.id)
    assert site.server.stream.last(site.client.subjects.wake("default", run.id)) is None


async def test_the_child_of_a_fork_is_not_the_origins_although_it_has_its_id(site: WorkersInMemory) -> None:
    @workflow
    async def counts(ctx: WorkflowContext) -> int:
        return await one() + await ctx.call(leaf, id="child")

    await site.add(counts, leaf)
    run = await site.result(site.client.start(counts))
    assert await site.result(run.result()) == 2

    fork = await site.result(run.fork(after="one#1"))

    with pytest.raises(RunFailed, match="run 'child' exists already"):
        await site.result(fork.result())


async def test_a_child_whose_start_is_refused_does_not_keep_its_parents_end_back(site: WorkersInMemory) -> None:
    await site.add(keeps_back, leaf)
    await site.result(site.client.start(leaf, id="taken"))

    run = await site.result(site.client.start(keeps_back))

    assert await site.result(run.result()) == "refused"


async def test_a_call_that_is_cancelled_while_its_start_is_refused_is_cancelled(site: WorkersInMemory) -> None:
    await site.add(gives_up, leaf)
    await site.result(site.client.start(leaf, id="taken"))

    run = await site.result(site.client.start(gives_up))

    assert await site.result(run.result()) == "cancelled"


async def test_a_child_that_was_retired_before_its_parent_knew_that_it_was_started_has_its_end(
    site: WorkersInMemory,
) -> None:
    worker = await site.add(parent)
    _kill_at_start_of(site, worker, "child")
    run = await site.result(site.client.start(parent))
    await site.until(lambda: not worker.door.process.is_alive)
    await site.add(leaf)
    assert await site.result(site.client.get_run("child").result()) == 1
    await site.pass_time(5)

    await site.result(retire(site.server.door("janitor"), site.client.subjects, "child"))
    await site.add(parent)

    assert await site.result(run.result()) == 1


@pytest.mark.parametrize("waiting", [waits_for_it, continues_after_it], ids=["ends", "continues"])
async def test_whoever_is_cancelled_while_it_waits_for_a_child_at_its_end_undoes_and_waits_until_the_child_has_stopped(
    waiting: Workflow[[], None], site: WorkersInMemory
) -> None:
    NOTED.clear()
    await site.add(waiting, cleans_up)
    run = await site.result(site.client.start(waiting))
    await site.until(lambda: bool(site.records(run.id, r.ChildAwaited)))

    await site.result(run.cancel())
    with pytest.raises(RunCancelled):
        await site.result(run.result())

    assert NOTED == ["undone", "cleaned up"]


def _kill_at_start_of(site: WorkersInMemory, worker: MemoryWorker, child: str) -> None:
    """Kill the worker when the start of a child is stored, which the worker's client has sent."""

    def on_operation(door: MemoryDoor, operation: Operation, now: str) -> None:
        del door
        if operation.name == "publish" and now == "after" and operation.subject.endswith(f".{child}"):
            site.server.on_operation = None
            worker.kill()

    site.server.on_operation = on_operation


def _kill(
    site: WorkersInMemory,
    worker: MemoryWorker,
    here: Callable[[Operation], bool],
    moment: Literal["before", "after"],
) -> None:
    """Kill the worker at its first operation of this kind."""

    def on_operation(door: MemoryDoor, operation: Operation, now: str) -> None:
        if door is worker.door and here(operation) and now == moment:
            site.server.on_operation = None
            worker.kill()

    site.server.on_operation = on_operation


async def test_a_parent_hears_of_its_child_although_the_childs_result_is_damaged(site: WorkersInMemory) -> None:
    def damages(door: MemoryDoor, operation: Operation, now: Literal["before", "after"]) -> None:
        if operation.subject == site.client.subjects.log("child") and now == "after":
            site.server.stream.purge(site.client.subjects.value_chunks("child.*.*"), below=None)

    await site.add(takes_much, returns_much)
    site.server.on_operation = damages
    run = await site.result(site.client.start(takes_much, id="parent"))

    await site.until(lambda: bool(site.records("parent", r.Parked)))

    assert (await site.result(run.describe())).parked == "stuck"


async def test_a_child_whose_start_was_under_way_when_its_parent_ended_ends_too(site: WorkersInMemory) -> None:
    late: list[str] = []

    def outcome(operation: Operation) -> Literal["known", "late"]:
        if operation.name == "publish" and ".start." in operation.subject and operation.subject.endswith(".child"):
            late.append(operation.subject)
            return "late"
        return "known"

    await site.add(calls_later, waits)
    site.server.faults = Faults(outcome=outcome, late_s=1.5)
    run = await site.result(site.client.start(calls_later, id="parent"))
    await site.until(lambda: bool(late))
    await site.result(run.terminate())
    await site.until(lambda: bool(site.records("parent", r.RunTerminated)))
    assert site.server.stream.last(site.client.subjects.start_any_queue("child")) is None

    await site.pass_time(60)

    assert (await site.result(site.client.get_run("child").describe())).status == "terminated"
