"""Waiting: sleep, suspensions, signals, awakeables, races of them, and the same in every replay."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from pydantic import BaseModel, Field
from structlog.testing import capture_logs
from tests.runs import kinds, recorded, suspended, until

from relight import (
    AlreadyAnsweredError,
    InvalidValueError,
    RefusedError,
    Relight,
    RunDescription,
    RunFailed,
    StepFailed,
    WaitTimedOut,
    Worker,
    WorkflowContext,
    step,
    workflow,
)
from relight.subjects import records as r
from relight.testing import TestEnvironment
from relight.testing.stage import Stage


class Review(BaseModel):
    approved: bool
    by: str


@workflow
async def reviewed(ctx: WorkflowContext, timeout_s: float | None = None) -> str:
    try:
        review = await ctx.suspend("review", {"order": 1}, type=Review, timeout=timeout_s)
    except WaitTimedOut as error:
        return str(error)
    return f"{review.approved} by {review.by}"


@step
async def works(number: int) -> int:
    return number


async def test_a_suspended_run_goes_on_with_the_answer_at_another_worker(client: Relight) -> None:
    run = await client.start(reviewed)
    async with Worker(client, [reviewed]):
        described = await suspended(run, "review")
    assert described.status == "waiting"
    assert described.waits_for[0].startswith("the answer to suspension 'review' since ")

    await run.resume("review", Review(approved=True, by="ann"))
    async with Worker(client, [reviewed]):
        assert await run.result(timeout=10) == "True by ann"


async def test_the_message_that_would_time_a_run_out_is_gone_once_it_has_ended_at_another_worker(
    client: Relight,
) -> None:
    run = await client.start(reviewed, timeout=3_600)
    async with Worker(client, [reviewed]):
        await suspended(run, "review")
    timers = client.subjects.timers(run.id)
    assert await client.door.last(timers) is not None

    await run.resume("review", Review(approved=True, by="ann"))
    async with Worker(client, [reviewed]):
        await run.result(timeout=10)

    assert await client.door.last(timers) is None


async def test_an_answer_that_comes_before_the_suspension_is_kept(client: Relight) -> None:
    run = await client.start(reviewed)

    await run.resume("review", {"approved": False, "by": "bob"})

    async with Worker(client, [reviewed]):
        assert await run.result(timeout=10) == "False by bob"


async def test_a_suspension_times_out_and_says_so() -> None:
    async with TestEnvironment([reviewed]) as env:
        run = await env.start(reviewed, 86_400.0)

        assert await run.result() == "suspension 'review' had no answer within 86400 s"
        await env.replay(run)


async def test_an_answer_after_the_timeout_is_refused() -> None:
    @workflow
    async def times_out(ctx: WorkflowContext) -> None:
        try:
            await ctx.suspend("first", timeout=60)
        except WaitTimedOut:
            await ctx.suspend("second")

    async with TestEnvironment([times_out]) as env:
        run = await env.start(times_out)
        await env.until(run, suspended="second")

        with pytest.raises(AlreadyAnsweredError):
            await run.resume("first", 1)

        await run.resume("second")
        await run.result()


async def test_an_answer_of_the_wrong_type_keeps_the_suspension_open_and_describe_says_why(client: Relight) -> None:
    with capture_logs() as lines:
        described = await answered_wrongly_first(client)

    assert described.suspended == ("review",)
    refused = "the answer to 'review' at value.approved: Input should be"
    assert f"the last answer was refused: {refused}" in described.waits_for[0]
    assert "\n" not in described.waits_for[0]
    (line,) = [one for one in lines if one["event"] == "answer_passed_over"]
    assert (line["log_level"], line["suspension"]) == ("warning", "review")
    assert line["problem"].startswith(refused)


async def answered_wrongly_first(client: Relight) -> RunDescription:
    async with Worker(client, [reviewed]):
        run = await client.start(reviewed)
        await suspended(run, "review")

        await run.resume("review", {"approved": "perhaps", "by": "ann"})
        described = await until(run, lambda described: "refused" in "".join(described.waits_for))
        await run.resume("review", {"approved": True, "by": "ann"})

        assert await run.result(timeout=10) == "True by ann"
    return described


async def test_of_two_answers_at_once_exactly_one_is_refused(client: Relight) -> None:
    async with Relight(client.settings.servers, namespace=client.settings.namespace) as other:
        for number in range(10):
            run = await client.start(reviewed, id=f"race-{number}")
            same = other.get_run(run.id)

            outcomes = await asyncio.gather(
                run.resume("review", Review(approved=True, by="first")),
                same.resume("review", Review(approved=True, by="second")),
                return_exceptions=True,
            )

            refused = [one for one in outcomes if one is not None]
            assert [type(one) for one in refused] == [AlreadyAnsweredError]
            async with Worker(client, [reviewed]):
                winner = "first" if outcomes[0] is None else "second"
                assert await run.result(timeout=10) == f"True by {winner}"


@workflow
async def collects(ctx: WorkflowContext, count: int) -> list[str]:
    notes: list[str] = []
    async for note in ctx.signals("note", type=str):
        notes.append(note)
        if len(notes) == count:
            break
    return notes


async def test_signals_arrive_in_order_early_ones_too_and_an_id_counts_once(client: Relight) -> None:
    run = await client.start(collects, 4)
    await run.signal("note", "early")
    await run.signal("note", "once", id="n-1")
    await run.signal("note", "once", id="n-1")
    async with Worker(client, [collects]):
        await until(run, lambda described: "signal 'note'" in "".join(described.waits_for))
        await run.signal("note", "once", id="n-1")
        await run.signal("note", "third")
    async with Worker(client, [collects]):
        await run.signal("note", "once", id="n-1")
        await run.signal("note", "last")

        assert await run.result(timeout=10) == ["early", "once", "third", "last"]


async def test_a_signal_of_the_wrong_type_is_passed_over_with_a_warning(
    client: Relight, capsys: pytest.CaptureFixture[str]
) -> None:
    async with Worker(client, [collects]):
        run = await client.start(collects, 1)
        await run.signal("note", 5)
        await run.signal("note", "text")

        assert await run.result(timeout=10) == ["text"]

    shown = capsys.readouterr().out
    assert shown.count("signal_passed_over") == 1


async def test_waiting_for_a_signal_times_out() -> None:
    @workflow
    async def impatient(ctx: WorkflowContext) -> str:
        try:
            return await ctx.wait_for_signal("go", type=str, timeout=timedelta(hours=1))
        except WaitTimedOut as error:
            return str(error)

    async with TestEnvironment([impatient]) as env:
        run = await env.start(impatient)

        assert await run.result() == "signal 'go' had no answer within 3600 s"
        await env.replay(run)


async def test_a_run_signals_another_run_once(client: Relight) -> None:
    @workflow
    async def tells(ctx: WorkflowContext, other: str) -> None:
        await ctx.signal(other, "note", "from a run")
        await ctx.suspend("pause")
        await ctx.signal(other, "note", "again")

    listener = await client.start(collects, 2)
    teller = await client.start(tells, listener.id)
    async with Worker(client, [tells]):
        await suspended(teller, "pause")
    async with Worker(client, [tells, collects]):
        await teller.resume("pause")
        await teller.result(timeout=10)
        assert await listener.result(timeout=10) == ["from a run", "again"]

    assert [one.id for one in await recorded(client, listener, r.SignalReceived)] == [
        f"{teller.id}:relight.signal#1",
        f"{teller.id}:relight.signal#2",
    ]


async def test_a_signal_to_an_unknown_run_fails_the_step_without_a_retry(client: Relight) -> None:
    @workflow
    async def tells(ctx: WorkflowContext) -> str:
        try:
            await ctx.signal("nobody", "note", "x")
        except StepFailed as error:
            return f"{error.error_type} {error}"
        return "?"

    async with Worker(client, [tells]):
        told = await client.call(tells)

    assert told.startswith("relight.errors.RunNotFoundError no run 'nobody' is known")


@workflow
async def delegates(ctx: WorkflowContext, timeout_s: float | None = None) -> str:
    answer = ctx.awakeable(type=Review, timeout=timeout_s)
    ctx.set_details(answer.token)
    await ctx.suspend("pause")
    try:
        first = await answer
        second = await answer
    except StepFailed as error:
        return f"failed: {error}"
    except WaitTimedOut as error:
        return str(error)
    assert first == second
    return f"by {first.by}"


async def test_an_awakeable_is_answered_once_by_its_token_alone_and_early_answers_count(client: Relight) -> None:
    run = await client.start(delegates)
    async with Worker(client, [delegates]):
        token = str((await suspended(run, "pause")).details)
        await client.complete(token, Review(approved=True, by="ann"))
    with pytest.raises(AlreadyAnsweredError):
        await client.complete(token, Review(approved=True, by="bob"))
    with pytest.raises(AlreadyAnsweredError):
        await client.fail(token, "too late")
    async with Worker(client, [delegates]):
        await run.resume("pause")

        assert await run.result(timeout=10) == "by ann"


async def test_a_failed_awakeable_raises_step_failed_with_the_reason(client: Relight) -> None:
    async with Worker(client, [delegates]):
        run = await client.start(delegates)
        token = str((await suspended(run, "pause")).details)
        await client.fail(token, "nobody there")
        await run.resume("pause")

        assert await run.result(timeout=10) == "failed: nobody there"


async def test_an_awakeable_times_out() -> None:
    async with TestEnvironment([delegates]) as env:
        run = await env.start(delegates, 60.0)
        await env.until(run, suspended="pause")
        await run.resume("pause")

        assert await run.result() == "awakeable 1 had no answer within 60 s"
        await env.replay(run)


async def test_sleeps_are_durable_and_take_their_time() -> None:
    @workflow
    async def sleeps(ctx: WorkflowContext) -> list[float]:
        begin = ctx.now()
        await ctx.sleep(timedelta(days=1))
        await asyncio.sleep(3600)
        await ctx.sleep_until(begin + timedelta(days=7))
        await ctx.sleep_until(begin)
        await ctx.sleep(0)
        return [(ctx.now() - begin).total_seconds()]

    async with Stage([sleeps]) as stage:
        worker = await stage.open_worker()
        run = await stage.client.start(sleeps)
        await stage.until(lambda: bool(stage.observer.state(run.id).timers))

        worker.kill()
        await stage.open_worker()

        [passed] = await run.result()
    assert passed == pytest.approx(7 * 86_400, abs=1)


async def test_a_race_resolves_the_same_way_in_every_replay_and_its_losers_have_no_later_effect() -> None:
    @workflow
    async def races(ctx: WorkflowContext) -> list[str]:
        winners: list[str] = []
        for number in range(3):
            tasks: dict[str, asyncio.Task[Any]] = {
                "sleep": asyncio.create_task(ctx.sleep(10 * (number + 1))),
                "signal": asyncio.create_task(ctx.wait_for_signal("go", type=int, timeout=3600)),
                "step": asyncio.create_task(ctx.suspend(f"answer-{number}")),
            }
            done, pending = await asyncio.wait(tasks.values(), return_when=asyncio.FIRST_COMPLETED)
            winners += [name for name, task in tasks.items() if task in done]
            for task in pending:
                task.cancel()
            await asyncio.gather(*pending, return_exceptions=True)
        await ctx.suspend("end")
        return winners

    async with TestEnvironment([races]) as env:
        run = await env.start(races)
        await env.until(run, suspended="answer-0")
        await run.resume("answer-0")
        await env.until(run, suspended="answer-1")
        await run.signal("go", 1)
        await env.until(run, suspended="end")
        before = len(await kinds(run))
        timers = [one async for one in run.history() if one.kind == "TimerArmed"]
        cancelled = [one async for one in run.history() if one.kind == "TimerCancelled"]
        fired = [one async for one in run.history() if one.kind == "TimerFired"]

        await env.sleep(timedelta(hours=2))

        assert len(await kinds(run)) == before, "a cancelled timer wakes the run to no effect"
        assert len(timers) == len(cancelled) + len(fired)
        await env.replay(run)
        await run.resume("end")
        assert await run.result() == ["step", "signal", "sleep"]
        await env.replay(run)


async def test_the_time_random_numbers_and_ids_are_the_same_in_a_replay(client: Relight) -> None:
    seen: list[tuple[datetime, float, str, datetime]] = []

    @workflow
    async def draws(ctx: WorkflowContext) -> str:
        seen.append((ctx.now(), ctx.random.random(), str(ctx.uuid4()), ctx.started_at))
        await ctx.suspend("pause")
        return str(ctx.uuid4())

    run = await client.start(draws)
    async with Worker(client, [draws]):
        await suspended(run, "pause")
    async with Worker(client, [draws]):
        await run.resume("pause")
        await run.result(timeout=10)
    other = await client.start(draws)
    async with Worker(client, [draws]):
        await suspended(other, "pause")

    assert seen[0] == seen[1]
    assert seen[2][1:3] != seen[0][1:3]
    assert seen[0][0].tzinfo is UTC


async def test_log_lines_are_written_once_and_only_when_their_turn_is_durable(
    client: Relight, capsys: pytest.CaptureFixture[str]
) -> None:
    @workflow
    async def logs(ctx: WorkflowContext) -> None:
        ctx.log.info("before", replaying=ctx.is_replaying)
        await ctx.suspend("pause")
        ctx.log.warning("after", replaying=ctx.is_replaying)

    run = await client.start(logs)
    async with Worker(client, [logs]):
        await suspended(run, "pause")
    async with Worker(client, [logs]):
        await run.resume("pause")
        await run.result(timeout=10)

    lines = [line for line in capsys.readouterr().out.splitlines() if run.id in line]
    assert len(lines) == 2
    assert "before" in lines[0]
    assert "after" in lines[1]
    assert all("replaying=False" in line and "workflow=logs" in line for line in lines)


async def test_details_are_shown_by_describe_also_without_any_worker(client: Relight) -> None:
    @workflow
    async def tells(ctx: WorkflowContext) -> None:
        ctx.set_details({"progress": 0.5})
        await ctx.suspend("pause")

    async with Worker(client, [tells]):
        run = await client.start(tells)
        await suspended(run, "pause")

    assert (await run.describe()).details == {"progress": 0.5}


async def test_a_workflow_called_with_the_context_runs_in_line(client: Relight) -> None:
    @workflow
    async def inner(ctx: WorkflowContext, number: int) -> str:
        return f"{ctx.run_id} {await works(number)}"

    @workflow
    async def outer(ctx: WorkflowContext) -> str:
        return await inner(ctx, 7)

    async with Worker(client, [outer]):
        assert await client.call(outer, id="outer") == "outer 7"


async def test_the_context_names_the_workflow_and_the_parent(client: Relight) -> None:
    @workflow(name="a child")
    async def child(ctx: WorkflowContext) -> tuple[str, str, str | None]:
        return ctx.run_id, ctx.workflow, ctx.parent_id

    @workflow
    async def parent(ctx: WorkflowContext) -> list[tuple[str, str, str | None]]:
        return [(ctx.run_id, ctx.workflow, ctx.parent_id), await ctx.call(child, id="below")]

    async with Worker(client, [parent, child]):
        assert await client.call(parent, id="above") == [("above", "parent", None), ("below", "a child", "above")]


async def test_resuming_a_run_that_has_ended_is_refused(client: Relight) -> None:
    @workflow
    async def ends(ctx: WorkflowContext) -> None:
        pass

    async with Worker(client, [ends]):
        run = await client.start(ends)
        await run.result(timeout=10)

    with pytest.raises(RefusedError, match="has ended; nothing waits for 'review'"):
        await run.resume("review")
    with pytest.raises(RefusedError, match="has ended; it takes no messages any more"):
        await run.signal("note")


async def test_a_wait_out_of_range_fails_the_run_with_value_and_remedy(client: Relight) -> None:
    @workflow
    async def waits(ctx: WorkflowContext) -> None:
        await ctx.sleep(-1)

    async with Worker(client, [waits]):
        with pytest.raises(RunFailed, match=r"sleep: -1.0 s is out of range; pass 0 seconds to 100 years") as failed:
            await client.call(waits)
    assert failed.value.error_type.endswith(InvalidValueError.__name__)


class Stamped(BaseModel):
    approved: bool
    id: UUID = Field(default_factory=uuid4)


@workflow
async def takes_stamped(ctx: WorkflowContext, first: Stamped | None = None) -> None:
    await ctx.suspend("review", type=Stamped)


@workflow
async def hears_stamped(ctx: WorkflowContext) -> None:
    await ctx.wait_for_signal("review", type=Stamped)


async def test_an_answer_that_would_be_another_one_in_a_replay_is_refused() -> None:
    async with TestEnvironment([takes_stamped, hears_stamped]) as env:
        answered, heard = await env.start(takes_stamped, None), await env.start(hears_stamped)
        await env.until(answered, suspended="review")
        await answered.resume("review", {"approved": True})
        await heard.signal("review", {"approved": True})
        await env.skip(1)

        assert "would come back as another UUID" in (await answered.describe()).waits_for[0]
        assert (await heard.describe()).status == "waiting"
        await env.replay(answered)
        given = {"approved": True, "id": str(uuid4())}
        await answered.resume("review", given)
        await heard.signal("review", given)
        await answered.result()
        await heard.result()


async def test_arguments_of_a_start_by_name_that_would_be_others_in_a_replay_fail_the_run() -> None:
    async with TestEnvironment([takes_stamped]) as env:
        run = await env.client.start("takes_stamped", {"approved": True}, type=object)

        with pytest.raises(RunFailed, match="would come back as another UUID"):
            await run.result()
