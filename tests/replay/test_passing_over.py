"""In a replay code does not wait for results that come next anyway: it must do the same as if it had waited.

Compared over each beginning of each recorded history: what the code asks for at its end, its time, and the number of
the next future, on which the order in sets depends.
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any, cast

import anyio
import pytest
from tests.crash.workflows import SCENARIOS
from tests.replay.both_ways import after, assert_same_both_ways
from tests.replay.test_histories_replay import HISTORIES, turns_of, values_of

from relight import Workflow, WorkflowContext, step, workflow
from relight.testing import TestEnvironment

FILES = sorted(file for file in HISTORIES.glob("*.jsonl") if not values_of(file))  # Large values are always waited for.


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_code_stands_where_it_would_if_it_had_waited(file: Path) -> None:
    scenario = SCENARIOS[file.stem.split("-")[0]]
    workflows = (scenario.workflow, *scenario.others)
    moments = [(record, turn.at_ms) for turn in turns_of(file) for record in turn.records]

    assert_same_both_ways(workflows, moments)


def test_a_row_of_steps_is_passed_over() -> None:
    passed_over = 0
    for file in FILES:
        scenario = SCENARIOS[file.stem.split("-")[0]]
        moments = [(record, turn.at_ms) for turn in turns_of(file) for record in turn.records]
        passed_over += after((scenario.workflow, *scenario.others), moments, is_blind=False)[1]

    assert passed_over > 20


@step
async def tell(said: list[str]) -> str:
    return "told"


@workflow
async def something_is_about_to_begin(ctx: WorkflowContext) -> list[str]:
    said: list[str] = []

    async def beside() -> None:
        said.append("beside")

    task = asyncio.ensure_future(beside())
    said.append(await tell(said))
    await tell(said)
    await task
    return said


@workflow
async def something_runs_in_the_same_pass(ctx: WorkflowContext) -> list[str]:
    said: list[str] = []

    async def tells() -> None:
        said.append(await tell(said))

    async def beside() -> None:
        said.append("beside")

    await asyncio.gather(tells(), beside())
    await tell(said)
    return said


@workflow
async def a_scope_is_cancelled(ctx: WorkflowContext) -> list[str]:
    said: list[str] = []
    with anyio.CancelScope() as scope:
        scope.cancel()
        with anyio.CancelScope(shield=True):
            said.append(await tell(said))
        said.append(await tell(said))
    said.append(await tell(said))
    return said


@pytest.mark.parametrize(
    "tells",
    [something_is_about_to_begin, something_runs_in_the_same_pass, a_scope_is_cancelled],
    ids=lambda one: one.name,
)
async def test_what_is_beside_a_step_comes_before_its_result(tells: Workflow[[], list[str]]) -> None:
    async with TestEnvironment([tells]) as environment:
        run = await environment.start(tells)
        await run.result()

        await environment.replay(run)


@workflow
async def listens_beside(ctx: WorkflowContext, is_asked: bool) -> list[str]:
    said: list[str] = []

    async def listens() -> None:
        said.append(await anext(ctx.signals("heard", type=str)))

    task = asyncio.ensure_future(listens())
    if is_asked:
        await ctx.suspend("go", type=bool)
    else:
        await asyncio.sleep(0)
        await asyncio.sleep(0)  # From here on nothing else runs.
    await tell(said)
    await tell(said)
    await task
    return said


@workflow
async def listens_later(ctx: WorkflowContext) -> list[str]:
    await tell([])
    return [await anext(ctx.signals("heard", type=str))]


async def test_what_came_before_a_delayed_start_comes_before_the_first_result() -> None:
    async with TestEnvironment([listens_later]) as environment:
        run = await environment.start(listens_later, delay=60)
        await run.signal("heard", "early")
        assert await run.result() == ["early"]

        moments = [(cast("Any", one).data, round(one.at.timestamp() * 1000)) async for one in run.history()]
    assert_same_both_ways([listens_later], moments)


async def test_all_that_came_during_a_pause_comes_before_the_next_result() -> None:
    async with TestEnvironment([listens_beside]) as environment:
        run = await environment.start(listens_beside, True)
        await environment.until(run, suspended="go")
        await run.pause()
        await run.resume("go", True)
        await run.signal("heard", "meanwhile")
        await run.unpause()
        assert await run.result() == ["meanwhile"]

        await environment.replay(run)
