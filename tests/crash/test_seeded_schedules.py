"""Doubled, delayed, lost and reordered messages, unknown outcomes, kills, stopped processes: a seed is a history."""

from __future__ import annotations

import os
from functools import partial
from random import Random

import pytest
from tests.crash.workflows import SCENARIOS

from relight.testing.memory import MemoryDoor, seeded_faults
from relight.testing.trial import Trial

SEEDS = range(int(os.environ.get("RELIGHT_TEST_SEEDS", "12")))
"""`RELIGHT_TEST_SEEDS=500` looks further."""


@pytest.mark.parametrize("name", SCENARIOS)
async def test_a_reordered_schedule_changes_nothing(name: str) -> None:
    scenario = SCENARIOS[name]
    expected = await Trial(scenario).play()

    for seed in SEEDS:
        trial = Trial(scenario, workers=3, random=Random(seed))
        outcome = await trial.play()

        _check(trial, outcome, expected, seed)


@pytest.mark.parametrize("name", SCENARIOS)
async def test_lost_late_and_doubled_messages_change_nothing(name: str) -> None:
    scenario = SCENARIOS[name]
    expected = await Trial(scenario).play()

    for seed in SEEDS:
        faults = seeded_faults(Random(seed), share=0.2)
        trial = Trial(scenario, workers=2, random=Random(seed), faults=faults)
        outcome = await trial.play()

        _check(trial, outcome, expected, seed)


@pytest.mark.parametrize("name", SCENARIOS)
async def test_zombies_and_deaths_change_nothing(name: str) -> None:
    scenario = SCENARIOS[name]
    expected = await Trial(scenario).play()

    for seed in SEEDS:
        disturbance = Disturbance(Random(seed))
        trial = Trial(scenario, workers=3, random=Random(seed), disturb=disturbance)
        outcome = await trial.play()

        _check(trial, outcome, expected, seed)


@pytest.mark.parametrize("seed", [287, 314])
async def test_a_due_retry_is_not_launched_by_an_owner_that_has_lost_its_run(seed: int) -> None:
    scenario = SCENARIOS["retries"]
    expected = await Trial(scenario).play()

    trial = Trial(scenario, workers=3, random=Random(seed), disturb=Disturbance(Random(seed)))
    outcome = await trial.play()

    _check(trial, outcome, expected, seed)


async def test_a_client_sends_again_before_minutes_pass() -> None:
    scenario, seed = SCENARIOS["signal_against_timer_told_by_another"], 82
    expected = await Trial(scenario).play()

    trial = Trial(scenario, workers=2, random=Random(seed), faults=seeded_faults(Random(seed), share=0.2))
    outcome = await trial.play()

    _check(trial, outcome, expected, seed)


class Disturbance:
    """Stops and kills workers at their operations, and lets those that were stopped go on as zombies."""

    def __init__(self, random: Random) -> None:
        self._random = random
        self._kills = 0

    def __call__(self, trial: Trial, door: MemoryDoor) -> None:
        chance = self._random.random()
        if chance < 0.06 and not door.process.is_stopped:
            trial.interruptions += 1
            door.stop()
            trial.stage.server.clock.call_later(self._random.uniform(0, 40), partial(_resume, door))
        elif chance < 0.10 and self._kills < 2:
            self._kills += 1
            trial.kill(next(one for one in trial.stage.workers if one.door is door))


def _resume(door: MemoryDoor) -> None:
    if door.process.is_alive and door.process.is_stopped:
        door.resume()


def _check(trial: Trial, outcome: object, expected: object, seed: int) -> None:
    assert not trial.problems, f"seed {seed}: {trial.problems}\n{trial.story_so_far()}"
    assert outcome == expected, f"seed {seed}\n{trial.story_so_far()}"
