"""Children: started once, awaited without holding anything, ended with their parents or left alone; maps over many."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
from tests.runs import kinds, recorded, suspended, turns, until

from relight import (
    Child,
    InvalidValueError,
    MapFailed,
    RefusedError,
    Relight,
    Run,
    RunCancelled,
    RunFailed,
    RunTerminated,
    RunTimedOut,
    StepFailed,
    Worker,
    Workflow,
    WorkflowContext,
    step,
    workflow,
)
from relight.config.limits import KIB, LIMITS
from relight.subjects import records as r
from relight.subjects.codec import encode
from relight.testing import TestEnvironment, replay


@step
async def twice(number: int) -> int:
    return 2 * number


@workflow
async def doubled(ctx: WorkflowContext, number: int) -> int:
    if number < 0:
        raise ValueError("negative")
    return await twice(number)


@workflow
async def waits(ctx: WorkflowContext) -> str:
    try:
        return await ctx.suspend("go", type=str)
    except asyncio.CancelledError:
        await twice(1)
        raise


@workflow
async def calls(ctx: WorkflowContext, number: int) -> int:
    return await ctx.call(doubled, number)


@workflow
async def calls_by_name(ctx: WorkflowContext) -> int:
    return await ctx.call("doubled", 4, type=int, queue="elsewhere")


@workflow
async def holds(ctx: WorkflowContext) -> str:
    return await ctx.call(waits)


@workflow
async def holds_a_holder(ctx: WorkflowContext) -> str:
    try:
        return await ctx.call(holds)
    finally:
        await twice(2)


@workflow
async def leaves(ctx: WorkflowContext, close: Any) -> str:
    child: Child[str] = await ctx.start(waits, on_parent_close=close)
    return child.id


async def test_a_child_runs_once_and_its_result_reaches_the_parent() -> None:
    async with TestEnvironment([calls, doubled]) as env:
        run = await env.start(calls, 21, id="p")

        assert await run.result() == 42
        assert [one.id async for one in env.client.runs(workflow="doubled")] == ["p-child-1"]
        await env.replay(run)


async def test_a_child_known_by_its_name_runs_in_another_queue_at_another_worker(client: Relight) -> None:
    run = await client.start(calls_by_name)

    async with Worker(client, [calls_by_name]), Worker(client, [doubled], queues=["elsewhere"]):
        assert await run.result(timeout=20) == 8


async def test_a_childs_failure_is_raised_with_its_cause() -> None:
    @workflow
    async def catches(ctx: WorkflowContext) -> tuple[str, str]:
        try:
            await ctx.call(doubled, -1)
        except RunFailed as error:
            return error.error_type, str(error)
        return "", ""

    async with TestEnvironment([catches, doubled]) as env:
        run = await env.start(catches)

        assert await run.result() == ("builtins.ValueError", "negative")


async def test_a_child_that_ends_before_its_parent_waits_is_not_lost() -> None:
    @workflow
    async def late(ctx: WorkflowContext) -> int:
        child = await ctx.start(doubled, 5)
        await ctx.sleep(3_600)
        return await child.result() + await child.result()

    async with TestEnvironment([late, doubled]) as env:
        run = await env.start(late)

        assert await run.result() == 20
        await env.replay(run)


async def test_a_parent_that_waits_for_its_child_holds_nothing_and_says_what_it_waits_for(client: Relight) -> None:
    run = await client.start(holds, id="p")
    async with Worker(client, [holds, waits]) as worker:
        described = await until(run, lambda described: described.status == "waiting")
        assert described.waits_for[0].startswith("the end of child 'p-child-1' (")
        await until(run, lambda _: not worker.host.holds("p"))

        await suspended(client.get_run("p-child-1"), "go")
        assert (await run.describe()).waits_for[0].startswith("the end of child 'p-child-1' (waiting) since ")
        await client.get_run("p-child-1").resume("go", "went")
        assert await run.result(timeout=20) == "went"


async def test_cancelling_reaches_the_whole_tree_from_the_leaves_up() -> None:
    async with TestEnvironment([holds_a_holder, holds, waits]) as env:
        run = await env.start(holds_a_holder, id="top")
        await env.until(env.client.get_run("top-child-1-child-1"), suspended="go")

        await run.cancel(reason="enough")

        with pytest.raises(RunCancelled, match="enough"):
            await run.result()
        ends = [await _ended_at(env.client, f"top{tail}") for tail in ("-child-1-child-1", "-child-1", "")]
        assert ends == sorted(ends)
        assert await recorded(env.client, env.client.get_run("top-child-1-child-1"), r.StepCompleted)
        assert await recorded(env.client, run, r.StepCompleted)


async def test_terminating_ends_the_children_too() -> None:
    async with TestEnvironment([holds, waits]) as env:
        run = await env.start(holds, id="p")
        child = env.client.get_run("p-child-1")
        await env.until(child, suspended="go")

        await run.terminate(reason="now")

        with pytest.raises(RunTerminated):
            await child.result()
        assert not await recorded(env.client, child, r.StepCompleted)


async def test_a_time_out_around_a_call_cancels_the_child() -> None:
    @workflow
    async def impatient(ctx: WorkflowContext) -> str:
        try:
            async with asyncio.timeout(5):
                return await ctx.call(waits)
        except TimeoutError:
            return "gave up"

    async with TestEnvironment([impatient, waits]) as env:
        run = await env.start(impatient, id="p")

        assert await run.result() == "gave up"
        with pytest.raises(RunCancelled, match="its call was cancelled"):
            await env.client.get_run("p-child-1").result()
        await env.replay(run)


@pytest.mark.parametrize(("close", "outcome"), [("cancel", "cancelled"), ("detach", "waiting"), ("wait", "waiting")])
async def test_what_becomes_of_a_child_when_its_parent_ends(close: str, outcome: str) -> None:
    async with TestEnvironment([leaves, waits]) as env:
        run = await env.start(leaves, close, id="p")
        child = env.client.get_run("p-child-1")
        if close == "cancel":
            await run.result()
            with pytest.raises(RunCancelled, match="its parent has ended"):
                await child.result()
        else:
            await env.until(child, suspended="go")
        assert (await child.describe()).status == outcome

        if close == "wait":
            assert (await run.describe()).status == "waiting"
            await child.resume("go", "went")
        assert await run.result() == "p-child-1"


async def test_a_child_gets_what_is_left_of_its_parents_time() -> None:
    async with TestEnvironment([holds, waits]) as env:
        run = await env.start(holds, id="p", timeout=60)

        with pytest.raises(RunTimedOut):
            await run.result()
        with pytest.raises((RunTimedOut, RunCancelled)):
            await env.client.get_run("p-child-1").result()
        started = (await recorded(env.client, env.client.get_run("p-child-1"), r.RunStarted))[0]
        own = (await recorded(env.client, run, r.RunStarted))[0]
        assert (own.timeout_ms, started.timeout_ms) == (60_000, None)
        assert started.deadline_ms is not None


async def test_the_id_of_another_run_fails_the_start_and_leaves_that_run_alone() -> None:
    @workflow
    async def takes(ctx: WorkflowContext) -> str:
        try:
            await ctx.start(waits, id="taken")
        except StepFailed as error:
            return error.error_type
        return "started"

    async with TestEnvironment([takes, waits]) as env:
        other = await env.start(waits, id="taken")
        await env.until(other, suspended="go")

        assert await (await env.start(takes)).result() == "relight.errors.ConflictError"
        assert (await other.describe()).status == "waiting"


async def test_options_that_make_no_sense_for_a_child_are_refused() -> None:
    @workflow
    async def wrong(ctx: WorkflowContext, options: dict[str, Any]) -> None:
        await ctx.start(waits, **options)

    async with TestEnvironment([wrong, waits]) as env:
        for options in ({"on_parent_close": "forget"}, {"on_conflict": "attach"}):
            with pytest.raises(RunFailed) as failed:
                await (await env.start(wrong, options)).result()
            assert failed.value.matches(RefusedError)


async def test_a_long_id_of_a_parent_gives_a_child_a_shorter_one() -> None:
    async with TestEnvironment([calls, doubled]) as env:
        run = await env.start(calls, 1, id="p" * LIMITS.id_characters_max)

        assert await run.result() == 2


async def test_a_map_keeps_the_order_and_bounds_what_is_open() -> None:
    @workflow
    async def maps(ctx: WorkflowContext, count: int) -> list[int]:
        return await ctx.map(twice, range(count), concurrency=7)

    async with TestEnvironment([maps]) as env:
        run = await env.start(maps, 100)

        assert await run.result() == [2 * number for number in range(100)]
        assert await _most_open(run) == 7


@pytest.mark.parametrize("concurrency", [100, 10_000])
async def test_a_map_over_10000_items_is_bounded_in_what_a_turn_holds(concurrency: int) -> None:
    @workflow
    async def maps(ctx: WorkflowContext, concurrency: int) -> int:
        doubles = await ctx.map(twice, range(10_000), concurrency=concurrency)
        assert doubles == [2 * number for number in range(10_000)]
        return len(doubles)

    async with TestEnvironment([maps]) as env:
        run = await env.start(maps, concurrency)

        assert await run.result() == 10_000
        assert max(len(encode(one)) for one in await turns(env.client, run)) < 800 * KIB
        assert await _most_open(run) == concurrency


async def test_a_map_whose_items_can_not_be_made_raises_why_and_cancels_what_is_open() -> None:
    def broken() -> Iterator[int]:
        yield 1
        yield 2
        raise LookupError("the third")

    @workflow
    async def maps(ctx: WorkflowContext) -> str:
        try:
            return str(await ctx.map(twice, broken(), concurrency=2))
        except LookupError as error:
            return f"raised {error}"

    async with TestEnvironment([maps]) as env:
        run = await env.start(maps)

        assert await run.result() == "raised the third"
        await env.replay(run)


async def test_a_map_over_children() -> None:
    @workflow
    async def maps(ctx: WorkflowContext) -> list[int]:
        return await ctx.map(doubled, [3, 1, 2], concurrency=2)

    async with TestEnvironment([maps, doubled]) as env:
        run = await env.start(maps)

        assert await run.result() == [6, 2, 4]
        await env.replay(run)


async def test_a_map_that_fails_too_often_says_what_it_has() -> None:
    @workflow
    async def maps(ctx: WorkflowContext, max_failures: int) -> str:
        try:
            return str(await ctx.map(doubled, [1, -1, 2, -2], max_failures=max_failures))
        except MapFailed as error:
            return f"{len(error.failures)} failed: {sorted(error.failures)}"

    async with TestEnvironment([maps, doubled]) as env:
        assert await (await env.start(maps, 2)).result() == "[2, 4]"
        assert (await (await env.start(maps, 1)).result()).startswith("2 failed: [1, 3]")


async def test_a_map_that_has_enough_cancels_the_rest() -> None:
    @workflow
    async def maps(ctx: WorkflowContext) -> list[int]:
        return await ctx.map(doubled, [1, 2, 3], concurrency=1, min_success=2)

    async with TestEnvironment([maps, doubled]) as env:
        run = await env.start(maps)

        assert await run.result() == [2, 4]
        assert len([one async for one in env.client.runs(workflow="doubled")]) == 2


async def test_a_map_refuses_bounds_out_of_range() -> None:
    @workflow
    async def maps(ctx: WorkflowContext) -> list[int]:
        return await ctx.map(twice, [1], concurrency=0)

    async with TestEnvironment([maps]) as env:
        with pytest.raises(RunFailed) as failed:
            await (await env.start(maps)).result()
        assert failed.value.matches(InvalidValueError)


async def _ended_at(client: Relight, run: str) -> Any:
    return [record.at async for record in client.get_run(run).history()][-1]


async def _most_open(run: Run[Any]) -> int:
    most = now = 0
    for kind in await kinds(run):
        now += {"StepScheduled": 1, "StepCompleted": -1}.get(kind, 0)
        most = max(most, now)
    return most


def _family(**options: Any) -> list[Workflow[..., Any]]:
    @workflow(name="leaf", **options)
    async def small(ctx: WorkflowContext) -> int:
        return 1

    @workflow(name="parent")
    async def above(ctx: WorkflowContext) -> int:
        number = await ctx.call(small)
        await ctx.suspend("go")
        return number

    return [above, small]


async def test_the_time_out_and_the_queue_of_a_child_may_change_under_its_parent() -> None:
    workflows = _family(timeout=60)
    async with TestEnvironment(workflows) as environment:
        run = await environment.start(workflows[0])
        await environment.until(run, suspended="go")
        history = [one async for one in run.history()]

    for options in ({"timeout": 120}, {}, {"timeout": 60, "queue": "leaves"}):
        replay(history, workflows=_family(**options))
