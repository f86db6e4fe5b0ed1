"""The newest runs of a namespace, and how they stand. One that can't be read takes no others with it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from relight.actors.letters import Letterbox
from relight.actors.starts import start_in
from relight.actors.values import filled
from relight.config.limits import LIMITS
from relight.errors import ProtocolError, RunNotFoundError
from relight.subjects.grammar import StartSubject, parse
from relight.subjects.ids import token

if TYPE_CHECKING:
    from relight.actors.door import Stored
    from relight.actors.letters import Sight
    from relight.sdk._client import Relight

__all__ = ("Listed", "Newest", "fill_result", "look_at", "newest", "sights")

_AT_ONCE = 20
"""Histories read at the same time: enough to hide the round trips, few enough to stop soon."""


@dataclass(frozen=True)
class Listed:
    """A start that is stored. Of one that can't be read the workflow is empty."""

    run: str
    queue: str
    workflow: str


@dataclass(frozen=True)
class Newest:
    """The newest runs, the newest first; with `has_older` only the newest 1,000 of the namespace were looked at."""

    runs: list[Listed]
    has_older: bool


async def newest(relight: Relight, *, workflow: str | None = None, limit: int) -> Newest:
    """Return the newest runs; with a workflow those of this one, and those of which it can't be read."""
    scanned = limit if workflow is None else LIMITS.runs_listed_max
    runs, has_older = await _among(relight, scanned, workflow)
    if len(runs) < limit and has_older and scanned < LIMITS.runs_listed_max:
        # The ids of retired runs stand among the starts for an hour; here they are in the way.
        scanned = LIMITS.runs_listed_max
        runs, has_older = await _among(relight, scanned, workflow)
    return Newest(runs[:limit], has_older and scanned == LIMITS.runs_listed_max)


async def _among(relight: Relight, scanned: int, workflow: str | None) -> tuple[list[Listed], bool]:
    """Return the runs among so many newest starts, and whether there may be older ones."""
    stored = await relight.door.newest(relight.subjects.every_start(), limit=scanned)
    starts = [start for start in map(_listed, stored) if start is not None]
    return [one for one in starts if workflow is None or one.workflow in (workflow, "")], len(stored) == scanned


def _listed(stored: Stored) -> Listed | None:
    try:
        start = start_in(stored)
    except ProtocolError:
        subject = parse(stored.subject)
        return Listed(subject.run, subject.queue, "") if isinstance(subject, StartSubject) else None
    return None if start is None else Listed(start.run, start.queue, start.started.workflow)


async def sights(relight: Relight, listed: list[Listed]) -> AsyncIterator[tuple[Listed, Sight | ProtocolError]]:
    """Look at these runs, in their order, or say why one can't be read; one that was retired meanwhile is left out."""
    for first in range(0, len(listed), _AT_ONCE):
        some = listed[first : first + _AT_ONCE]
        for one, sight in zip(some, await asyncio.gather(*(_sight(relight, one) for one in some)), strict=True):
            if sight is not None:
                yield one, sight


async def look_at(relight: Relight, run: str) -> Sight:
    """Return how a run stands. Raises `InvalidIdError`, `RunNotFoundError` and `UnavailableError`."""
    return await Letterbox(relight.door, relight.subjects, token("run id", run)).look()


async def fill_result(relight: Relight, sight: Sight) -> None:
    """Put the run's result in place of a reference; not one that is missing or damaged. Raises `UnavailableError`."""
    if sight.state.end is not None:
        with suppress(ProtocolError):
            sight.state.end = await filled(relight.door, relight.subjects, sight.run, sight.state.end)


async def _sight(relight: Relight, listed: Listed) -> Sight | ProtocolError | None:
    try:
        return await Letterbox(relight.door, relight.subjects, listed.run, queue=listed.queue).look()
    except RunNotFoundError:
        return None
    except ProtocolError as error:
        return error
