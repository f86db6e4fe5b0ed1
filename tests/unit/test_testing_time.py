"""Virtual time in a user's test: what it moves, and what it leaves alone."""

from __future__ import annotations

import pytest

from relight import Retry, RunFailed, StepFailed, WorkflowContext, step, workflow
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
