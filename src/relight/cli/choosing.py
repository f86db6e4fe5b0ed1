"""Which runs a decision about many is meant for."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from relight.actors.journal import read_tail
from relight.actors.letters import Letterbox
from relight.errors import ProtocolError, RunNotFoundError
from relight.sdk._description import describe
from relight.subjects.grammar import RETIRED, StartSubject, parse
from relight.subjects.records import ENDS
from relight.subjects.turn import Turn

if TYPE_CHECKING:
    from relight.sdk._client import Relight

__all__ = ("Chosen", "Filters", "Unreadable", "at_once", "chosen", "every_run")

T = TypeVar("T")
R = TypeVar("R")

_RUNS_MAX = 100_000
_AT_ONCE = 20
"""Enough to hide the round trips, few enough to leave the server to the workers."""


@dataclass(frozen=True)
class Filters:
    """What a run must be like. None asks for nothing."""

    workflow: str | None = None
    status: str | None = None
    since_s: float | None = None


@dataclass(frozen=True)
class Chosen:
    """A run that has not ended and is as the filters want it.

    Attributes:
        parked: Why it is parked; None if it is not.
        is_told: The newest message in its mailbox is unread, and of the same kind as the one that is to be sent.
    """

    run: str
    queue: str
    workflow: str
    status: str
    parked: str | None
    is_told: bool


@dataclass(frozen=True)
class Unreadable:
    """A run of which nobody can say whether the filters want it."""

    run: str


async def every_run(relight: Relight) -> list[StartSubject]:
    """Return where the starts of all runs are stored, at most 100,000 of them."""
    found = await relight.door.subjects(relight.subjects.every_start(), limit=_RUNS_MAX)
    starts = [parse(one) for one in found]
    return [one for one in starts if isinstance(one, StartSubject) and one.queue != RETIRED]


async def chosen(relight: Relight, start: StartSubject, filters: Filters, sends: bytes) -> Chosen | Unreadable | None:
    """Look at one run; return it if it has not ended and the filters want it.

    Args:
        relight: The client.
        start: Where the run's start is.
        filters: What it must be like.
        sends: What is to be put in its mailbox, up to where it would differ between two sendings.
    """
    log = relight.subjects.log(start.run)
    try:
        tail = await read_tail(relight.door, log)
        if tail is not None and (not isinstance(tail[1], Turn) or isinstance(tail[1].records[-1], ENDS)):
            return None  # Most have ended, and are not read any further.
        sight = await Letterbox(relight.door, relight.subjects, start.run, queue=start.queue).look()
    except RunNotFoundError:
        return None
    except ProtocolError:
        return Unreadable(start.run)
    seen, started = describe(sight), sight.state.started
    workflow = "" if started is None else started.workflow
    age_s = relight.door.clock.now_ms() / 1000 - seen.since.timestamp()
    if filters.workflow not in (None, workflow) or filters.status not in (None, seen.status):
        return None
    if sight.state.end is not None or (filters.since_s is not None and age_s > filters.since_s):
        return None
    is_told = False
    if sight.unread:
        newest = await relight.door.last(relight.subjects.wake(start.queue, start.run))
        is_told = newest is not None and newest.data.startswith(sends)
    return Chosen(start.run, start.queue, workflow, seen.status, seen.parked, is_told)


async def at_once(things: Iterable[T], do: Callable[[T], Awaitable[R]]) -> AsyncIterator[R]:
    """Do it with each, a few at the same time; give what came of it in order."""
    waiting = iter(things)
    doing: list[asyncio.Future[R]] = []
    try:
        while True:
            while len(doing) < _AT_ONCE and (one := next(waiting, None)) is not None:
                doing.append(asyncio.ensure_future(do(one)))
            if not doing:
                return
            yield await doing.pop(0)
    finally:
        for one_doing in doing:
            one_doing.cancel()
