"""A change in the code under way: runs that had passed it go the old way, all others the new one, each for ever."""

from __future__ import annotations

import pytest
from tests.runs import kinds, recorded, suspended

from relight import NonDeterminismError, Relight, RunFailed, Worker, WorkflowContext, step, workflow
from relight.subjects import records as r
from relight.testing import TestEnvironment, replay


@step
async def slow_road(where: str) -> str:
    return f"slowly {where}"


@step
async def fast_road(where: str) -> str:
    return f"fast {where}"


@workflow(name="travels")
async def before(ctx: WorkflowContext) -> list[str]:
    way = [await slow_road("out")]
    way.append(await ctx.suspend("stay", type=str))
    return [*way, await slow_road("home")]


@workflow(name="travels")
async def changed(ctx: WorkflowContext) -> list[str]:
    way = [await fast_road("out")] if ctx.patched("fast-out") else [await slow_road("out")]
    way.append(await ctx.suspend("stay", type=str))
    return [*way, await (fast_road("home") if ctx.patched("fast-home") else slow_road("home"))]


@workflow(name="travels")
async def cleaned_up(ctx: WorkflowContext) -> list[str]:
    """When no run is left that went the old way."""
    way = [await fast_road("out")]
    way.append(await ctx.suspend("stay", type=str))
    return [*way, await fast_road("home")]


async def test_a_run_goes_the_old_way_where_it_had_passed_the_change_and_the_new_one_after_it(client: Relight) -> None:
    run = await client.start(before)
    async with Worker(client, [before]):
        await suspended(run, "stay")

    await run.resume("stay", "a week")
    async with Worker(client, [changed]):
        assert await run.result(timeout=20) == ["slowly out", "a week", "fast home"]

    assert [one.change for one in await recorded(client, run, r.PatchMarked)] == ["fast-home"]


async def test_a_run_that_begins_after_the_change_goes_the_new_way_at_every_worker(client: Relight) -> None:
    run = await client.start(changed)
    async with Worker(client, [changed]):
        await suspended(run, "stay")

    await run.resume("stay", "a day")
    async with Worker(client, [changed]):
        assert await run.result(timeout=20) == ["fast out", "a day", "fast home"]


async def test_the_call_may_be_removed_once_every_run_goes_the_new_way(client: Relight) -> None:
    run = await client.start(changed)
    async with Worker(client, [changed]):
        await suspended(run, "stay")

    await run.resume("stay", "a day")
    async with Worker(client, [cleaned_up]):
        assert await run.result(timeout=20) == ["fast out", "a day", "fast home"]


async def test_a_change_is_marked_once_and_a_loop_keeps_its_way() -> None:
    @workflow
    async def loops(ctx: WorkflowContext) -> list[bool]:
        seen: list[bool] = []
        for _ in range(3):
            seen.append(ctx.patched("change"))
            await slow_road("on")
        return seen

    async with TestEnvironment([loops]) as env:
        run = await env.start(loops)

        assert await run.result() == [True, True, True]
        assert (await kinds(run)).count("PatchMarked") == 1
        await env.replay(run)


async def test_without_a_patch_the_same_change_does_not_replay() -> None:
    async with TestEnvironment([before]) as env:
        run = await env.start(before)
        await env.until(run, suspended="stay")
        history = [one async for one in run.history()]

    with pytest.raises(NonDeterminismError):
        replay(history, workflows=[cleaned_up])
    replay(history, workflows=[changed])


async def test_a_change_id_that_can_not_be_one_is_refused() -> None:
    @workflow
    async def wrong(ctx: WorkflowContext) -> bool:
        return ctx.patched("")

    async with TestEnvironment([wrong]) as env:
        with pytest.raises(RunFailed, match="change id"):
            await (await env.start(wrong)).result()
