"""Virtual time in a user's test: what it moves, and what it leaves alone."""

from __future__ import annotations

import asyncio

import pytest

from relight import Retry, RunCancelled, RunFailed, StepFailed, WorkflowContext, step, workflow
from relight.testing import TestEnvironment


@step(timeout=2, retry=Retry(attempts=1))
async def is_limited() -> str:
    raise AssertionError("it is faked")


@step(total_timeout=6.5, retry=Retry(attempts=9, delay=1, factor=1, jitter=0))
async def is_limited_in_all() -> str:
    raise AssertionError("it is faked")


@workflow
async def waits_for_a_limited_step(ctx: WorkflowContext) -> str:
    return await is_limited()


@workflow
async def tries_a_limited_step(ctx: WorkflowContext) -> str:
    try:
        return await is_limited_in_all()
    except StepFailed as error:
        return str(error)


async def test_a_fake_that_takes_too_long_times_out() -> None:
    async with TestEnvironment([waits_for_a_limited_step]) as env:

        @env.fake(is_limited)
        async def slow() -> str:
            await env.sleep(5)
            return "late"

        run = await env.start(waits_for_a_limited_step)

        with pytest.raises(RunFailed, match="attempt 1 took longer than 2 s"):
            await run.result()


async def test_a_fake_that_ends_in_time_does_not_time_out() -> None:
    async with TestEnvironment([waits_for_a_limited_step]) as env:

        @env.fake(is_limited)
        async def quick() -> str:
            await env.sleep(1.9)
            return "in time"

        run = await env.start(waits_for_a_limited_step)

        assert await run.result() == "in time"


async def test_all_attempts_together_may_take_so_much_virtual_time() -> None:
    async with TestEnvironment([tries_a_limited_step]) as env:

        @env.fake(is_limited_in_all)
        async def slow() -> str:
            await env.sleep(2.5)
            raise OSError(f"attempt {step.info().attempt}")

        run = await env.start(tries_a_limited_step)

        assert await run.result() == "attempt 2"


async def really_waits(begun: asyncio.Event) -> str:
    begun.set()
    await asyncio.Event().wait()
    return "never"


@workflow
async def listens_beside_its_first_step(ctx: WorkflowContext) -> str:
    waiting = asyncio.create_task(first_step())
    told = await ctx.wait_for_signal("stop", type=str)
    waiting.cancel()
    return told


@workflow
async def awaits_its_first_step(ctx: WorkflowContext) -> str:
    return await first_step()


@step
async def first_step() -> str:
    raise AssertionError("it is faked")


async def test_a_signal_reaches_a_run_whose_first_step_really_waits() -> None:
    begun = asyncio.Event()
    async with asyncio.timeout(5), TestEnvironment([listens_beside_its_first_step]) as env:
        env.fake(first_step)(lambda: really_waits(begun))
        run = await env.start(listens_beside_its_first_step)
        await begun.wait()

        await run.signal("stop", "enough")

        assert await run.result() == "enough"


async def test_a_run_whose_first_step_really_waits_can_be_cancelled() -> None:
    begun = asyncio.Event()
    async with asyncio.timeout(5), TestEnvironment([awaits_its_first_step]) as env:
        env.fake(first_step)(lambda: really_waits(begun))
        run = await env.start(awaits_its_first_step)
        await begun.wait()

        await run.cancel()

        with pytest.raises(RunCancelled):
            await run.result()


@workflow
async def sleeps_beside_its_first_step(ctx: WorkflowContext) -> str:
    async with asyncio.timeout(0.015):
        return await first_step()


async def test_a_step_that_really_waits_is_not_skipped_over_when_its_first_turn_is_let_go() -> None:
    """The turn is held back for 10 ms; the workflow gives up after 15 ms, which do not pass."""
    async with asyncio.timeout(5), TestEnvironment([sleeps_beside_its_first_step]) as env:

        @env.fake(first_step)
        async def _() -> str:
            await asyncio.sleep(0.1)
            return "in time"

        run = await env.start(sleeps_beside_its_first_step)

        assert await run.result() == "in time"
