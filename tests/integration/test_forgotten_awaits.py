"""What is asked of a step, the context, a child or a request without `await`: the run fails, and the line is named."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from relight import Child, Relight, Request, RunEndedError, RunFailed, Worker, WorkflowContext, step, workflow

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


GIVEN: dict[str, Callable[[WorkflowContext], Any]] = {
    "step": lambda ctx: executes("executed"),
    "sleep": lambda ctx: ctx.sleep(1),
}


@workflow
async def gives_a_task_away(ctx: WorkflowContext, of: str) -> str:
    ctx.compensate(executes, "undone")
    task = asyncio.create_task(GIVEN[of](ctx))
    return f"done, and {'not ' * (not task.done())}begun"


@pytest.mark.parametrize("of", GIVEN)
async def test_what_was_given_to_a_task_just_before_the_end_is_not_forgotten(client: Relight, of: str) -> None:
    async with Worker(client, [gives_a_task_away]):
        assert await client.call(gives_a_task_away, of) == "done, and not begun"

    assert executed == []


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
