"""Deadlines, cancellation and termination reach a whole tree of runs, and their steps."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from msgspec import Raw
from tests.runs import recorded

from relight import (
    Relight,
    Retry,
    RunCancelled,
    RunTerminated,
    RunTimedOut,
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


@step
async def note(what: str) -> None:
    happened.append(what)


@workflow
async def holds(ctx: WorkflowContext, depth: int) -> str:
    """Each level cleans up for a while, and has something to undo."""
    ctx.compensate(note, f"undo {depth}")
    try:
        if depth == 0:
            return await ctx.suspend("go", type=str)
        return await ctx.call(holds, depth - 1, id=f"level-{depth - 1}")
    finally:
        clean_up = asyncio.ensure_future(_clean_up(ctx, depth))
        try:
            await asyncio.shield(clean_up)
        except asyncio.CancelledError:
            await clean_up
            raise


async def _clean_up(ctx: WorkflowContext, depth: int) -> None:
    await note(f"begin {depth}")
    await ctx.sleep(5)
    await note(f"end {depth}")


async def test_cancelling_reaches_every_level_and_each_cleans_up_and_undoes_before_the_one_above() -> None:
    async with TestEnvironment([holds]) as env:
        run = await env.start(holds, 2, id="level-2")
        await env.until(env.client.get_run("level-0"), suspended="go")

        await run.cancel(reason="enough")
        with pytest.raises(RunCancelled, match="enough"):
            await run.result()

        for level in ("level-0", "level-1", "level-2"):
            below = env.client.get_run(level)
            assert (await below.describe()).status == "cancelled"
            await env.replay(below)
    assert happened == [f"{what} {depth}" for depth in (0, 1, 2) for what in ("begin", "end", "undo")]


async def test_a_second_cancellation_of_a_level_below_does_not_cut_its_clean_up_short() -> None:
    async with TestEnvironment([holds]) as env:
        run = await env.start(holds, 1, id="level-1")
        below = env.client.get_run("level-0")
        await env.until(below, suspended="go")

        await run.cancel()
        await env.sleep(1)
        await below.cancel(reason="hurry")
        await run.cancel(reason="hurry")
        with pytest.raises(RunCancelled):
            await run.result()

    assert happened == ["begin 0", "end 0", "undo 0", "begin 1", "end 1", "undo 1"]


async def test_terminating_reaches_every_level_and_runs_no_code() -> None:
    async with TestEnvironment([holds]) as env:
        run = await env.start(holds, 2, id="level-2")
        await env.until(env.client.get_run("level-0"), suspended="go")

        await run.terminate(reason="now")
        for level in ("level-2", "level-1", "level-0"):
            with pytest.raises(RunTerminated):
                await env.client.get_run(level).result()

    assert happened == []


@step(timeout=3600, retry=Retry(attempts=1))
async def looks_at_its_deadline() -> str:
    deadline = step.info().deadline
    assert deadline is not None
    return deadline.isoformat()


@workflow
async def tells_deadlines(ctx: WorkflowContext, depth: int) -> list[str]:
    assert ctx.deadline is not None
    seen = [ctx.deadline.isoformat(), await looks_at_its_deadline()]
    if depth:
        await ctx.sleep(7)
        seen += await ctx.call(tells_deadlines, depth - 1, timeout=3600)
    return seen


async def test_the_deadline_of_a_run_is_that_of_its_children_and_steps_at_most() -> None:
    async with TestEnvironment([tells_deadlines]) as env:
        run = await env.start(tells_deadlines, 2, timeout=60)
        seen = await run.result()
        started = (await recorded(env.client, run, r.RunStarted))[0]
        begun_at = (await anext(run.history())).at

    assert started.timeout_ms == 60_000
    assert set(seen) == {(begun_at + timedelta(seconds=60)).isoformat()}


@workflow
async def starts_late(ctx: WorkflowContext) -> str:
    child = await ctx.start(waits_long, id="late", delay=3600, on_parent_close="detach")
    ctx.set_details(child.id)
    return await ctx.suspend("go", type=str)


@workflow
async def waits_long(ctx: WorkflowContext) -> None:
    await note("began")
    await ctx.sleep(100)


async def test_a_child_that_has_not_begun_by_the_deadline_never_does() -> None:
    async with TestEnvironment([starts_late, waits_long]) as env:
        run = await env.start(starts_late, timeout=60)
        with pytest.raises(RunTimedOut):
            await run.result()
        with pytest.raises(RunTimedOut):
            await env.client.get_run("late").result()

    assert happened == []


async def test_a_child_that_a_worker_gets_after_the_deadline_launches_nothing(client: Relight) -> None:
    async with Worker(client, [calls_elsewhere]):
        await client.start(calls_elsewhere, timeout=1.0)
        async with asyncio.timeout(10):
            while await client.door.last(client.subjects.start_any_queue("elsewhere")) is None:
                await asyncio.sleep(0.005)
    await asyncio.sleep(1.0)  # What the test is about: nobody is there when the deadline comes.

    async with Worker(client, [waits_long], queues=["elsewhere"]):
        with pytest.raises(RunTimedOut):
            await client.get_run("elsewhere").result(timeout=10)

    assert happened == []


@workflow
async def calls_elsewhere(ctx: WorkflowContext) -> None:
    await ctx.call(waits_long, id="elsewhere", queue="elsewhere")


@workflow
async def hears(ctx: WorkflowContext) -> list[str]:
    return [await ctx.wait_for_signal("word", type=str), await ctx.wait_for_signal("word", type=str)]


async def test_what_is_sent_after_the_deadline_does_not_count(client: Relight) -> None:
    async with Worker(client, [hears]):
        run = await client.start(hears, timeout=1.5)
        async with asyncio.timeout(10):
            while await client.door.last(client.subjects.timers(run.id)) is None:
                await asyncio.sleep(0.005)
    await run.signal("word", "in time")
    await asyncio.sleep(1.6)  # What the test is about: nobody is there when the deadline comes.
    await run.signal("word", "too late")

    async with Worker(client, [hears]):
        with pytest.raises(RunTimedOut):
            await run.result(timeout=10)

    assert [one.data for one in await recorded(client, run, r.SignalReceived)] == [Raw(b'"in time"')]


@step(timeout=3600)
async def hangs() -> None:
    happened.append("began")
    try:
        await asyncio.Event().wait()
    finally:
        happened.append(f"told {(datetime.now(UTC) - (step.info().deadline or datetime.now(UTC))).total_seconds():.0f}")


@workflow
async def runs_a_step(ctx: WorkflowContext) -> None:
    await hangs()


async def test_a_step_is_told_to_stop_at_the_deadline_of_its_run(client: Relight) -> None:
    async with Worker(client, [runs_a_step]):
        run = await client.start(runs_a_step, timeout=0.5)
        with pytest.raises(RunTimedOut):
            await run.result(timeout=10)
        await _happens("told 0")

    assert happened == ["began", "told 0"]


async def _happens(what: str) -> Any:
    async with asyncio.timeout(10):
        while what not in happened:
            await asyncio.sleep(0.005)
