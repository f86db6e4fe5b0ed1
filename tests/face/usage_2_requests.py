"""Checked use of the face's requests: each `assert_type` must hold and each line marked `# refused` must be an error, under
mypy --strict and pyright strict. It is checked, never run; `test_face.py` says what the checkers must say of it.
"""

from collections.abc import AsyncIterator
from typing import assert_type

from relight import Relight, Request, Run, WorkflowContext, workflow


@workflow
async def cart(ctx: WorkflowContext) -> list[str]:
    items: list[str] = []
    assert_type(ctx.requests("add", type=str), AsyncIterator[Request[str]])
    async for request in ctx.requests("add", type=str):
        assert_type(request.data, str)
        if request.data in items:
            await request.reject("it is there already")
        items.append(request.data)
        await request.reply(items)

        request.reply(items)  # refused
        await request.reject()  # refused
        await request.reject(5)  # refused
    return items


@workflow
async def chat(ctx: WorkflowContext, name: str) -> int:
    return len(name)


async def main(relight: Relight, run: Run[list[str]]) -> None:
    assert_type(await run.request("add", "jam", type=list[str]), list[str])
    assert_type(await run.request("add", "jam", type=int, timeout=5, id="add-1"), int)
    assert_type(await run.request("size", type=int | None), int | None)

    started = await relight.signal_with_start(chat, "ann", signal="word", data="hello", signal_id="w-1", id="chat-ann")
    assert_type(started, Run[int])
    assert_type(await relight.signal_with_start("chat", signal="word", type=str, id="chat-ben"), Run[str])

    await relight.signal_with_start(chat, "ann", id="chat-ann")  # refused
    await relight.signal_with_start(chat, 5, signal="word")  # refused
    await run.request("add", "jam")  # refused
    await run.request("add", "jam", int)  # refused
    run.request("add", "jam", type=int)  # refused
