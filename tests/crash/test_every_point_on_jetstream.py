"""The crash sweep on a real server: a worker in this process is severed before or after an operation of a run.

The quick workflows are swept whole. Those that wait for seconds of real time are sampled, all points at the same time,
each in a namespace of its own; `RELIGHT_TEST_FULL` sweeps them whole too.
"""

from __future__ import annotations

import asyncio
import os
from typing import Any

import pytest
from tests.crash.apps_fleet import no_lease_left
from tests.crash.attempts import needless_executions
from tests.crash.fleet_on_jetstream import Fleet
from tests.crash.workflows import SCENARIOS

from relight import Relight, Run, RunFailed
from relight.actors.journal import read_history, read_tail
from relight.config.server import EmbeddedServer
from relight.errors import AlreadyAnsweredError, RefusedError
from relight.testing.trial import Moment, Scenario, Trial

QUICK = (
    "in_sequence",
    "gathers",
    "group_with_a_failure",
    "takes_signals",
    "sends_unsafely",
    "in_line",
    "calls_children",
    "continues",
    "undoes",
)
SLOW = ("step_against_timer", "suspends_and_sleeps", "waits_with_a_step", "retries")
IS_FULL = bool(os.environ.get("RELIGHT_TEST_FULL"))
_OPERATIONS_MAX = 60
_MOMENTS: tuple[Moment, ...] = ("before", "after")
_ONE_RUN_S = 40.0


@pytest.mark.parametrize("name", QUICK)
async def test_quick_workflows_survive_every_point(name: str, server: EmbeddedServer, namespace: str) -> None:
    scenario = SCENARIOS[name]
    expected = await Trial(scenario).play()

    async with Fleet(server, namespace) as fleet:
        for number in range(1, _OPERATIONS_MAX):
            for moment in _MOMENTS:
                await survive(fleet, scenario, number, moment, expected)
            if fleet.killed_at is None:
                break
        await check_at_the_end(fleet)


@pytest.mark.parametrize("name", SLOW)
async def test_slow_workflows_survive_a_sample_of_points(name: str, server: EmbeddedServer, namespace: str) -> None:
    scenario = SCENARIOS[name]
    reference = Trial(scenario)
    expected = await reference.play()

    async def one(number: int, moment: Moment) -> None:
        async with Fleet(server, f"{namespace}-{number}-{moment}") as fleet:
            await survive(fleet, scenario, number, moment, expected)
            await check_at_the_end(fleet)

    async with asyncio.TaskGroup() as group:
        for number in range(2, reference.operations["worker"] + 1, 1 if IS_FULL else 4):
            for moment in _MOMENTS:
                group.create_task(one(number, moment))


async def quick_outcomes() -> dict[str, tuple[str, ...] | None]:
    """How the quick workflows end when nothing goes wrong."""
    return {name: await Trial(SCENARIOS[name]).play() for name in QUICK}


async def survive(
    fleet: Fleet, scenario: Scenario, number: int, moment: Moment, expected: tuple[str, ...] | None
) -> None:
    """Let the worker die that performs this operation of a new run, and see the run through."""
    run = f"{scenario.workflow.name}-{number}-{moment}"
    fleet.kill_at(run, number, moment)

    outcome = await ended(fleet.relight, scenario, run)

    await check(fleet, run)
    assert outcome == expected, fleet.killed_at


async def ended(relight: Relight, scenario: Scenario, id: str) -> tuple[str, ...]:
    """Start the run, answer what it asks, and return how it ended, as a trial in memory says it."""
    run = await scenario.start(relight, id)
    for name, data, signal_id in scenario.signals:
        await run.signal(name, data, id=signal_id)
    answering = asyncio.create_task(answer(scenario, run))
    try:
        result = await run.result(timeout=_ONE_RUN_S)
    except RunFailed as failed:
        return ("failed", failed.error_type, str(failed).partition(" (not undone")[0], *failed.not_undone)
    finally:
        answering.cancel()
    return ("completed", scenario.workflow.signature.result.record(result, what="the result")[0].decode())


async def answer(scenario: Scenario, run: Run[Any]) -> None:
    """Answer suspensions, and say 'again' of a step whose outcome is unknown."""
    while True:
        described = await run.describe()
        try:
            for name in described.suspended:
                await run.resume(name, scenario.answers[name])
            if described.parked == "unknown_outcome":
                await run.resolve("send", rerun=True)
        except (AlreadyAnsweredError, RefusedError):
            pass  # It has moved on meanwhile.
        await asyncio.sleep(0.02)


async def check(fleet: Fleet, run: str) -> None:
    """The chain holds."""
    door, subjects = fleet.relight.door, fleet.relight.subjects
    tail = await read_tail(door, subjects.log(run))
    assert tail is not None
    await read_history(door, subjects.log(run), tail[0])
    await fleet.replace_the_dead()


async def check_at_the_end(fleet: Fleet) -> None:
    """No lease is left, and no attempt was executed again but for want of its outcome."""
    await no_lease_left([fleet.server.url], fleet.namespace)
    problems = await needless_executions(fleet.relight, fleet.executors, fleet.victims)
    assert not problems, problems
