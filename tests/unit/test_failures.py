"""Tracebacks as they are recorded: they show the user's lines."""

from __future__ import annotations

import asyncio

import pytest

from relight import NotDurableError, Retry, RunFailed, StepFailed, WorkflowContext, step, workflow
from relight.testing import TestEnvironment


@step(retry=Retry(attempts=1))
async def reads_a_disk() -> None:
    try:
        raise OSError("no disk")
    except OSError as error:
        raise LookupError("no file") from error


@workflow
async def reads(ctx: WorkflowContext) -> None:
    await reads_a_disk()


@workflow
async def calls_reads(ctx: WorkflowContext) -> None:
    await ctx.call(reads)


@workflow
async def counts(ctx: WorkflowContext, number: int) -> None: ...


@workflow
async def starts_a_thread(ctx: WorkflowContext) -> None:
    await asyncio.to_thread(print)


async def traceback_of(name: str, *args: object) -> str:
    async with TestEnvironment([reads, calls_reads, counts, starts_a_thread]) as env:
        run = await env.client.start(name, *args, type=object)
        with pytest.raises(RunFailed) as failed:
            await run.result()
        return failed.value.traceback


async def test_the_traceback_of_a_run_begins_in_the_step_that_failed_and_has_no_line_of_ours() -> None:
    said = await traceback_of("reads")

    places = [line.split(", in ")[1] for line in said.splitlines() if line.startswith("  File")]
    assert places == ["reads_a_disk", "reads_a_disk", "reads"]
    assert said.index("no disk") < said.index("no file") < said.index(StepFailed.__name__)
    assert "relight/sdk" not in said


async def test_a_child_that_failed_shows_where() -> None:
    said = await traceback_of("calls_reads")

    assert said.index("in reads_a_disk") < said.index("in reads\n") < said.index("in calls_reads\n")
    assert "relight/sdk" not in said


async def test_an_error_that_no_line_of_the_user_has_raised_has_no_traceback() -> None:
    assert await traceback_of("counts", "many") == ""


async def test_what_is_refused_in_a_workflow_ends_at_the_line_that_asked_for_it() -> None:
    said = await traceback_of("starts_a_thread")

    assert NotDurableError.__name__ in said
    assert "in starts_a_thread\n" in said
    assert "relight/sdk" not in said
