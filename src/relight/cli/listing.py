"""The newest runs of a namespace, and how they stand."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from relight.actors.letters import Letterbox
from relight.actors.starts import start_in
from relight.config.limits import LIMITS
from relight.errors import RunNotFoundError
from relight.subjects.ids import token

if TYPE_CHECKING:
    from relight.actors.letters import Sight
    from relight.sdk._client import Relight
    from relight.subjects.records import RunStarted

__all__ = ("Listed", "look_at", "newest", "sights")

_AT_ONCE = 20
"""Histories read at the same time: enough to hide the round trips, few enough to stop soon."""


@dataclass(frozen=True)
class Listed:
    """A start that is stored."""

    run: str
    started: RunStarted


async def newest(relight: Relight, *, workflow: str | None = None, limit: int) -> list[Listed]:
    """Return the newest runs, the newest first; of one workflow, if it is given, among the newest 1,000 of all."""
    if workflow is None:
        found, has_older = await _among(relight, limit, None)
        if len(found) == limit or not has_older:
            return found
    # The ids of retired runs stand among the starts for an hour, and more are looked at if those are in the way.
    found, _ = await _among(relight, LIMITS.runs_listed_max, workflow)
    return found[:limit]


async def _among(relight: Relight, scanned: int, workflow: str | None) -> tuple[list[Listed], bool]:
    """Return the runs among so many newest starts, and whether there may be older ones."""
    stored = await relight.door.newest(relight.subjects.every_start(), limit=scanned)
    starts = [start for start in map(start_in, stored) if start is not None]
    found = [Listed(one.run, one.started) for one in starts if workflow in (None, one.started.workflow)]
    return found, len(stored) == scanned


async def sights(relight: Relight, listed: list[Listed]) -> AsyncIterator[Sight]:
    """Look at these runs, in their order; one that was retired meanwhile is left out."""
    for first in range(0, len(listed), _AT_ONCE):
        looking = [_sight(relight, one) for one in listed[first : first + _AT_ONCE]]
        for sight in await asyncio.gather(*looking):
            if sight is not None:
                yield sight


async def look_at(relight: Relight, run: str) -> Sight:
    """Return how a run stands. Raises `InvalidIdError`, `RunNotFoundError` and `UnavailableError`."""
    return await Letterbox(relight.door, relight.subjects, token("run id", run)).look()


async def _sight(relight: Relight, listed: Listed) -> Sight | None:
    try:
        return await Letterbox(relight.door, relight.subjects, listed.run, queue=listed.started.queue).look()
    except RunNotFoundError:
        return None
