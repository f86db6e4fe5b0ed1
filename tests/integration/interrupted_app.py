"""An application whose code ends, or seems to end, its process."""

from __future__ import annotations

from relight import WorkflowContext, step, workflow


@step
async def one() -> int:
    return 1


@workflow
async def interrupts(ctx: WorkflowContext) -> int:
    await one()
    raise KeyboardInterrupt


@workflow
async def interrupts_at_once(ctx: WorkflowContext) -> int:
    raise KeyboardInterrupt


@workflow
async def does_not(ctx: WorkflowContext) -> int:
    await ctx.suspend("go")
    return await one()
