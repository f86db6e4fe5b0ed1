"""`TestEnvironment.simulate`: what a failing seed says, that it repeats, and what counts as a failure."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Container, Sequence
from typing import Any

import pytest

from relight import RunFailed, WorkflowContext, step, workflow
from relight.testing import SimulationFailure, StalledError, TestEnvironment
from relight.testing.memory import Operation
from relight.testing.schedule import Schedule, Weather, weather_of
from relight.testing.shortest import shortest


@step
async def add(one: int, other: int) -> int:
    return one + other


@step
def add_in_thread(one: int, other: int) -> int:
    return one + other


@workflow
async def sums(ctx: WorkflowContext, count: int) -> int:
    total = 0
    for number in range(count):
        total = await add_in_thread(total, await add(number, 1))
    return total


@workflow
async def reviewed(ctx: WorkflowContext) -> str:
    answer = await ctx.suspend("review", type=str, timeout=86_400)
    await ctx.sleep(3600)
    return answer


@workflow
async def by_chance(ctx: WorkflowContext) -> str:
    return str(ctx.uuid4())


async def test_a_workflow_with_arguments_is_a_scenario() -> None:
    report = await TestEnvironment([sums]).simulate(sums, 2, seeds=20)

    assert report.seeds == 20
    assert report.decisions > 100
    assert report.interruptions > 0


async def test_what_a_test_does_with_its_environment_is_a_scenario() -> None:
    async def scenario(env: TestEnvironment) -> str:
        env.fake(add)(lambda one, other: 40 + other)
        run, other = await env.start(reviewed), await env.start(sums, 1)
        await env.until(run, suspended="review")
        await run.resume("review", f"fine {await other.result()}")
        return await run.result()

    async with TestEnvironment([reviewed, sums]) as env:
        await env.simulate(scenario, seeds=range(20))

        assert await scenario(env) == "fine 41"


async def test_what_is_chance_elsewhere_is_the_same_in_each_play() -> None:
    drawn: set[float] = set()

    async def scenario(env: TestEnvironment) -> str:
        drawn.add(random.random())
        run = await env.start(by_chance)
        return f"{run.id} {await run.result()}"

    before = random.getstate()
    await TestEnvironment([by_chance]).simulate(scenario, seeds=[3, 3])

    assert len(drawn) == 2  # that of the undisturbed play, and that of seed 3
    assert random.getstate() == before


@step
async def counted() -> int:
    raise OSError("it is faked")


@workflow
async def counts(ctx: WorkflowContext) -> int:
    await add(1, 2)
    return await counted()


def counts_executions() -> tuple[TestEnvironment, list[int]]:
    """An environment with a step that gives something else when it is executed twice."""
    executions = [0]
    env = TestEnvironment([counts])

    @env.fake(counted)
    def _() -> int:
        executions[0] += 1
        return executions[0]

    return env, executions


async def fail(seeds: Sequence[int] | range) -> SimulationFailure:
    env, executions = counts_executions()

    async def scenario(env: TestEnvironment) -> int:
        executions[0] = 0
        return await (await env.start(counts)).result()

    with pytest.raises(SimulationFailure) as failure:
        await env.simulate(scenario, seeds=seeds)
    return failure.value


async def test_a_failure_names_the_seed_that_repeats_it_and_the_shortest_schedule() -> None:
    found = await fail(range(100, 1000))
    again = await fail([found.seed or 0])

    said = str(found)
    assert f"seed {found.seed} fails; it repeats with simulate(..., seeds=[{found.seed}])" in said
    assert "the scenario returned 2, undisturbed 1" in said
    assert len(found.schedule) == 1  # one death, or one process that stands still, at the wrong moment
    assert f"1. {found.schedule[0]}" in said
    assert "worker-" in found.schedule[0]
    assert "StepCompleted(step='counted#1', result=2" in said
    assert str(again) == said


async def test_what_a_scenario_asserts_is_shown_with_the_schedule() -> None:
    env, executions = counts_executions()

    async def scenario(env: TestEnvironment) -> None:
        executions[0] = 0
        await (await env.start(counts)).result()
        if executions != [1]:
            pytest.fail("it was executed twice")  # No `Exception`: pytest's own.

    with pytest.raises(SimulationFailure, match=r"(?s)the scenario raised:.*it was executed twice.*1\. worker-") as it:
        await env.simulate(scenario)

    assert isinstance(it.value.__cause__, pytest.fail.Exception)


async def test_an_error_of_the_undisturbed_play_is_raised_as_it_is() -> None:
    @workflow
    async def broken(ctx: WorkflowContext) -> None:
        raise LookupError("always")

    with pytest.raises(RunFailed, match="always"):
        await TestEnvironment([broken]).simulate(broken)


async def test_a_scenario_that_waits_for_ever_is_told_so() -> None:
    with pytest.raises(StalledError, match="waits for signal 'never'"):
        await TestEnvironment([waits]).simulate(waits)


@workflow
async def waits(ctx: WorkflowContext) -> str:
    return await ctx.wait_for_signal("never", type=str)


async def test_runs_that_a_scenario_leaves_are_compared_if_they_end() -> None:
    env, executions = counts_executions()

    async def scenario(env: TestEnvironment) -> None:
        executions[0] = 0
        await env.start(counts, id="left")

    with pytest.raises(SimulationFailure, match=r"run 'left' ended with \('completed', '2'\), undisturbed with"):
        await env.simulate(scenario)


@step(effect="unsafe")
async def send(text: str) -> str:
    return text


@workflow
async def sends(ctx: WorkflowContext) -> list[str]:
    return list(await asyncio.gather(send("a"), send("b")))


async def test_a_person_decides_on_unsafe_steps_that_were_interrupted() -> None:
    report = await TestEnvironment([sends]).simulate(sends, seeds=40)

    assert report.interruptions > 5


def test_a_seed_decides_alike_and_what_is_not_kept_goes_as_usual() -> None:
    def decide(kept: Container[Any] | None) -> Schedule:
        weather = Weather(reordered=0.5, doubled=0.2, lost=0.2, unknown=0.2, stopped=0.1, killed=0.1)
        schedule = Schedule(7, weather, kept=kept)
        for number in range(60):
            write = Operation("publish", "relight.test.log.1.run-1", number, "worker-1")
            schedule.hops("worker-1")
            schedule.outcome(write)
            schedule.arrivals("relight.test.wake.1.default.run-1")
            schedule.disturbance("worker-1", write, "before")
        return schedule

    first, second = decide(None), decide(None)
    some = {one.key for one in first.taken[::2]}

    assert first.taken == second.taken
    assert decide(some).taken == first.taken[::2]
    assert decide(()).taken == []
    assert {one.kind for one in first.taken} == {"travels", "write", "arrives", "process"}


def test_what_a_test_itself_says_is_never_of_unknown_outcome() -> None:
    schedule = Schedule(1, Weather(unknown=1.0))

    assert schedule.outcome(Operation("publish", "relight.test.wake.1.default.run-1", 1, "client")) == "known"
    assert schedule.outcome(Operation("publish", "relight.test.wake.1.default.run-1", 2, "sender")) != "known"


def test_seeds_differ_in_their_weather() -> None:
    weathers = [weather_of(seed) for seed in range(100)]

    assert any(one.killed and one.lost for one in weathers)
    assert any(one.killed and not one.lost for one in weathers)
    assert any(one.lost and not one.killed for one in weathers)
    assert any(not one.lost and not one.killed for one in weathers)


@pytest.mark.parametrize("wanted", [set[int](), {3}, {0, 99}, {7, 8, 50}])
async def test_the_shortest_list_keeps_what_matters_and_nothing_else(wanted: set[int]) -> None:
    tries = 0

    async def repeats(items: Sequence[int]) -> Sequence[int] | None:
        nonlocal tries
        tries += 1
        return items if wanted <= set(items) else None

    found = await shortest(range(100), repeats, kind=lambda one: one % 3, tries_max=200)

    assert set(found) == wanted
    assert tries < 100


async def test_looking_for_the_shortest_ends_after_so_many_tries() -> None:
    async def repeats(items: Sequence[int]) -> Sequence[int] | None:
        return items if len(items) > 50 else None

    found = await shortest(range(1000), repeats, kind=lambda one: one, tries_max=5)

    assert len(found) == 995


@workflow
async def has_no_number(ctx: WorkflowContext) -> float:
    return float("nan")


async def test_what_is_not_a_number_is_alike_in_each_play() -> None:
    async def scenario(env: TestEnvironment) -> dict[str, list[float]]:
        return {"price": [1.0, await (await env.start(has_no_number)).result()]}

    await TestEnvironment([has_no_number]).simulate(scenario, seeds=2)


@workflow
async def member(ctx: WorkflowContext, number: int) -> int:
    await ctx.sleep(1)
    return await add(number, 0)


@workflow
async def family(ctx: WorkflowContext) -> list[int]:
    return await ctx.map(member, [1, 2, 3])


async def test_what_is_under_way_when_a_scenario_returns_is_not_left_behind() -> None:
    """With these seeds a message to the parent was still on its way when the scenario had its result."""
    await TestEnvironment([family, member]).simulate(family, seeds=[54, 79])
