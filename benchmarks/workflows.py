"""What the rows run. Moments are nanoseconds of the monotonic clock, which all processes of a machine share."""

from __future__ import annotations

import asyncio
import time
from datetime import datetime

from relight import WorkflowContext, step, workflow

__all__ = (
    "WORKFLOWS",
    "converses",
    "converses_by_reference",
    "gathers_children",
    "listener",
    "moments_of_steps",
    "one_step",
    "sleeper",
    "steps_then_wait",
    "three_steps",
    "waiter",
)


_MESSAGE_CHARACTERS = 4_096
"""500 of them are 2 MB."""


@step
async def moment() -> int:
    return time.monotonic_ns()


@step
async def late_s(due_s: float) -> float:
    return time.time() - due_s


@step
async def text(number: int) -> str:
    return f"the result of step {number}, as long as many a small one: an id, a status, a sum, and a word or two."


@workflow
async def moments_of_steps(ctx: WorkflowContext, count: int) -> list[int]:
    """Return when each of `count` sequential steps began."""
    return [await moment() for _ in range(count)]


@workflow
async def three_steps(ctx: WorkflowContext, number: int) -> str:
    await text(number)
    await text(number + 1)
    return await text(number + 2)


@workflow
async def gathers_children(ctx: WorkflowContext, count: int) -> int:
    return len(await asyncio.gather(*(ctx.call(one_step) for _ in range(count))))


@workflow
async def one_step(ctx: WorkflowContext) -> int:
    return await moment()


@workflow
async def waiter(ctx: WorkflowContext, topic: str) -> str:
    return await ctx.suspend("answer", {"topic": topic}, type=str)


@workflow
async def listener(ctx: WorkflowContext) -> None:
    """Never end."""
    async for number in ctx.signals("news", type=int):
        await text(number)


@workflow
async def steps_then_wait(ctx: WorkflowContext, count: int) -> str:
    for number in range(count):
        await text(number)
    return await ctx.suspend("answer", type=str)


@workflow
async def sleeper(ctx: WorkflowContext, due: datetime) -> float:
    """Return how many seconds after `due` its step began."""
    await ctx.sleep_until(due)
    return await late_s(due.timestamp())


@step
async def reply(conversation: list[str]) -> str:
    """What a model says next: it gets the whole conversation, and returns only what is new."""
    return f"{len(conversation)} ".ljust(_MESSAGE_CHARACTERS, "x")


@step
async def reply_to_last(length: int, last: str) -> str:
    """The same for a step that keeps the conversation elsewhere."""
    return f"{length} ".ljust(_MESSAGE_CHARACTERS, "x")


@workflow
async def converses(ctx: WorkflowContext, turns: int) -> int:
    conversation: list[str] = []
    for _ in range(turns):
        conversation.append(await reply(conversation))
    return sum(map(len, conversation))


@workflow
async def converses_by_reference(ctx: WorkflowContext, turns: int) -> int:
    conversation: list[str] = []
    for number in range(turns):
        conversation.append(await reply_to_last(number, conversation[-1] if conversation else ""))
    return sum(map(len, conversation))


WORKFLOWS = (
    moments_of_steps,
    three_steps,
    gathers_children,
    one_step,
    waiter,
    listener,
    steps_then_wait,
    sleeper,
    converses,
    converses_by_reference,
)
