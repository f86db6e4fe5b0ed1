"""A child whose start is refused, or comes to nothing: its parent ends all the same, and others' children live on."""

from __future__ import annotations

import asyncio
from typing import Literal

import anyio
import pytest

from relight import (
    PayloadTooLargeError,
    RunCancelled,
    RunFailed,
    StepFailed,
    TerminalError,
    WorkflowContext,
    step,
    workflow,
)
from relight.testing import TestEnvironment

happened: list[str] = []


@pytest.fixture(autouse=True)
def nothing_happened() -> None:
    happened.clear()


@step
async def note(what: str) -> None:
    happened.append(what)


@step
async def fails() -> None:
    raise TerminalError("declined")


@workflow
async def leaf(ctx: WorkflowContext) -> str:
    return await ctx.suspend("go", type=str)


@workflow
async def fails_beside_a_start(ctx: WorkflowContext) -> None:
    await asyncio.gather(ctx.start(leaf, id="taken", on_parent_close="wait"), fails())


@workflow
async def leaves_a_start(ctx: WorkflowContext, calls: bool) -> str:
    """An anyio scope cancels again and again."""
    with anyio.CancelScope() as scope:
        asyncio.get_running_loop().call_soon(scope.cancel)
        await (ctx.call if calls else ctx.start)(leaf, id="taken", on_parent_close="wait")
    await ctx.sleep(10)
    return "ended"


@workflow
async def starts_twice(ctx: WorkflowContext, how: Literal["detach", "queue"]) -> str:
    await ctx.start(leaf, id="own")
    try:
        if how == "detach":
            await ctx.start(leaf, id="own", on_parent_close="detach")
        else:
            await ctx.start(leaf, id="own", queue="other")
    except StepFailed as error:
        return str(error)
    return "started"


@workflow
async def cleans_up(ctx: WorkflowContext, number: int) -> int:
    if number == 0:
        return 0
    try:
        await ctx.suspend("never")
    finally:
        await ctx.sleep(10)
        await note(f"child {number} has cleaned up")
    return number


@workflow
async def maps(ctx: WorkflowContext) -> None:
    ctx.compensate(note, "the parent is undone")
    await ctx.map(cleans_up, [1, 2, 0], min_success=1)


@workflow
async def takes_many(ctx: WorkflowContext, *texts: str) -> None:
    """Each of them is stored with the start."""


@workflow
async def starts_too_much(ctx: WorkflowContext) -> str:
    try:
        await ctx.start(takes_many, *["x" * 60_000] * 9)
    except PayloadTooLargeError:
        return "too large"
    return "started"


async def test_a_run_that_fails_while_a_start_is_refused_does_not_wait_for_that_child() -> None:
    async with TestEnvironment([fails_beside_a_start, leaf]) as environment:
        await environment.start(leaf, id="taken")
        run = await environment.start(fails_beside_a_start)

        with pytest.raises(RunFailed, match="declined"):
            await run.result()


@pytest.mark.parametrize("calls", [False, True])
async def test_nor_does_one_that_was_cancelled_again_and_again_at_the_start(calls: bool) -> None:
    async with TestEnvironment([leaves_a_start, leaf]) as environment:
        await environment.start(leaf, id="taken")
        run = await environment.start(leaves_a_start, calls)

        assert await run.result() == "ended"


@pytest.mark.parametrize("how", ["detach", "queue"])
async def test_a_second_start_of_an_id_changes_nothing_of_the_child_that_has_it(
    how: Literal["detach", "queue"],
) -> None:
    async with TestEnvironment([starts_twice, leaf]) as environment:
        run = await environment.start(starts_twice, how)

        assert "exists already" in await run.result()
        with pytest.raises(RunCancelled):
            await environment.client.get_run("own").result()


async def test_a_run_that_is_cancelled_while_its_map_stops_children_waits_for_their_clean_up() -> None:
    async with TestEnvironment([maps, cleans_up]) as environment:
        run = await environment.start(maps)
        await environment.skip(7)
        await run.cancel()

        with pytest.raises(RunCancelled):
            await run.result()

    assert sorted(happened[:2]) == ["child 1 has cleaned up", "child 2 has cleaned up"]
    assert happened[2:] == ["the parent is undone"]


async def test_a_start_that_is_too_large_is_refused_where_the_code_can_handle_it() -> None:
    async with TestEnvironment([starts_too_much, takes_many]) as environment:
        assert await (await environment.start(starts_too_much)).result() == "too large"
