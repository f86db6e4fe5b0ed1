"""Doubled, delayed, lost and reordered messages, unknown outcomes, kills, stopped processes: a seed is a history."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable

import pytest
from tests.crash.workflows import SCENARIOS, in_sequence, signal_against_timer

from relight.testing import TestEnvironment
from relight.testing.memory import Faults, Outcome
from relight.testing.person import Person
from relight.testing.stage import Stage, stage_here
from relight.testing.trial import Scenario

SEEDS = int(os.environ.get("RELIGHT_TEST_SEEDS", "24"))
"""`RELIGHT_TEST_SEEDS=500` looks further."""


@pytest.mark.parametrize("name", SCENARIOS)
async def test_whatever_goes_wrong_changes_nothing(name: str) -> None:
    env, played = simulation_of(SCENARIOS[name])

    report = await env.simulate(played, seeds=SEEDS)

    assert report.decisions > 10 * SEEDS


@pytest.mark.parametrize(
    ("name", "seed"),
    [
        # A due retry was launched by an owner that had lost its run.
        ("retries", 713),
        ("retries", 2681),
        # A delivery that had been acknowledged on its way was taken for a lease.
        ("cleans_up", 241),
        # A timer's message was acknowledged before the turn that it led to was appended.
        ("in_sequence_delayed", 539),
        # After it had been stopped a worker held a lease that others had acknowledged.
        ("cleans_up", 426),
        # Its own relit from an earlier attempt to take the run over, acknowledged by others since, became the lease.
        ("in_sequence_delayed", 19),
    ],
)
async def test_what_a_seed_has_found_once_stays_mended(name: str, seed: int) -> None:
    env, played = simulation_of(SCENARIOS[name])

    await env.simulate(played, seeds=[seed])


async def test_a_client_sends_again_before_minutes_pass() -> None:
    async with Stage([signal_against_timer, in_sequence]) as stage:
        await stage.open_worker()
        await stage.client.start(signal_against_timer)
        await stage.skip(60)  # Nothing is due any more but the timer, in four minutes.
        lost: list[Outcome] = ["lost", "lost"]
        stage.server.faults = Faults(outcome=lambda operation: lost.pop() if lost else "known")
        before_ms = stage.server.clock.now_ms()

        await (await stage.client.start(in_sequence, 1)).result()

        assert lost == []
        assert stage.server.clock.now_ms() - before_ms < 10_000


def simulation_of(scenario: Scenario) -> tuple[TestEnvironment, Callable[[TestEnvironment], Awaitable[None]]]:
    """Return an environment, and the function that plays the scenario in it."""
    env = TestEnvironment([scenario.workflow, *scenario.others], deps=scenario.deps, secrets=scenario.secrets)
    for step, fake in scenario.fakes.items():
        env.fake(step)(fake)

    async def play(env: TestEnvironment) -> None:
        """What the scenario's client does; once, as its process does not die here."""
        stage = stage_here()
        assert stage is not None
        run = await scenario.start(env.client, "simulated")
        for name, data, id in scenario.signals:
            await run.signal(name, data, id=id)
        person = asyncio.create_task(Person(stage, scenario.answers).attend())
        if scenario.story is not None:
            await scenario.story(stage, run)
        await stage.until(lambda: stage.observer.state(run.id).end is not None)
        person.cancel()

    return env, play
