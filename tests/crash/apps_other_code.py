"""The next release of an application: its `waits` calls another step first, so that it can't follow recorded runs."""

from __future__ import annotations

from typing import Any

from tests.crash.apps import note

from relight import Workflow, WorkflowContext, step, workflow

__all__ = ("WORKFLOWS",)


@step
async def zero(directory: str) -> int:
    note(directory, "zero")
    return 0


@workflow(name="waits")
async def other_waits(ctx: WorkflowContext, directory: str) -> str:
    await zero(directory)
    answer: str = await ctx.suspend("answer", type=str)
    return answer


WORKFLOWS: dict[str, Workflow[..., Any]] = {"waits": other_waits}
