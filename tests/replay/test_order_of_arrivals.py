"""In a replay everything comes to the code when it came to it live: nothing sooner because it is recorded already."""

from __future__ import annotations

import asyncio

import anyio
import pytest

from relight import Workflow, WorkflowContext, step, workflow
from relight.testing import TestEnvironment


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


@workflow
async def another_is_driven_by_hand(ctx: WorkflowContext) -> list[str]:
    said: list[str] = []

    async def tells() -> None:
        said.append(await tell(said))

    driven = tells()
    waits_for = driven.send(None)
    said.append("beside")
    await asyncio.wait([waits_for])
    with pytest.raises(StopIteration):
        driven.send(None)
    await tell(said)
    return said


@pytest.mark.parametrize(
    "tells",
    [something_is_about_to_begin, something_runs_in_the_same_pass, a_scope_is_cancelled, another_is_driven_by_hand],
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

        await environment.replay(run)


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
