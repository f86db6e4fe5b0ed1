"""An application as a user would write it, run by `relight worker` in the tests of the command."""

from __future__ import annotations

import os
from pathlib import Path

from relight import Retry, WorkflowContext, step, workflow


@step
async def greet(name: str) -> str:
    return f"hello {name}"


@step(retry=Retry(attempts=1), on_exhausted="park")
async def charge(cents: int) -> str | None:
    raise ValueError(f"can't charge {cents}\nsecond line")


@step(retry=Retry(attempts=1), on_exhausted="park")
def read(path: str) -> str:
    return Path(path).read_text()


@workflow
async def hello(ctx: WorkflowContext, name: str, times: int = 1) -> list[str]:
    return [await greet(name)] * times


@workflow
async def review(ctx: WorkflowContext, cents: int) -> object:
    ctx.set_details({"stage": "review"})
    return await ctx.suspend("fraud-review", {"cents": cents})


@workflow
async def notes(ctx: WorkflowContext) -> list[str]:
    return [await ctx.wait_for_signal("note", type=str), await ctx.wait_for_signal("note", type=str)]


@workflow
async def asked(ctx: WorkflowContext) -> None:
    async for request in ctx.requests("double", type=int):
        if request.data > 0:
            await request.reply({"doubled": 2 * request.data})
        else:
            await request.reject("not positive")


@workflow
async def token(ctx: WorkflowContext) -> str:
    awaited = ctx.awakeable(type=str)
    return await awaited


@workflow
async def payment(ctx: WorkflowContext, cents: int) -> str | None:
    return await charge(cents)


@workflow
async def reads(ctx: WorkflowContext, path: str) -> str:
    return await read(path)


@workflow
async def broken(ctx: WorkflowContext) -> None:
    raise KeyError("first line\nsecond line \x1b[31mred")


@workflow
async def reviews(ctx: WorkflowContext, cents: int) -> None:
    ctx.set_details({"stage": "review"})
    await ctx.suspend("fraud-review", {"cents": cents})
    await ctx.suspend("never", None)


@step
async def hash_seed() -> str | None:
    return os.environ.get("PYTHONHASHSEED")


@workflow
async def seed(ctx: WorkflowContext) -> str | None:
    return await hash_seed()
