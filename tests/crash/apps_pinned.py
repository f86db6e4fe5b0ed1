"""A workflow that stays with its version, as an older deployment has it; the newer one is in `apps_pinned_newer`."""

from __future__ import annotations

from typing import Any

from tests.crash.apps import gate, one, two

from relight import Workflow, WorkflowContext, workflow

__all__ = ("WORKFLOWS", "stays")


@workflow(name="stays", pin="version")
async def stays(ctx: WorkflowContext, directory: str) -> str:
    await one(directory)
    await ctx.suspend("answer")
    await gate(directory)
    return "older"


@workflow(name="stays", pin="version")
async def stays_newer(ctx: WorkflowContext, directory: str) -> str:
    await two(directory)
    await ctx.suspend("answer")
    return "newer"


WORKFLOWS: dict[str, Workflow[..., Any]] = {"stays": stays}
