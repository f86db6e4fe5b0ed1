"""Each example workflow survives a crash before and after every operation of its workers and of its client."""

from __future__ import annotations

import pytest
import uvloop
from tests.crash.workflows import SCENARIOS, add, in_sequence, suspends_and_sleeps

from relight import RunFailed, WorkflowContext, step, workflow
from relight.testing import CrashFailure, TestEnvironment, crash_everywhere
from relight.testing.crash import sweep

FOR_THREE = ("cleans_up", "in_line", "maps", "retries", "signal_against_timer_heard", "suspends_and_sleeps", "undoes")
"""Examples of each kind: a third worker differs in whom wakes and leases reach, which is the same for all of them."""


@pytest.mark.parametrize(("name", "workers"), [*((name, 2) for name in SCENARIOS), *((name, 3) for name in FOR_THREE)])
def test_it_ends_alike_wherever_a_process_dies(name: str, workers: int) -> None:
    # Thousands of passes of the loop: here uvloop's take a fifth less.
    report = uvloop.run(sweep(SCENARIOS[name], workers=workers))

    assert report.crashes >= 4 * report.operations


async def test_the_face_takes_arguments_answers_and_fakes() -> None:
    async def doubled(one: int, other: int) -> int:
        return 2 * (one + other)

    report = await crash_everywhere(suspends_and_sleeps, 1, answers={"review": 5}, fakes={add: doubled})

    assert report.operations > 5


_executions = 0


@step
async def differs() -> int:
    """No promise can hold for a step whose result depends on how often it ran."""
    global _executions
    _executions += 1
    return _executions


@workflow
async def depends_on_chance(ctx: WorkflowContext) -> int:
    return await differs()


async def test_a_failure_names_the_operation_and_shows_the_history() -> None:
    with pytest.raises(CrashFailure) as failure:
        await crash_everywhere(depends_on_chance)

    said = str(failure.value)
    assert "it ended with" in said
    assert "worker killed before its operation 1" in said
    assert "StepScheduled(step='differs#1'" in said


async def test_a_workflow_that_fails_must_fail_alike() -> None:
    @workflow
    async def fails(ctx: WorkflowContext) -> int:
        raise LookupError(str(await in_sequence(ctx, 1)))

    report = await crash_everywhere(fails)

    assert report.crashes > 0
    async with TestEnvironment([fails]) as env:
        run = await env.start(fails)
        with pytest.raises(RunFailed, match="0"):
            await run.result()
        await env.replay(run)
