"""What trials find, and what they do not take for a failure."""

from __future__ import annotations

import asyncio
import random

import pytest
from msgspec.structs import asdict
from tests.crash.workflows import SCENARIOS

from relight import WorkflowContext, step, workflow
from relight.actors.run.state import RunState, fold
from relight.testing import CrashFailure, SimulationFailure, TestEnvironment, crash, crash_everywhere
from relight.testing.trial import Scenario, Trial


@step
async def say(text: str) -> str:
    return text


@step
async def swallow(text: str) -> None:
    """Its argument shows in no result."""


@workflow
async def differs_before_it_continues(ctx: WorkflowContext, number: int) -> int:
    if number == 0:
        await swallow(str(random.random()))
        ctx.continue_as_new(1)
    return number


async def test_a_difference_in_a_history_of_one_turn_is_found() -> None:
    with pytest.raises(CrashFailure, match="recorded step swallow#1 with arguments"):
        await crash_everywhere(differs_before_it_continues, 0)


async def test_a_seed_finds_a_difference_in_a_history_of_one_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("relight.testing.simulation._TRIES_MAX", 0)

    with pytest.raises(SimulationFailure, match="swallow#1"):
        await TestEnvironment([differs_before_it_continues]).simulate(differs_before_it_continues, 0, seeds=200)


@workflow
async def names_itself(ctx: WorkflowContext) -> str:
    await say("hello")
    return f"{ctx.uuid4()} {ctx.random.random()}"


async def test_a_client_that_repeats_its_start_draws_the_same_seed() -> None:
    report = await crash_everywhere(names_itself)

    assert report.crashes > report.operations


@workflow
async def echoes(ctx: WorkflowContext) -> str:
    return await say("hello")


def faked(text: str) -> str:
    return f"faked {text}"


async def test_fakes_may_be_named() -> None:
    assert await Trial(Scenario(workflow=echoes, fakes={"say": faked})).play() == ("completed", '"faked hello"')
    assert (await crash_everywhere(echoes, fakes={"say": faked})).crashes > 0


@step
async def really_takes_its_time() -> None:
    await asyncio.sleep(0.02)


@workflow
async def is_slow(ctx: WorkflowContext) -> None:
    await really_takes_its_time()


async def test_a_trial_may_take_longer_if_the_undisturbed_one_does(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(crash, "_TRIAL_S", 0.0)
    monkeypatch.setattr(crash, "_TRIAL_TIMES", 200)

    assert (await crash_everywhere(is_slow)).crashes > 0


async def test_a_trial_that_takes_too_long_says_so() -> None:
    trial = Trial(Scenario(workflow=is_slow), limit_s=0.0)

    assert await trial.play() is None

    assert "the trial did not end within 0.0 s of real time" in trial.problems


@pytest.mark.parametrize("name", SCENARIOS)
async def test_what_is_observed_step_by_step_is_what_the_history_amounts_to(name: str) -> None:
    trial = Trial(SCENARIOS[name])
    await trial.play()
    observer = trial.stage.observer

    for run in observer.runs():
        whole = fold((turn.at_ms, turn.records) for turn in observer.turns(run))
        assert _fields(observer.state(run)) == _fields(whole)


def _fields(state: RunState) -> dict[str, object]:
    fields = asdict(state)
    del fields["answers"]  # It knows no equality.
    return fields
