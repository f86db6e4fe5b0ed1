"""`run.pause` and `run.unpause`: a run that a person holds between steps."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from tests.runs import kinds, recorded, suspended, until

from relight import (
    RefusedError,
    Relight,
    Retry,
    Run,
    RunCancelled,
    RunDescription,
    RunTerminated,
    RunTimedOut,
    Worker,
    WorkflowContext,
    step,
    workflow,
)
from relight.subjects import messages as m
from relight.subjects import records as r
from relight.subjects.codec import encode
from relight.testing import StalledError, TestEnvironment

happened: list[str] = []
gates: dict[str, asyncio.Event] = {}


@pytest.fixture(autouse=True)
def nothing_happened() -> None:
    happened.clear()
    gates.clear()


@step
async def passes(gate: str) -> str:
    happened.append(f"{gate} began")
    await gates.setdefault(gate, asyncio.Event()).wait()
    return gate


@step
async def notes(what: str) -> str:
    happened.append(what)
    return what


async def happens(what: str) -> None:
    async with asyncio.timeout(10):
        while what not in happened:
            await asyncio.sleep(0.005)


async def paused(run: Run[Any]) -> RunDescription:
    return await until(run, lambda described: described.status == "paused")


@workflow
async def two_steps(ctx: WorkflowContext) -> str:
    first = await passes("first")
    ctx.log.info("the code went on")
    return first + await notes(" second")


async def test_the_step_under_way_ends_and_is_recorded_and_the_next_waits_for_a_person(client: Relight) -> None:
    async with Worker(client, [two_steps]):
        run = await client.start(two_steps, id="held")
        await happens("first began")
        await run.pause()
        await paused(run)
        gates["first"].set()
        described = await until(run, lambda described: described.history_records == 4)
        held_kinds = await kinds(run)

        await run.unpause()
        assert await run.result(timeout=10) == "first second"

    assert held_kinds == ["RunStarted", "StepScheduled", "Paused", "StepCompleted"]
    assert described.status == "paused"
    assert described.waits_for[0].startswith("a person: paused since 20")
    assert described.waits_for[0].endswith("`relight unpause held` or `run.unpause()` lets it go on")
    assert (await kinds(run))[4:6] == ["Unpaused", "StepScheduled"]
    assert [one.by for one in await recorded(client, run, r.Unpaused)] == ["person"]


async def test_a_paused_run_stays_so_at_other_workers_and_keeps_what_comes(client: Relight) -> None:
    async with Worker(client, [hears]):
        run = await client.start(hears)
        await until(run, lambda described: described.status == "waiting")
        await run.pause()
        await run.pause()
        await paused(run)
    async with Worker(client, [hears]):
        await run.signal("word", "one")
        await until(run, lambda described: described.history_records == 4)
    async with Worker(client, [hears]):
        await run.signal("word", "two")
        before = list(happened)
        await until(run, lambda described: described.history_records == 5)
        await run.unpause()
        assert await run.result(timeout=10) == ["one", "two"]

    assert before == []
    assert (await kinds(run)).count("Paused") == 1


@workflow
async def hears(ctx: WorkflowContext) -> list[str]:
    first = await ctx.wait_for_signal("word", type=str)
    await notes(first)
    return [first, await ctx.wait_for_signal("word", type=str)]


@workflow
async def sleeps(ctx: WorkflowContext) -> float:
    began = ctx.now()
    await ctx.sleep(60)
    return (ctx.now() - began).total_seconds()


async def test_a_timer_that_falls_due_during_the_pause_takes_effect_after_it() -> None:
    async with TestEnvironment([sleeps]) as env:
        early, late = await env.start(sleeps), await env.start(sleeps)
        await env.sleep(1)
        await early.pause()
        await late.pause()
        await env.sleep(9)
        await early.unpause()
        await env.sleep(190)
        in_between = await late.describe()
        await late.unpause()

        assert await early.result() == 60
        assert 199 <= await late.result() <= 202
        await env.replay(late)
        ended = await kinds(late)

    assert in_between.status == "paused"
    assert ended[-3:] == ["Unpaused", "TimerFired", "RunCompleted"]


async def test_a_worker_that_takes_over_a_paused_run_lets_its_timer_wait_too(client: Relight) -> None:
    async with Worker(client, [naps]):
        run = await client.start(naps)
        await until(run, lambda described: described.status == "waiting")
        await run.pause()
        await paused(run)
    async with Worker(client, [naps]):
        await asyncio.sleep(1.5)  # What the test is about: the timer falls due.
        described = await run.describe()
        await run.unpause()
        assert await run.result(timeout=10) == "awake"

    assert described.status == "paused"
    assert (await kinds(run))[-3:] == ["Unpaused", "TimerFired", "RunCompleted"]


@workflow
async def naps(ctx: WorkflowContext) -> str:
    await ctx.sleep(1.2)
    return "awake"


async def test_a_timer_whose_message_came_early_during_the_pause_is_armed_again() -> None:
    async with TestEnvironment([sleeps]) as env:
        run = await env.start(sleeps)
        await env.sleep(0.1)
        await run.pause()
        await until_idle(env, run, "paused")
        due_ms = (await recorded(env.client, run, r.TimerArmed))[0].due_ms
        await env.client.door.purge(env.client.subjects.timers(run.id))
        early = encode(m.TimerDue(timer=0, due_ms=due_ms))
        await env.client.door.publish(env.client.subjects.wake("default", run.id), early)
        await env.sleep(0.1)
        await run.unpause()

        assert await run.result() == 60


async def until_idle(env: TestEnvironment, run: Run[Any], status: str) -> None:
    while (await run.describe()).status != status:
        await env.sleep(0.01)


async def test_the_time_out_of_the_run_ends_it_also_while_it_is_paused() -> None:
    async with TestEnvironment([sleeps]) as env:
        run = await env.start(sleeps, timeout=100)
        await env.sleep(1)
        await run.pause()

        with pytest.raises(RunTimedOut):
            await run.result()

        assert (await run.describe()).status == "timed_out"


@workflow
async def cleans_up(ctx: WorkflowContext) -> str:
    try:
        return await ctx.suspend("review", type=str)
    finally:
        await notes("cleaned up")


async def test_to_cancel_a_paused_run_unpauses_it_so_that_its_clean_up_runs(client: Relight) -> None:
    async with Worker(client, [cleans_up]):
        run = await client.start(cleans_up)
        await suspended(run, "review")
        await run.pause()
        await paused(run)
        await run.cancel(reason="enough")
        with pytest.raises(RunCancelled, match="enough"):
            await run.result(timeout=10)

    assert happened == ["cleaned up"]
    assert [one.by for one in await recorded(client, run, r.Unpaused)] == ["cancel"]


async def test_to_terminate_a_paused_run_ends_it(client: Relight) -> None:
    async with Worker(client, [cleans_up]):
        run = await client.start(cleans_up)
        await suspended(run, "review")
        await run.pause()
        await paused(run)
        await run.terminate(reason="now")
        with pytest.raises(RunTerminated, match="now"):
            await run.result(timeout=10)

    assert happened == []


async def test_a_run_that_is_paused_before_a_worker_has_it_launches_nothing(client: Relight) -> None:
    run = await client.start(notes_once)
    await run.pause()
    async with Worker(client, [notes_once]):
        await paused(run)
        before = list(happened)
        await run.unpause()
        assert await run.result(timeout=10) == "once"

    assert before == []


@workflow
async def notes_once(ctx: WorkflowContext) -> str:
    return await notes("once")


async def test_a_delayed_start_that_falls_due_during_the_pause_begins_after_it() -> None:
    async with TestEnvironment([notes_once]) as env:
        run = await env.start(notes_once, delay=60)
        await run.pause()
        await env.sleep(100)
        described = await run.describe()
        before = list(happened)
        await run.unpause()

        assert await run.result() == "once"
        await env.replay(run)

    assert (described.status, before) == ("paused", [])
    assert any("its start at" in one for one in described.waits_for)


async def test_only_a_paused_run_can_be_unpaused_and_only_one_that_goes_on_paused(client: Relight) -> None:
    run = await client.start(notes_once)
    with pytest.raises(RefusedError, match="is not paused"):
        await run.unpause()

    await run.pause()
    await run.unpause()  # Nobody has read the pause yet; it counts all the same.
    with pytest.raises(RefusedError, match="not paused"):
        await run.unpause()
    async with Worker(client, [notes_once]):
        assert await run.result(timeout=10) == "once"

    for ask in (run.pause, run.unpause):
        with pytest.raises(RefusedError):
            await ask()


@step(retry=Retry(attempts=3, delay=5, jitter=0))
async def fails_once() -> int:
    happened.append(f"attempt {step.info().attempt}")
    if step.info().attempt == 1:
        raise ConnectionError("away")
    return step.info().attempt


@workflow
async def retries(ctx: WorkflowContext) -> int:
    return await fails_once()


async def test_no_attempt_is_launched_during_the_pause() -> None:
    async with TestEnvironment([retries]) as env:
        run = await env.start(retries)
        await env.sleep(1)
        await run.pause()
        await env.sleep(60)
        before = list(happened)
        await run.unpause()

        assert await run.result() == 2

    assert before == ["attempt 1"]


@step(retry=Retry(attempts=1), on_exhausted="park")
async def needs_a_person(gate: str) -> str:
    happened.append(f"{gate} began")
    await gates.setdefault(gate, asyncio.Event()).wait()
    raise ConnectionError("away")


@workflow
async def parks(ctx: WorkflowContext) -> str:
    return await needs_a_person("gate") + await notes(" after")


async def test_a_run_that_is_parked_while_paused_needs_both_decisions(client: Relight) -> None:
    async with Worker(client, [parks]):
        run = await client.start(parks)
        await happens("gate began")
        await run.pause()
        await paused(run)
        gates["gate"].set()
        parked = await until(run, lambda described: described.status == "parked")
        await run.resolve("needs_a_person", result="by hand")
        await paused(run)
        before = list(happened)
        await run.unpause()
        assert await run.result(timeout=10) == "by hand after"

    assert before == ["gate began"]
    assert len(parked.waits_for) == 2


@workflow
async def child(ctx: WorkflowContext) -> str:
    return await notes(await ctx.suspend("child", type=str))


@workflow
async def parent(ctx: WorkflowContext) -> str:
    return await ctx.call(child, id="the-child") + await notes(" parent")


async def test_children_of_a_paused_run_go_on_and_their_end_is_kept(client: Relight) -> None:
    async with Worker(client, [parent, child]):
        run = await client.start(parent)
        below = client.get_run("the-child", type=str)
        async with asyncio.timeout(10):
            while not (await run.describe()).waits_for or "the-child" not in str((await run.describe()).waits_for):
                await asyncio.sleep(0.01)
        await suspended(below, "child")
        await run.pause()
        await paused(run)
        await below.resume("child", "said")
        assert await below.result(timeout=10) == "said"
        async with asyncio.timeout(10):
            while not await recorded(client, run, r.ChildEnded):
                await asyncio.sleep(0.01)
        before = list(happened)
        await run.unpause()
        assert await run.result(timeout=10) == "said parent"

    assert before == ["said"]


async def test_a_cancelled_parent_cancels_its_paused_child(client: Relight) -> None:
    async with Worker(client, [calls_clean_up, cleans_up]):
        run = await client.start(calls_clean_up)
        below = client.get_run("below")
        async with asyncio.timeout(10):
            while "below" not in str((await run.describe()).waits_for):
                await asyncio.sleep(0.01)
        await suspended(below, "review")
        await below.pause()
        await paused(below)
        await run.cancel()
        with pytest.raises(RunCancelled):
            await run.result(timeout=10)

    assert (await below.describe()).status == "cancelled"
    assert happened == ["cleaned up"]


@workflow
async def calls_clean_up(ctx: WorkflowContext) -> str:
    return await ctx.call(cleans_up, id="below")


@workflow
async def goes_on(ctx: WorkflowContext, generation: int) -> str:
    if generation:
        return await ctx.wait_for_signal("word", type=str) + str(await ctx.suspend("review", type=str))
    waits = [
        asyncio.ensure_future(ctx.wait_for_signal("word", type=str)),
        asyncio.ensure_future(ctx.suspend("review", type=str)),
    ]
    await passes("gate")
    assert not any(one.done() for one in waits)
    ctx.continue_as_new(1)


async def test_what_came_during_the_pause_is_not_lost_when_the_run_then_continues_as_new(client: Relight) -> None:
    async with Worker(client, [goes_on]):
        run = await client.start(goes_on, 0)
        await happens("gate began")
        await run.pause()
        await paused(run)
        gates["gate"].set()
        await until(run, lambda described: "passes" not in str(described.waits_for))
        await run.signal("word", "hello ")
        await run.resume("review", "again")
        await until(run, lambda described: not described.suspended)
        await run.unpause()

        assert await run.result(timeout=10) == "hello again"


@workflow
async def ends_before(ctx: WorkflowContext) -> str:
    return await passes("gate")


async def test_what_came_during_the_pause_after_the_last_result_harms_nobody(client: Relight) -> None:
    async with Worker(client, [ends_before]):
        run = await client.start(ends_before)
        await happens("gate began")
        await run.pause()
        await paused(run)
        gates["gate"].set()
        await until(run, lambda described: not any("passes" in one for one in described.waits_for))
        await run.signal("word", "too late")
        await until(run, lambda described: described.history_records == 5)
        await run.unpause()

        assert await run.result(timeout=10) == "gate"


async def test_a_fork_of_a_run_that_was_paused_goes_on(client: Relight) -> None:
    async with Worker(client, [two_steps]):
        run = await client.start(two_steps)
        await happens("first began")
        await run.pause()
        await paused(run)
        gates["first"].set()
        await until(run, lambda described: described.history_records == 4)

        fork = await run.fork(after="passes#1")

        assert await fork.result(timeout=10) == "first second"
        assert (await run.describe()).status == "paused"
        await run.terminate()


async def test_a_test_that_waits_for_a_paused_run_is_told_so() -> None:
    async with TestEnvironment([sleeps]) as env:
        run = await env.start(sleeps)
        await env.sleep(1)
        await run.pause()

        with pytest.raises(StalledError, match="paused since"):
            await run.result()
