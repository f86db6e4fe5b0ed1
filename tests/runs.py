"""Looking at runs on a real server: wait until one stands as the test needs it, and read what it recorded."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, TypeVar

from relight import Relight, Run, RunDescription
from relight.actors.letters import Letterbox
from relight.subjects import records as r
from relight.subjects.turn import Turn

__all__ = ("kinds", "recorded", "suspended", "turns", "until")

K = TypeVar("K", bound=r.Record)


async def until(run: Run[Any], condition: Callable[[RunDescription], bool]) -> RunDescription:
    """Return how the run stands as soon as the condition holds.

    Raises:
        TimeoutError: It does not within twenty seconds.
    """
    async with asyncio.timeout(20):
        while not condition(described := await run.describe()):
            await asyncio.sleep(0.005)
    return described


async def suspended(run: Run[Any], name: str) -> RunDescription:
    """Return when the run waits for the answer to this suspension."""
    return await until(run, lambda described: name in described.suspended)


async def kinds(run: Run[Any]) -> list[str]:
    """The kinds of the run's records, in order."""
    return [record.kind async for record in run.history()]


async def turns(client: Relight, run: Run[Any]) -> list[Turn]:
    """The run's journal so far."""
    return [turn async for turn in Letterbox(client.door, client.subjects, run.id).turns(follow=False)]


async def recorded(client: Relight, run: Run[Any], kind: type[K]) -> list[K]:
    """The run's records of one kind, in order."""
    return [record for turn in await turns(client, run) for record in turn.records if isinstance(record, kind)]
