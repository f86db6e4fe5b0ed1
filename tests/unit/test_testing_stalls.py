"""What can never happen in a user's test is an error, not a test that hangs."""

from __future__ import annotations

import asyncio

import pytest

from relight import RelightError, RunTimedOut, WorkflowContext, workflow
from relight.testing import CrashFailure, StalledError, TestEnvironment, crash_everywhere


@workflow
async def child(ctx: WorkflowContext) -> int:
    return 1


@workflow
async def parent(ctx: WorkflowContext) -> int:
    return await ctx.call(child)


@workflow
async def sleeps(ctx: WorkflowContext) -> str:
    await ctx.sleep(10)
    return "slept"


async def test_a_child_whose_workflow_the_environment_does_not_have_is_named() -> None:
    async with asyncio.timeout(5), TestEnvironment([parent]) as env:
        run = await env.start(parent)

        with pytest.raises(StalledError, match="must have workflow 'child'"):
            await run.result()


async def test_a_start_by_a_name_that_nobody_has_is_named() -> None:
    async with asyncio.timeout(5), TestEnvironment([parent]) as env:
        run = await env.client.start("chlid", type=int)

        with pytest.raises(StalledError, match="must have workflow 'chlid'"):
            await run.result()


async def test_a_child_that_nobody_has_times_out_with_its_parent() -> None:
    async with asyncio.timeout(5), TestEnvironment([parent]) as env:
        run = await env.start(parent, timeout=60)

        with pytest.raises(RunTimedOut):
            await run.result()
        with pytest.raises(RunTimedOut):
            await env.client.get_run(f"{run.id}-child-1").result()


async def test_what_sleeps_beside_a_run_that_nobody_has_wakes_up() -> None:
    async with asyncio.timeout(5), TestEnvironment([sleeps]) as env:
        await env.client.start("chlid", type=int)
        run = await env.start(sleeps)

        assert await run.result() == "slept"


async def test_a_child_that_the_scenario_lacks_is_named_by_crash_everywhere() -> None:
    with pytest.raises(CrashFailure, match="must have workflow 'child'"):
        await crash_everywhere(parent)


async def test_who_waits_for_a_run_after_the_environment_is_told_that_it_is_closed() -> None:
    async with TestEnvironment([sleeps]) as env:
        run = await env.start(sleeps)

    async with asyncio.timeout(5):
        with pytest.raises(RelightError, match="this Relight is not open"):
            await run.result()


async def test_who_still_waits_for_a_run_is_told_that_the_environment_is_closed() -> None:
    async with TestEnvironment([sleeps]) as env:
        run = await env.start(sleeps)
        waiting = asyncio.create_task(run.result())

    async with asyncio.timeout(5):
        with pytest.raises(RelightError):
            await waiting
