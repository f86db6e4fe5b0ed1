"""In a replay code does not wait for results that come next anyway: it must do the same as if it had waited.

Compared over each beginning of each recorded history: what the code asks for at its end, its time, and the number of
the next future, on which the order in sets depends.
"""

from __future__ import annotations

import asyncio
from pathlib import Path

import anyio
import pytest
from tests.crash.workflows import SCENARIOS
from tests.replay.both_ways import after, first_places
from tests.replay.test_histories_replay import HISTORIES, turns_of, values_of

from relight import Workflow, WorkflowContext, step, workflow
from relight.testing import TestEnvironment

FILES = sorted(file for file in HISTORIES.glob("*.jsonl") if not values_of(file))  # Large values are always waited for.


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_code_stands_where_it_would_if_it_had_waited(file: Path) -> None:
    scenario = SCENARIOS[file.stem.split("-")[0]]
    workflows = (scenario.workflow, *scenario.others)
    moments = [(record, turn.at_ms) for turn in turns_of(file) for record in turn.records]

    for place in first_places(moments):
        seen, _ = after(workflows, moments[:place], is_blind=False)
        waited, _ = after(workflows, moments[:place], is_blind=True)
        assert seen == waited, f"after {place} of {len(moments)} records"


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
