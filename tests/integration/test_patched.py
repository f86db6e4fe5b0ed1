"""A change in the code under way: runs that had passed it go the old way, all others the new one, each for ever."""

from __future__ import annotations

import pytest
from tests.crash.workers_in_memory import workers_in_memory
from tests.runs import kinds, recorded, suspended

from relight import NonDeterminismError, Relight, RunFailed, Worker, WorkflowContext, step, workflow
from relight.subjects import records as r
from relight.testing import TestEnvironment, replay
from relight.testing.memory import MemoryDoor, Operation


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


async def test_a_fork_goes_the_new_way_of_a_change_that_is_met_first_where_its_copy_ends() -> None:
    @workflow(name="returns")
    async def goes_home(ctx: WorkflowContext) -> list[str]:
        return [await slow_road("out"), await slow_road("home")]

    @workflow(name="returns")
    async def goes_home_fast(ctx: WorkflowContext) -> list[str]:
        out = await slow_road("out")
        return [out, await (fast_road("home") if ctx.patched("fast-home") else slow_road("home"))]

    async with workers_in_memory() as site:
        worker = await site.add(goes_home)
        run = await site.result(site.client.start(goes_home))
        assert await site.result(run.result()) == ["slowly out", "slowly home"]
        worker.kill()
        await site.add(goes_home_fast)

        fork = await site.result(run.fork(after="slow_road#1"))

        assert await site.result(fork.result()) == ["slowly out", "fast home"]
        replay([one async for one in fork.history()], workflows=[goes_home_fast])
        with pytest.raises(NonDeterminismError):
            replay([one async for one in fork.history()], workflows=[goes_home])


async def test_a_run_that_continues_as_new_goes_the_new_way_although_its_worker_dies_before_the_next_turn() -> None:
    @workflow
    async def rounds(ctx: WorkflowContext, left: int) -> str:
        if left:
            await slow_road("round")
            ctx.continue_as_new(left - 1)
        return await (fast_road("home") if ctx.patched("fast-home") else slow_road("home"))

    async with workers_in_memory() as site:
        worker = await site.add(rounds)

        def on_operation(door: MemoryDoor, operation: Operation, moment: str) -> None:
            if door is worker.door and operation.name == "purge" and moment == "before":
                site.server.on_operation = None
                worker.kill()

        site.server.on_operation = on_operation
        run = await site.result(site.client.start(rounds, 1))
        await site.until(lambda: not worker.door.process.is_alive)
        assert site.records(run.id, r.Continued)
        await site.add(rounds)

        assert await site.result(run.result()) == "fast home"


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
