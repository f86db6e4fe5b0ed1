"""Checked use of the face's ways to hold and undo a run: see `usage_2_children.py`."""

from typing import assert_type

from relight import Run, RunCancelled, RunFailed, WorkflowContext, step, workflow


@step
async def unbook(order: str, *, fee: int = 0) -> str:
    return order


@step
def refund(cents: int) -> None: ...


@workflow
async def saga(ctx: WorkflowContext, order: str) -> None:
    assert_type(ctx.compensate(unbook, order, fee=1), None)
    ctx.compensate(refund, 100)
    ctx.compensate(unbook.options(timeout=5), order)

    ctx.compensate(unbook, 5)  # refused
    ctx.compensate(refund, cents="100")  # refused
    ctx.compensate(print, order)  # refused
    await ctx.compensate(unbook, order)  # refused


def look(error: RunFailed | RunCancelled) -> None:
    assert_type(error.not_undone, dict[str, str])


async def hold(run: Run[int]) -> None:
    assert_type(await run.pause(), None)
    assert_type(await run.unpause(), None)

    await run.pause(reason="lunch")  # refused
    run.unpause()  # refused
