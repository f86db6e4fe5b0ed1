"""A fork survives a crash before and after every operation of the client that copies, and of the workers."""

from __future__ import annotations

import asyncio
from typing import Any, Literal

import pytest
from tests.crash.workers_in_memory import workers_in_memory
from tests.crash.workflows import LARGE, grown, in_sequence, suspends_and_sleeps, waits_with_a_step

from relight import ConflictError, PayloadTooLargeError, RefusedError, Run, RunNotFoundError, WorkflowContext, workflow
from relight.actors.retire import retire
from relight.actors.values import remove_all
from relight.config.limits import LIMITS
from relight.subjects import records as r
from relight.subjects.codec import encode
from relight.subjects.messages import Start
from relight.testing.crash import sweep
from relight.testing.memory import MemoryDoor, MemoryServer
from relight.testing.memory.faults import Faults, Operation
from relight.testing.stage import Stage
from relight.testing.trial import Moment, Scenario


async def fork_it(stage: Stage, run: Run[Any]) -> None:
    await stage.until(lambda: stage.observer.state(run.id).end is not None)
    try:
        fork = await run.fork(after="add#1", replace={"add#1": 10}, id="fork")
    except RefusedError as error:
        raise AssertionError("the fork is repeated as it was") from error

    assert await fork.result() == 15
    assert all(one.reason == r.FORKED for one in stage.observer.records("fork") if isinstance(one, r.Parked))


async def restart_it(stage: Stage, run: Run[Any]) -> None:
    await stage.until(lambda: stage.observer.state(run.id).end is not None)
    try:
        fork = await run.restart_from("slow#1", id="fork")
    except RefusedError as error:
        raise AssertionError("the fork is repeated as it was") from error

    assert await fork.result() == "yes step"


@workflow
async def grows(ctx: WorkflowContext, text: str) -> str:
    return await grown(text)


@workflow
async def joins(ctx: WorkflowContext, *texts: str) -> str:
    await grown("")
    return "".join(texts)


async def test_a_fork_ends_alike_wherever_a_process_dies() -> None:
    scenario = Scenario(workflow=suspends_and_sleeps, args=(1,), answers={"review": 5}, story=fork_it)

    report = await sweep(scenario, workers=2)

    assert report.crashes >= 4 * report.operations


async def test_a_restart_ends_alike_wherever_a_process_dies() -> None:
    scenario = Scenario(workflow=waits_with_a_step, answers={"both": "yes"}, story=restart_it)

    report = await sweep(scenario, workers=2)

    assert report.crashes >= 4 * report.operations


async def test_whoever_dies_in_the_middle_of_the_copy_leaves_nothing_that_runs() -> None:
    for deaths_at in range(1, 20):
        async with workers_in_memory() as site:
            await site.add(in_sequence)
            run = await site.client.start(in_sequence, 3, id="origin")
            before = await site.result(run.result())
            await site.pass_time(1)  # It lets its lease go, and is not resumed below.
            copied_at = len(site.turns("origin"))
            publishes = _dies_at(site.server, deaths_at)
            last = [one.step for one in site.records("origin") if isinstance(one, r.StepCompleted)][-1]

            forking = site.result(run.fork(after=last, id="fork"))
            died = await _has_died(forking)
            site.server.on_operation = None
            await site.pass_time(60)

            if died and not site.server.stream.every(site.client.subjects.start_any_queue("fork")):
                assert {turn.epoch for turn in site.turns("fork")} <= {0}
                assert len(site.turns("fork")) < deaths_at
            assert len(site.turns("origin")) == copied_at
            assert before == await site.result((await site.result(run.fork(after=last, id="fork"))).result())
        if publishes[0] < deaths_at:
            return
    raise AssertionError("the copy takes more publishes than that")


async def test_an_unfinished_copy_can_be_retired_and_whoever_goes_on_with_it_is_refused() -> None:
    async with workers_in_memory() as site:
        await site.add(in_sequence)
        run = await site.result(site.client.start(in_sequence, 3, id="origin"))
        await site.result(run.result())
        last = [one.step for one in site.records("origin", r.StepCompleted) if isinstance(one, r.StepCompleted)][-1]
        _dies_at(site.server, 2)
        assert await _has_died(site.result(run.fork(after=last, id="fork")))
        site.server.on_operation = None
        assert site.turns("fork")

        await site.result(retire(site.server.door("janitor"), site.client.subjects, "fork"))

        assert not site.turns("fork")
        with pytest.raises(ConflictError, match="retired"):
            await site.result(run.fork(after=last, id="fork"))
        await site.pass_time(LIMITS.tombstone_s + 120)
        assert await site.result((await site.result(run.fork(after=last, id="fork"))).result())


async def test_the_values_of_an_unfinished_copy_go_with_it() -> None:
    async with workers_in_memory() as site:
        await site.add(grows)
        run = await site.result(site.client.start(grows, "a" * LARGE, id="origin"))
        await site.result(run.result())
        chunks = site.client.subjects.value_chunks("fork.*.*")
        copied = _dies_at(site.server, 1_000)
        await site.result(run.fork(after="grown#1", id="whole"))
        _dies_at(site.server, copied[0])  # Before the start, which comes last.
        assert await _has_died(site.result(run.fork(after="grown#1", id="fork")))
        site.server.on_operation = None
        assert site.turns("fork")
        assert site.server.stream.every(chunks)

        await site.result(retire(site.server.door("janitor"), site.client.subjects, "fork"))

        assert not site.server.stream.every(chunks)


async def test_a_run_whose_values_are_gone_is_not_forked() -> None:
    async with workers_in_memory() as site:
        await site.add(grows)
        run = await site.result(site.client.start(grows, "a" * LARGE))
        await site.result(run.result())
        fork = await site.result(run.fork(after="grown#1", replace={"grown#1": "b" * LARGE}))
        assert await site.result(fork.result()) == "b" * LARGE
        # As a retirement does, before it leaves the tombstone.
        await site.result(remove_all(site.server.door("janitor"), site.client.subjects, run.id))

        with pytest.raises(RefusedError, match="a large value of run"):
            await site.result(run.fork(after="grown#1", id="fork"))
        assert not site.turns("fork")


async def test_a_fork_that_waits_for_a_worker_is_not_retired_as_if_it_were_unfinished() -> None:
    async with workers_in_memory() as site:
        worker = await site.add(in_sequence)
        run = await site.result(site.client.start(in_sequence, 3, id="origin"))
        await site.result(run.result())
        worker.kill()
        await site.result(run.fork(after="add#1", id="fork"))

        with pytest.raises(RefusedError, match="has not ended"):
            await site.result(retire(site.server.door("janitor"), site.client.subjects, "fork"))


async def test_a_fork_leaves_the_journal_alone_of_a_run_that_waits_for_a_worker() -> None:
    async with workers_in_memory() as site:
        await site.add(in_sequence, grows)
        run = await site.result(site.client.start(in_sequence, 3, id="origin"))
        await site.result(run.result())
        queued = await site.result(site.client.start(grows, "a", id="queued", queue="elsewhere"))

        with pytest.raises(ConflictError, match="'queued' exists"):
            await site.result(run.fork(after="add#1", id="queued"))

        assert not site.turns("queued")
        await site.add(grows, queue="elsewhere")
        assert await site.result(queued.result()) == "aa"


async def test_its_own_start_does_not_run_an_unfinished_copy() -> None:
    async with workers_in_memory() as site:
        await site.add(in_sequence)
        run = await site.client.start(in_sequence, 3, id="origin")
        await site.result(run.result())
        last = [one.step for one in site.records("origin") if isinstance(one, r.StepCompleted)][-1]
        _dies_at(site.server, 2)
        assert await _has_died(site.result(run.fork(after=last, id="fork")))
        site.server.on_operation = None

        (started,) = site.records("fork", r.RunStarted)
        assert isinstance(started, r.RunStarted)
        start = site.client.subjects.start(started.queue, "fork")
        await site.result(site.server.door("somebody").publish(start, encode(Start(v=1, run=started)), fence=0))
        await site.pass_time(60)

        parked = site.records("fork", r.Parked)[-1]
        assert isinstance(parked, r.Parked)
        assert parked.reason == "corrupt"
        assert "not finished" in parked.message


class _DiedError(Exception):
    """What stands for `kill -9` in a client that shares the test's process."""


def _dies_at(server: MemoryServer, number: int) -> list[int]:
    publishes = [0]

    def look(door: MemoryDoor, operation: Operation, moment: Moment) -> None:
        if operation.by != "client" or operation.name != "publish" or moment != "before":
            return
        publishes[0] += 1
        if publishes[0] == number:
            raise _DiedError

    server.on_operation = look
    return publishes


async def _has_died(forking: Any) -> bool:
    try:
        await forking
    except _DiedError:
        return True
    return False


async def test_an_id_that_another_run_or_another_fork_has_is_refused() -> None:
    async with workers_in_memory() as site:
        await site.add(in_sequence)
        run = await site.client.start(in_sequence, 3, id="origin")
        await site.result(run.result())
        await site.client.start(in_sequence, 4, id="other")
        steps = [one.step for one in site.records("origin") if isinstance(one, r.StepCompleted)]
        await site.result(run.fork(after=steps[0], id="fork"))

        for after, id in ((steps[0], "other"), (steps[0], "origin"), (steps[-1], "fork")):
            try:
                await site.result(run.fork(after=after, id=id))
            except ConflictError:
                continue
            raise AssertionError(f"{id} was taken")


def _start_is_lost(operation: Operation) -> Literal["lost", "known"]:
    return "lost" if ".start." in operation.subject and operation.subject.endswith(".fork") else "known"


async def test_an_id_under_which_another_fork_was_copied_and_not_started_is_refused() -> None:
    async with workers_in_memory() as site:
        await site.add(in_sequence)
        run = await site.client.start(in_sequence, 3, id="origin")
        await site.result(run.result())
        steps = [one.step for one in site.records("origin") if isinstance(one, r.StepCompleted)]
        site.server.faults = Faults(outcome=_start_is_lost)
        forking = asyncio.ensure_future(run.fork(after=steps[0], id="fork"))
        await site.until(lambda: bool(site.turns("fork")))
        forking.cancel()
        await asyncio.wait({forking})
        site.server.faults = Faults()

        with pytest.raises(ConflictError):
            await site.result(run.fork(after=steps[-1], id="fork"))


@workflow
async def goes_on(ctx: WorkflowContext, left: int) -> str:
    await grown("a")
    await ctx.suspend(f"go-{left}")
    if left:
        ctx.continue_as_new(left - 1)
    return "end"


async def test_a_fork_is_repeated_also_when_it_has_continued_as_new() -> None:
    async with workers_in_memory() as site:
        await site.add(goes_on)
        run = await site.result(site.client.start(goes_on, 1))
        await site.until(lambda: bool(site.records(run.id, r.Suspended)))
        fork = await site.result(run.fork(after="grown#1", id="fork"))
        await site.until(lambda: bool(site.records("fork", r.Suspended)))
        await site.result(fork.resume("go-1"))
        await site.until(lambda: bool(site.records("fork", r.Continued)))

        again = await site.result(run.fork(after="grown#1", id="fork"))

        assert again.id == "fork"
        with pytest.raises(ConflictError):
            await site.result(run.fork(after="grown#1", args=[2], id="fork"))


async def test_arguments_that_are_too_large_do_not_take_the_id() -> None:
    async with workers_in_memory() as site:
        await site.add(joins)
        run = await site.result(site.client.start(joins, "a"))
        await site.result(run.result())
        too_many = LIMITS.payload_bytes_max // 60_000 + 1

        with pytest.raises(PayloadTooLargeError):
            await site.result(run.fork(after="grown#1", args=["b" * 60_000] * too_many, id="fork"))

        assert not site.turns("fork")
        fork = await site.result(run.fork(after="grown#1", args=["b"], id="fork"))
        assert await site.result(fork.result()) == "b"


async def test_what_is_not_known_is_refused() -> None:
    async with workers_in_memory() as site:
        try:
            await site.client.get_run("nobody").fork(after="add#1")
        except RunNotFoundError:
            return
        raise AssertionError("there is nothing to copy")


@workflow(timeout=100)
async def limited(ctx: WorkflowContext) -> str:
    await grown("a")
    return await ctx.suspend("go", type=str)


async def test_the_time_of_a_fork_of_a_fork_begins_anew_and_is_no_longer_than_that_of_a_fork() -> None:
    async with workers_in_memory() as site:
        await site.add(limited)
        run = await site.result(site.client.start(limited))
        for _ in range(2):
            await site.pass_time(50)
            run = await site.result(run.fork(after="grown#1"))
            await site.passes()
        await site.pass_time(90)
        before = await site.result(run.describe())
        await site.pass_time(15)

        assert before.status == "waiting"
        assert (await site.result(run.describe())).status == "timed_out"
