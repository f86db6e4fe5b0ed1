"""Times that the server can't count to."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from relight import InvalidValueError, WorkflowContext, workflow
from relight.cli import words
from relight.config.limits import LIMITS
from relight.sdk._durations import moment
from relight.testing import TestEnvironment

FOR_EVER = datetime.max.replace(tzinfo=UTC)


@workflow
async def sleeps(ctx: WorkflowContext) -> None:
    await ctx.sleep_until(FOR_EVER)


@workflow
async def starts_a_child(ctx: WorkflowContext) -> None:
    await ctx.start(sleeps, id="child", on_parent_close="detach", at=FOR_EVER)


@pytest.mark.parametrize("at", [FOR_EVER, datetime(2262, 1, 1, 0, 0, 1, tzinfo=UTC)])
async def test_a_start_later_than_that_is_refused_with_the_limit(at: datetime) -> None:
    async with TestEnvironment([sleeps]) as env:
        with pytest.raises(InvalidValueError, match=r"at: .* is out of range; pass a time before 2262"):
            await env.client.start(sleeps, at=at)


async def test_a_start_just_before_is_taken() -> None:
    async with TestEnvironment([sleeps]) as env:
        run = await env.client.start(sleeps, at=datetime(2262, 1, 1, tzinfo=UTC))

        assert (await run.describe()).waits_for == ("its start at 2262-01-01 00:00:00 UTC; it begins by itself",)


async def test_a_workflow_may_wait_for_ever_and_be_looked_at() -> None:
    async with TestEnvironment([sleeps]) as env:
        run = await env.start(sleeps)
        await env.skip(timedelta(days=1))

        (waits_for,) = (await run.describe()).waits_for
        assert "due at 9999-12-31 23:59:59 UTC" in waits_for
        assert [one.id async for one in env.client.runs(status="waiting")] == [run.id]


async def test_so_may_its_child() -> None:
    async with TestEnvironment([sleeps, starts_a_child]) as env:
        await (await env.start(starts_a_child)).result()

        assert (await env.client.get_run("child").describe()).waits_for == (
            "its start at 9999-12-31 23:59:59 UTC; it begins by itself",
        )


@pytest.mark.parametrize("milliseconds", [253_402_300_800_000, 10**30])
def test_the_last_time_that_there_is_stands_for_later_ones(milliseconds: int) -> None:
    last = datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)

    assert moment(milliseconds) == words.moment(milliseconds) == last
    assert moment(LIMITS.due_ms_max) == datetime(2262, 1, 1, tzinfo=UTC)
