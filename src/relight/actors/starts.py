"""The start of a run as it is stored, in whichever queue."""

from __future__ import annotations

from dataclasses import dataclass

from msgspec.structs import replace

from relight.actors.door import Delivery, Door, Stored
from relight.errors import UnavailableError
from relight.subjects.codec import decode_start
from relight.subjects.grammar import RETIRED, StartSubject, Subjects, parse
from relight.subjects.records import RunStarted

__all__ = ("StoredStart", "is_current", "read_seal", "read_start", "refused_by", "start_in")


@dataclass(frozen=True, slots=True)
class StoredStart:
    """A start that holds its id. `sealed` says how, if it could not be opened here."""

    subject: str
    run: str
    started: RunStarted
    stored_at_ms: int
    sequence: int
    sealed: str = ""

    @property
    def queue(self) -> str:
        return self.started.queue


async def read_start(door: Door, subjects: Subjects, run: str) -> StoredStart | None:
    """Return the start of a run, as the leader has it; None if there is none, or the run was retired.

    Raises:
        UnavailableError: The leader was not reached.
        ProtocolError: The start can't be read.
    """
    stored = await door.last(subjects.start_any_queue(run))
    return None if stored is None else start_in(stored)


async def refused_by(door: Door, subjects: Subjects, run: str) -> StoredStart | None:
    """Return the start that stands in another one's way; None if what does says that the run was retired.

    Raises:
        UnavailableError: None is stored yet: the server refuses for one that is under way, too, and may yet be lost.
    """
    stored = await door.last(subjects.start_any_queue(run))
    if stored is None:
        raise UnavailableError(f"the start of run {run!r} was refused, and none is stored yet")
    return start_in(stored)


async def read_seal(door: Door, subjects: Subjects, run: str) -> str | None:
    """Return what the start of a run says in `sealed`, which needs no key; None if there is no start.

    Raises like `read_start`.
    """
    every = subjects.start_any_queue(run)
    # As it is stored. Who answers may lag: that there is none only the leader may say.
    stored = next(reversed(await door.latest((every,))), None) or await door.last(every)
    start = None if stored is None else start_in(replace(stored, data=stored.as_stored))
    return None if start is None else start.sealed


async def is_current(door: Door, subjects: Subjects, run: str, lease: Delivery | None) -> bool:
    """Whether the run of this id still is the one that the start in `lease` began. Raises like `read_start`."""
    if lease is None or lease.is_new(door.clock.now_ms()):
        return True
    start = await read_start(door, subjects, run)
    return start is not None and start.sequence == lease.sequence


def start_in(stored: Stored) -> StoredStart | None:
    """Return the start in a stored message; None if it says that the run was retired. Raises `ProtocolError`."""
    subject = parse(stored.subject)
    if not isinstance(subject, StartSubject) or subject.queue == RETIRED:
        return None
    start = decode_start(stored.data)
    return StoredStart(
        stored.subject, subject.run, start.run, stored.stored_at_ms, stored.sequence, sealed=start.sealed
    )
