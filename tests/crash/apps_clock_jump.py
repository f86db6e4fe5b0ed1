"""Workflows of a worker whose wall clock jumps by an hour while it works."""

from __future__ import annotations

import time
from itertools import pairwise
from typing import Any

from tests.crash.apps import note

from relight import Workflow, WorkflowContext, step, workflow

__all__ = ("WORKFLOWS",)

_wall_s, _wall_ns = time.time, time.time_ns


def _jump(seconds: float) -> None:
    """What an administrator or a time daemon does: the wall clock moves, the monotonic one does not."""
    time.time = lambda: _wall_s() + seconds  # pyright: ignore[reportAttributeAccessIssue]
    time.time_ns = lambda: _wall_ns() + round(seconds * 1e9)


@step
async def jump(directory: str, seconds: float) -> None:
    note(directory, "jump")
    _jump(seconds)


@step
async def look(directory: str) -> None:
    note(directory, "look")


@workflow(name="sleeps", timeout=600)
async def naps(ctx: WorkflowContext, directory: str, seconds: float) -> list[float]:
    """Return how long two sleeps of a second took by the run's own time."""
    await jump(directory, seconds)
    times = [ctx.now()]
    for _ in range(2):
        await ctx.sleep(1)
        times.append(ctx.now())
        await look(directory)
    return [(after - before).total_seconds() for before, after in pairwise(times)]


WORKFLOWS: dict[str, Workflow[..., Any]] = {"sleeps": naps}
