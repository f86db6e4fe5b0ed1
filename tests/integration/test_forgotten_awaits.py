"""What is asked of a step, the context, a child or a request without `await`: the run fails, and the line is named."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Callable, Coroutine
from datetime import timedelta
from types import CoroutineType
from typing import Any
from unittest.mock import create_autospec

import pytest

from relight import Child, Relight, Request, RunEndedError, RunFailed, Worker, WorkflowContext, step, workflow
from relight.testing import TestEnvironment

executed: list[str] = []


@pytest.fixture(autouse=True)
def nothing_executed() -> None:
    executed.clear()


@step
async def executes(text: str) -> str:
    executed.append(text)
    return text


@workflow
async def child_of_ours(ctx: WorkflowContext, text: str) -> str:
    executed.append(text)
    return text


ASKED: dict[str, Callable[[WorkflowContext], object]] = {
    "step executes": lambda ctx: executes("executed"),
    "step named": lambda ctx: ctx.step("named", executed.append, "executed"),
    "step relight.signal": lambda ctx: ctx.signal("other", "news"),
    "ctx.sleep": lambda ctx: ctx.sleep(1),
    "ctx.sleep_until": lambda ctx: ctx.sleep_until(ctx.now() + timedelta(hours=1)),
    "ctx.suspend": lambda ctx: ctx.suspend("approval"),
    "ctx.wait_for_signal": lambda ctx: ctx.wait_for_signal("news", type=str),
    "ctx.start": lambda ctx: ctx.start(child_of_ours, "executed"),
    "ctx.call": lambda ctx: ctx.call(child_of_ours, "executed"),
    "ctx.map": lambda ctx: ctx.map(executes, ["executed"]),
}


def named(of: str, asked: Callable[..., object]) -> str:
    place = f"integration/{__file__.rsplit('/', 1)[-1]}:{asked.__code__.co_firstlineno}"
    return rf"{of} \({place}\) was never awaited; write `await`, or give it to a task"


@workflow
async def forgets(ctx: WorkflowContext, of: str) -> str:
    ASKED[of](ctx)
    return "done"


@pytest.mark.parametrize("of", ASKED)
async def test_a_forgotten_await_fails_the_run_and_names_the_line(client: Relight, of: str) -> None:
    async with Worker(client, [forgets, child_of_ours]):
        with pytest.raises(RunFailed, match=named(of, ASKED[of])):
            await client.call(forgets, of)

    assert executed == []


ASKED_OF_A_CHILD: dict[str, Callable[[Child[str]], object]] = {
    "child.result": lambda child: child.result(),
    "child.signal": lambda child: child.signal("news"),
    "child.cancel": lambda child: child.cancel(),
}


@workflow
async def forgets_of_a_child(ctx: WorkflowContext, of: str) -> str:
    ASKED_OF_A_CHILD[of](await ctx.start(child_of_ours, "executed"))
    return "done"


@pytest.mark.parametrize("of", ASKED_OF_A_CHILD)
async def test_so_does_a_forgotten_await_of_what_is_asked_of_a_child(client: Relight, of: str) -> None:
    async with Worker(client, [forgets_of_a_child, child_of_ours]):
        with pytest.raises(RunFailed, match=named(of, ASKED_OF_A_CHILD[of])):
            await client.call(forgets_of_a_child, of)


ANSWERS: dict[str, Callable[[Request[int]], object]] = {
    "request.reply": lambda request: request.reply(request.data + 1),
    "request.reject": lambda request: request.reject("not today"),
}


@workflow
async def forgets_to_answer(ctx: WorkflowContext, of: str) -> str:
    async for request in ctx.requests("question", type=int):
        ANSWERS[of](request)
        break
    return "done"


@pytest.mark.parametrize("of", ANSWERS)
async def test_so_does_a_forgotten_await_of_an_answer(client: Relight, of: str) -> None:
    async with Worker(client, [forgets_to_answer]):
        run = await client.start(forgets_to_answer, of)
        asking = asyncio.create_task(run.request("question", 1, type=int))
        with pytest.raises(RunFailed, match=named(of, ANSWERS[of])):
            await run.result(timeout=20)
        with pytest.raises(RunEndedError):
            await asking


async def passes_on(call: Coroutine[Any, Any, object]) -> None:
    await call


async def awaits_each(*calls: Coroutine[Any, Any, object]) -> None:
    for call in calls:
        await call


GIVEN: dict[str, Callable[[WorkflowContext], Coroutine[Any, Any, object]]] = {
    "a step": lambda ctx: executes("executed"),
    "a sleep": lambda ctx: ctx.sleep(1),
    "what passes a sleep on": lambda ctx: passes_on(ctx.sleep(1)),
    "what awaits one after the other": lambda ctx: awaits_each(ctx.sleep(1), ctx.sleep(1)),
}


@workflow
async def gives_a_task_away(ctx: WorkflowContext, of: str, undos: int, passes: int) -> str:
    for _ in range(undos):
        ctx.compensate(executes, "undone")
    task = asyncio.create_task(GIVEN[of](ctx))
    for _ in range(passes):
        await asyncio.sleep(0)
    return f"done, and {'not ' * (not task.done())}ended"


@pytest.mark.parametrize("of", GIVEN)
@pytest.mark.parametrize("undos", [0, 1])
@pytest.mark.parametrize("passes", [0, 2])
async def test_what_a_task_was_given_is_not_forgotten(client: Relight, of: str, undos: int, passes: int) -> None:
    async with Worker(client, [gives_a_task_away]):
        result = await client.call(gives_a_task_away, of, undos, passes)

    assert result == "done, and not ended"
    assert "undone" not in executed


async def too_late(ctx: WorkflowContext) -> None:
    await asyncio.wait_for(asyncio.wait_for(ctx.suspend("approval"), 10), 0)


async def too_late_for_many(ctx: WorkflowContext) -> None:
    async with asyncio.timeout(0):
        await asyncio.gather(passes_on(ctx.sleep(1)), passes_on(passes_on(executes("executed"))))


async def too_late_for_a_list(ctx: WorkflowContext) -> None:
    task = asyncio.create_task(awaits_each(ctx.sleep(1), ctx.sleep(2)))
    task.cancel()
    async with asyncio.timeout(0):
        await task


CUT_OFF = {one.__name__: one for one in (too_late, too_late_for_many, too_late_for_a_list)}


@workflow
async def is_cut_off(ctx: WorkflowContext, of: str) -> str:
    try:
        await CUT_OFF[of](ctx)
    except (TimeoutError, asyncio.CancelledError):
        return "too late"
    return "never"


@pytest.mark.parametrize("of", CUT_OFF)
async def test_what_was_given_to_a_task_that_was_cancelled_before_it_began_is_not_forgotten(
    client: Relight, of: str
) -> None:
    async with Worker(client, [is_cut_off]):
        assert await client.call(is_cut_off, of) == "too late"


@workflow
async def forgets_and_continues(ctx: WorkflowContext, rounds: int) -> str:
    ctx.suspend("approval")  # type: ignore[unused-coroutine]  # pyright: ignore[reportUnusedCoroutine]  # the point
    await executes("charged")
    if rounds:
        ctx.continue_as_new(rounds - 1)
    return "done"


async def test_a_run_that_continues_as_new_fails_with_its_first_history(client: Relight) -> None:
    async with Worker(client, [forgets_and_continues]):
        with pytest.raises(RunFailed, match=r"ctx\.suspend .* was never awaited"):
            await client.call(forgets_and_continues, 3)

    assert executed == ["charged"]


@workflow
async def gathers(ctx: WorkflowContext) -> None:
    await asyncio.gather(*(passes_on(executes(f"{number}")) for number in range(100)))
    await ctx.suspend("approval")


def calls_kept() -> int:
    gc.collect()
    coroutines = [one.__qualname__ for one in gc.get_objects() if isinstance(one, CoroutineType)]
    return coroutines.count("Activation.await_step")


async def test_a_run_that_waits_keeps_none_of_the_calls_that_have_begun() -> None:
    async with TestEnvironment([gathers]) as environment:
        before = calls_kept()
        run = await environment.start(gathers)
        await environment.until(run, suspended="approval")

        assert len(executed) == 100
        assert calls_kept() <= before


async def test_a_context_that_is_faked_by_its_signature_can_be_awaited() -> None:
    faked = create_autospec(WorkflowContext, instance=True)
    faked.suspend.return_value = "approved"

    assert await faked.suspend("approval") == "approved"


@workflow
async def forgets_among_many(ctx: WorkflowContext) -> int:
    for number in range(100):
        await executes(f"{number}")
    executes("forgotten")  # type: ignore[unused-coroutine]  # pyright: ignore[reportUnusedCoroutine]  # the point
    return len([await executes(f"{number}") for number in range(100, 200)])


async def test_one_forgotten_among_many_is_remembered(client: Relight) -> None:
    async with Worker(client, [forgets_among_many]):
        with pytest.raises(RunFailed, match=r"step executes .* was never awaited"):
            await client.call(forgets_among_many, timeout=20)

    assert executed == [f"{number}" for number in range(200)]
