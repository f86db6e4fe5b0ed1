"""An application whose steps end when they like."""

import asyncio
import time
from pathlib import Path

from relight import WorkflowContext, step, workflow

LONG_S = 60.0


@step
def stays_in_its_thread(begun: str) -> None:
    Path(begun).touch()
    time.sleep(LONG_S)


@step
async def swallows_its_cancellation(begun: str) -> None:
    Path(begun).touch()
    ends_at = time.monotonic() + LONG_S
    while time.monotonic() < ends_at:
        try:
            await asyncio.sleep(LONG_S)
        except asyncio.CancelledError:
            continue


@workflow
async def in_a_thread(ctx: WorkflowContext, begun: str) -> None:
    await stays_in_its_thread(begun)


@workflow
async def in_the_loop(ctx: WorkflowContext, begun: str) -> None:
    await swallows_its_cancellation(begun)
