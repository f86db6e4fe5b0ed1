"""Cancelling and terminating runs, and what ends them by time."""

from __future__ import annotations

import asyncio
import time
from datetime import datetime, timedelta, timezone

import pytest
from tests.runs import kinds, recorded, suspended, until

from relight import (
    RefusedError,
    Relight,
    RunCancelled,
    RunFailed,
    RunTerminated,
    RunTimedOut,
    StepCancelled,
    Worker,
    WorkflowContext,
    step,
    workflow,
)
from relight.subjects import records as r
from relight.testing import TestEnvironment

happened: list[str] = []


@pytest.fixture(autouse=True)
def nothing_happened() -> None:
    happened.clear()


async def happens(what: str) -> None:
    async with asyncio.timeout(10):
        while what not in happened:
            await asyncio.sleep(0.005)


@step
async def cleans_up(what: str) -> None:
    happened.append(f"cleaned up {what}")


@workflow
async def tidy(ctx: WorkflowContext) -> str:
    try:
        await ctx.suspend("pause")
    except asyncio.CancelledError:
        happened.append("cancelled")
        await cleans_up("first")
        await ctx.suspend("still waiting")
        await cleans_up("second")
        raise
    return "done"


async def test_cancel_raises_at_the_await_and_the_clean_up_is_recorded_and_runs(client: Relight) -> None:
    run = await client.start(tidy)
    async with Worker(client, [tidy]):
        await suspended(run, "pause")
        await run.cancel(reason="changed my mind")
        await suspended(run, "still waiting")
    async with Worker(client, [tidy]):
        await run.resume("still waiting")
        with pytest.raises(RunCancelled, match="changed my mind"):
            await run.result(timeout=10)

    assert (await run.describe()).status == "cancelled"
    assert [one for one in happened if one != "cancelled"] == ["cleaned up first", "cleaned up second"]
    assert (await kinds(run))[-1] == "RunCancelled"


@workflow
async def catches(ctx: WorkflowContext) -> str:
    try:
        await ctx.sleep(timedelta(days=1))
    except asyncio.CancelledError:
        return "caught"
    return "slept"


async def test_a_workflow_that_catches_the_cancellation_completes_and_a_second_cancel_counts_for_nothing(
    client: Relight,
) -> None:
    async with Worker(client, [catches]):
        run = await client.start(catches)
        await until(run, lambda described: described.status == "waiting")
        await run.cancel()
        assert await run.result(timeout=10) == "caught"

    with pytest.raises(RefusedError, match="has ended; it takes no messages any more"):
        await run.cancel()
    assert (await kinds(run)).count("TimerCancelled") == 1


@step
async def hangs() -> str:
    happened.append("began")
    try:
        await asyncio.Event().wait()
    finally:
        happened.append("task told")
    return "?"


@step
def hangs_in_a_thread() -> str:
    happened.append("began")
    try:
        while True:
            time.sleep(0.005)
            step.heartbeat()
    except StepCancelled:
        happened.append("thread told")
        return "a late result"


@workflow
async def hanging(ctx: WorkflowContext, where: str) -> str:
    return await (hangs() if where == "task" else hangs_in_a_thread())


@pytest.mark.parametrize("where", ["task", "thread"])
async def test_a_step_in_flight_is_told_and_its_late_result_changes_nothing(client: Relight, where: str) -> None:
    async with Worker(client, [hanging]):
        run = await client.start(hanging, where)
        await happens("began")
        await run.cancel()
        with pytest.raises(RunCancelled):
            await run.result(timeout=10)
        await happens(f"{where} told")

    recorded_kinds = [one for one in await kinds(run) if one != "StepHeartbeat"]
    assert recorded_kinds == ["RunStarted", "StepScheduled", "CancelRequested", "StepCancelled", "RunCancelled"]


async def test_a_cancel_before_the_first_turn_is_raised_at_the_first_await(client: Relight) -> None:
    run = await client.start(hanging, "task")
    await run.cancel(reason="too early")

    async with Worker(client, [hanging]):
        with pytest.raises(RunCancelled, match="too early"):
            await run.result(timeout=10)


async def test_terminate_runs_none_of_the_users_code_any_more(client: Relight) -> None:
    async with Worker(client, [tidy]):
        run = await client.start(tidy)
        await suspended(run, "pause")
        await run.terminate(reason="enough")
        with pytest.raises(RunTerminated, match="enough"):
            await run.result(timeout=10)

    assert happened == []
    assert (await run.describe()).status == "terminated"


async def test_terminate_stops_a_step_in_flight(client: Relight) -> None:
    async with Worker(client, [hanging]):
        run = await client.start(hanging, "task")
        await happens("began")
        await run.terminate()
        with pytest.raises(RunTerminated):
            await run.result(timeout=10)
        await happens("task told")

    assert (await kinds(run))[-1] == "RunTerminated"


async def test_a_run_is_timed_out_when_its_time_has_passed_and_its_code_runs_no_more() -> None:
    @workflow(timeout=timedelta(hours=1))
    async def slow(ctx: WorkflowContext) -> None:
        assert ctx.deadline == ctx.started_at + timedelta(hours=1)
        try:
            await ctx.sleep(timedelta(days=1))
        finally:
            happened.append("ran on")

    async with TestEnvironment([slow]) as env:
        run = await env.start(slow)
        with pytest.raises(RunTimedOut, match="did not end within its time-out"):
            await run.result()

        assert (await run.describe()).status == "timed_out"
    assert happened == []


async def test_the_starts_timeout_replaces_the_workflows_own(client: Relight) -> None:
    async with Worker(client, [hanging]):
        with pytest.raises(RunTimedOut):
            await client.call(hanging, "task", timeout=0.1)
        await happens("task told")


@workflow
async def tells_its_start(ctx: WorkflowContext) -> datetime:
    happened.append("began")
    return ctx.now()


async def test_a_delayed_start_begins_when_it_is_due_and_is_queued_until_then() -> None:
    async with TestEnvironment([tells_its_start]) as env:
        before = await (await env.start(tells_its_start)).result()
        run = await env.start(tells_its_start, delay=timedelta(days=2))
        described = await run.describe()
        assert described.status == "queued"
        assert happened == ["began"]

        assert timedelta(days=2) <= await run.result() - before < timedelta(days=2, minutes=1)


async def test_the_timeout_of_a_delayed_run_counts_from_its_begin() -> None:
    async with TestEnvironment([tells_its_start, tidy]) as env:
        run = await env.start(tells_its_start, delay=timedelta(days=2), timeout=60)
        assert await run.result()
        late = await env.start(tidy, delay=timedelta(days=2), timeout=60)
        with pytest.raises(RunTimedOut):
            await late.result()


async def test_a_start_at_a_moment_says_when_it_begins_and_a_cancel_lets_it_never_begin(client: Relight) -> None:
    moment = datetime(2100, 1, 1, tzinfo=timezone(timedelta(hours=2)))
    async with Worker(client, [tells_its_start]):
        run = await client.start(tells_its_start, at=moment)
        described = await until(run, lambda described: described.worker is not None)
        assert described.status == "queued"
        assert described.waits_for == ("its start at 2099-12-31 22:00:00 UTC; it begins by itself",)

        await run.cancel(reason="no need")

        with pytest.raises(RunCancelled, match="no need"):
            await run.result(timeout=10)
    assert happened == []


async def test_a_delayed_start_on_a_real_server_begins_at_another_worker(client: Relight) -> None:
    async with Worker(client, [tells_its_start]):
        run = await client.start(tells_its_start, delay=1.2)
        await until(run, lambda described: described.worker is not None)
    assert happened == []

    async with Worker(client, [tells_its_start]):
        await run.result(timeout=10)

    [started] = await recorded(client, run, r.RunStarted)
    [begun] = await recorded(client, run, r.Unparked)
    assert begun.by == "delay"
    assert started.not_before_ms is not None


async def test_a_workflow_that_cancels_itself_has_failed(client: Relight) -> None:
    @workflow
    async def gives_up(ctx: WorkflowContext) -> None:
        raise asyncio.CancelledError

    async with Worker(client, [gives_up]):
        with pytest.raises(RunFailed, match="the workflow cancelled itself"):
            await client.call(gives_up)


async def test_a_cancel_that_came_while_no_worker_was_there_is_seen_before_the_first_step(client: Relight) -> None:
    executed: list[str] = []

    @step
    async def touches() -> None:
        executed.append("step")

    @workflow
    async def touching(ctx: WorkflowContext) -> None:
        await touches()

    run = await client.start(touching)
    await run.cancel()
    ended = await client.start(touching)
    await ended.terminate()

    async with Worker(client, [touching]):
        with pytest.raises(RunCancelled):
            await run.result(timeout=20)
        with pytest.raises(RunTerminated):
            await ended.result(timeout=20)

    assert executed == []
