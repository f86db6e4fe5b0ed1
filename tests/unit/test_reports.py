"""What a worker logs of a run that goes wrong: names and types, never what a message or a value says."""

from __future__ import annotations

from contextlib import suppress
from datetime import timedelta
from typing import Any

from structlog.testing import capture_logs
from tests.runs import until

from relight import Retry, Run, StepFailed, WorkflowContext, step, workflow
from relight.testing import TestEnvironment

CANARY = "canary-7f"


@step(retry=Retry(attempts=2, delay=0.01))
async def fails() -> None:
    raise ValueError(CANARY)


@step(retry=Retry(attempts=1), on_exhausted="park")
async def parks() -> None:
    raise ValueError(CANARY)


@workflow
async def falls(ctx: WorkflowContext) -> None:
    await fails()


@workflow
async def is_held(ctx: WorkflowContext) -> None:
    await parks()


@workflow
async def is_late(ctx: WorkflowContext) -> None:
    await ctx.sleep(timedelta(days=1))


@workflow
async def recovers(ctx: WorkflowContext) -> str:
    with suppress(StepFailed):
        await fails()
    return "all the same"


async def test_a_step_that_fails_and_the_run_that_fails_by_it_are_logged() -> None:
    assert await said_of(falls, "failed") == [
        ("info", "step_attempt_failed"),
        ("warning", "step_failed"),
        ("warning", "run_failed"),
    ]


async def test_a_run_that_goes_on_is_not_logged_as_failed() -> None:
    assert await said_of(recovers, "completed") == [("info", "step_attempt_failed"), ("warning", "step_failed")]


async def test_a_run_that_waits_for_a_person_is_logged() -> None:
    assert await said_of(is_held, "parked") == [("info", "step_attempt_failed"), ("warning", "run_parked")]


async def test_a_run_that_is_out_of_time_is_logged() -> None:
    assert await said_of(is_late, "timed_out", timeout=1) == [("warning", "run_timed_out")]


async def said_of(flow: Any, status: str, **options: Any) -> list[tuple[str, str]]:
    """Level and event of each line about the run, once it stands so."""
    with capture_logs() as lines:
        async with TestEnvironment([flow]) as environment:
            run: Run[Any] = await environment.start(flow, **options)
            await environment.skip(5)
            await until(run, lambda it: it.status == status)
    assert CANARY not in repr(lines)
    of_run = [one for one in lines if one.get("run") == run.id]
    assert all(one["remedy"] == f"relight show {run.id}" for one in of_run if one["log_level"] == "warning")
    return [(one["log_level"], one["event"]) for one in of_run]
