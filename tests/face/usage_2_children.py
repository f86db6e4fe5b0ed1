"""Checked use of the face's children: each `assert_type` must hold and each line marked `# refused` must be an error, under
mypy --strict and pyright strict. It is checked, never run; `test_face.py` says what the checkers must say of it.
"""

from typing import assert_type

from relight import Child, Relight, Run, WorkflowContext, step, workflow


@workflow
async def process(ctx: WorkflowContext, order: str, notify: bool = True) -> int:
    return len(order)


@workflow
async def score(ctx: WorkflowContext, order: str) -> int:
    return len(order)


@step
async def rate(order: str) -> float:
    return 0.5


@workflow
async def parent(ctx: WorkflowContext, order: str) -> None:
    child = await ctx.start(process, order, id=f"child-{order}", on_parent_close="detach")
    assert_type(child, Child[int])
    assert_type(await child.result(), int)
    await child.signal("note", "hello")
    await child.cancel(reason="enough")
    assert_type(await ctx.call(process, order, False, queue="slow"), int)
    assert_type(await ctx.call("other-language", 1, "two", type=str), str)
    assert_type(await ctx.map(rate, [order], concurrency=10), list[float])
    assert_type(await ctx.map(score, [order], max_failures=1, min_success=1), list[int])

    await ctx.call(process, 5)  # refused
    await ctx.start(process, order, on_parent_close="forget")  # refused
    await ctx.map(rate, [5])  # refused
    ctx.call(process, order)  # refused


async def main(relight: Relight) -> None:
    async for run in relight.start_many(score, ["a", "b"], id=lambda order: order.upper()):
        assert_type(run, Run[int])
    await relight.start(process, "order", on_parent_close="wait")  # refused
