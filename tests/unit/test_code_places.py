"""Where in the user's code a recorded call stands, also when a task calls whose code is all ours."""

from __future__ import annotations

import asyncio
import inspect
from typing import Any

from tests.runs import recorded

from relight import Workflow, WorkflowContext, step, workflow
from relight.subjects import records as r
from relight.testing import TestEnvironment


@step
async def twice(number: int) -> int:
    return 2 * number


@workflow
async def doubled(ctx: WorkflowContext, number: int) -> int:
    return await twice(number)


@workflow
async def maps(ctx: WorkflowContext) -> None:
    ctx.set_details("line 2")
    await ctx.map(doubled, [1, 2, 3], concurrency=2)


@workflow
async def maps_steps(ctx: WorkflowContext) -> None:
    await ctx.map(twice, [1, 2, 3], concurrency=2)


@workflow
async def gathers(ctx: WorkflowContext) -> None:
    await asyncio.gather(
        ctx.call(doubled, 1),
        ctx.call(doubled, 2),
    )


@workflow
async def tasks_make_tasks(ctx: WorkflowContext) -> None:
    async def inner() -> None:
        await asyncio.gather(ctx.call(doubled, 1))

    await asyncio.create_task(inner())


async def test_a_map_is_named_by_its_own_line() -> None:
    assert await lines_of(maps, r.ChildScheduled) == [3, 3, 3]
    assert await lines_of(maps, r.ChildAwaited) == [3, 3, 3]
    assert await lines_of(maps_steps, r.StepScheduled) == [2, 2, 2]


async def test_what_is_gathered_is_named_by_the_line_that_gathers() -> None:
    assert await lines_of(gathers, r.ChildScheduled) == [2, 2]


async def test_a_task_of_a_task_is_named_by_the_innermost_line() -> None:
    assert await lines_of(tasks_make_tasks, r.ChildScheduled) == [3]


async def lines_of(flow: Workflow[Any, Any], kind: type[Any]) -> list[int]:
    """The lines of the run's records of one kind, counted from the workflow's `async def`."""
    first = inspect.getsourcelines(flow.function)[1] + 1
    async with TestEnvironment([flow, doubled]) as environment:
        run = await environment.start(flow)
        await run.result()
        places = [one.place for one in await recorded(environment.client, run, kind)]
    assert {one.rpartition(":")[0] for one in places} <= {"unit/test_code_places.py"}
    return [int(one.rpartition(":")[2]) - first + 1 for one in places]
