"""A worker that is killed inside of a step: nothing of the step runs any more, as after `kill -9`."""

from __future__ import annotations

import asyncio

import pytest

from relight import Retry, WorkflowContext, step, workflow
from relight.testing import CrashFailure, crash_everywhere
from relight.testing.stage import stage_here
from relight.testing.trial import Point, Scenario, Trial


class Lock:
    """Something outside that only one may hold."""

    def __init__(self) -> None:
        self.holders: list[str] = []

    def take(self) -> None:
        if self.holders:
            raise RuntimeError("locked for ever by who died")
        self.holders.append("holder")


@step
async def before() -> int:
    return 1


@step(retry=Retry(attempts=2, delay=0.01))
async def exclusive() -> str:
    lock = step.deps(Lock)
    lock.take()
    try:
        await asyncio.sleep(0)
        return "done"
    finally:
        lock.holders.clear()


@workflow
async def in_sequence(ctx: WorkflowContext) -> str:
    await before()
    return await exclusive()


@workflow
async def side_by_side(ctx: WorkflowContext) -> str:
    done, _ = await asyncio.gather(exclusive(), before())
    return done


@pytest.mark.parametrize("wanted", [in_sequence, side_by_side])
async def test_a_lock_that_only_finally_gives_back_stays_taken(wanted: object) -> None:
    with pytest.raises(CrashFailure, match="locked for ever by who died"):
        await crash_everywhere(wanted, deps=Lock())  # type: ignore[arg-type]  # pyright: ignore  # either of the two


@step
async def sleeps_twice() -> int:
    stage = stage_here()
    assert stage is not None
    await stage.sleep(60)
    await stage.sleep(1_000_000)
    return 1


@workflow
async def sleeps_in_a_step(ctx: WorkflowContext) -> int:
    return await sleeps_twice()


async def test_each_wait_of_a_step_is_a_point() -> None:
    undisturbed = Trial(Scenario(workflow=sleeps_in_a_step))
    assert await undisturbed.play() == ("completed", "1")

    assert undisturbed.operations["step"] == 2


@pytest.mark.parametrize("number", [1, 2])
async def test_a_step_that_is_killed_in_its_sleep_is_run_again(number: int) -> None:
    trial = Trial(Scenario(workflow=sleeps_in_a_step), point=Point(side="step", moment="after", number=number))

    assert await trial.play() == ("completed", "1")

    assert trial.problems == []
    assert trial.killed_at is not None
    assert f"wait {number} of all steps" in trial.killed_at
    assert trial.operations["step"] == number + 2


class Heard(list[str]):
    """What a step says of itself."""


@step
async def waits_for_what_it_began() -> int:
    heard = step.deps(Heard)
    try:
        await asyncio.gather(asyncio.sleep(0), _never(heard))
    finally:
        heard.append("finally")
    return 1


async def _never(heard: list[str]) -> None:
    if len(heard) > 0:
        return
    heard.append("begun")
    try:
        await asyncio.Event().wait()
    finally:
        heard.append("cancelled")


@workflow
async def gathers_in_a_step(ctx: WorkflowContext) -> int:
    return await waits_for_what_it_began()


async def test_what_a_killed_step_awaits_is_not_cancelled() -> None:
    heard = Heard()
    point = Point(side="step", moment="after", number=1)
    trial = Trial(Scenario(workflow=gathers_in_a_step, deps=heard), point=point)

    assert await trial.play() == ("completed", "1")

    assert heard == ["begun", "finally"], "one of them is of the second attempt"
