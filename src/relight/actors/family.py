"""What the end of a run means for its parent and its children.

Told after the append of the end was acknowledged and before the lease is let go, so that no crash can come between:
who is given the lease again finds the end and tells it again. Telling it twice is harmless: a parent counts each child
once, and a child that is cancelled already stays so.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress

import structlog

from relight.actors.door import Clock, Door, KeyDestroyedError
from relight.actors.journal import read_tail
from relight.actors.run.state import Child, RunState
from relight.actors.starts import read_start
from relight.actors.values import copy
from relight.config.limits import LIMITS
from relight.errors import ProtocolError, SealedError
from relight.subjects import records as r
from relight.subjects.codec import encode
from relight.subjects.grammar import Subjects
from relight.subjects.messages import ChildOver, ParentOver
from relight.subjects.references import references_in
from relight.subjects.turn import Tombstone

__all__ = ("CLOSES", "has_family", "is_orphan", "may_be_orphan", "tell_family", "tell_parent")

log = structlog.get_logger("relight")

CLOSES = ("cancel", "detach", "wait")
"""What becomes of a child whose parent ends before it."""


def has_family(state: RunState) -> bool:
    return bool(state.children) or (state.started is not None and state.started.parent is not None)


async def tell_family(door: Door, subjects: Subjects, run: str, state: RunState) -> None:
    """Tell the parent of a run that has ended how, and its children that they are to stop.

    Raises:
        UnavailableError: Somebody may not have been told. Repeat it.
    """
    tellings = [_stop(door, subjects, run, one, state.end) for one in state.children.values() if one.close != "detach"]
    if state.started is not None and state.started.parent is not None:
        tellings.append(tell_parent(door, subjects, run, state.started, state.end))
    await asyncio.gather(*tellings)


async def tell_parent(door: Door, subjects: Subjects, run: str, started: r.RunStarted, end: r.End | None) -> None:
    """Tell the parent of a child how it has ended. Raises `UnavailableError`."""
    assert started.parent is not None, "a child"
    assert end is not None, "that has ended"
    if references_in(end) and await _may_read(door, subjects, started.parent):
        try:
            with suppress(KeyDestroyedError):  # Nobody will ever read what is stored for this parent.
                await copy(door, subjects, end, source=run, target=started.parent)  # The child may be retired first.
        except SealedError:
            raise  # It is told again when the parent's key is there.
        except ProtocolError as error:
            # The parent will miss it, and say so; if it were not told, it would wait for ever.
            log.error("value_damaged", run=run, error=str(error))
    await door.publish(subjects.wake(started.parent_queue, started.parent), encode(ChildOver(child=run, end=end)))


def may_be_orphan(started: r.RunStarted, clock: Clock) -> bool:
    """Whether the start is so old that its sender may have lost the parent, and the parent have ended, meanwhile."""
    return started.asked_ms > 0 and clock.now_ms() - started.asked_ms > LIMITS.ack_wait_s * 500


async def is_orphan(door: Door, subjects: Subjects, started: r.RunStarted) -> bool:
    """Whether the parent of a child that may not outlive it has ended. Raises `UnavailableError`, `ProtocolError`."""
    if started.parent is None or not may_be_orphan(started, door.clock):
        return False
    return await _has_ended(door, subjects, started.parent)


async def _may_read(door: Door, subjects: Subjects, run: str) -> bool:
    """Whether a parent may still read what it is told; what is stored for one that was retired, nobody removes."""
    try:
        return not await _has_ended(door, subjects, run)
    except ProtocolError:
        return True


async def _has_ended(door: Door, subjects: Subjects, run: str) -> bool:
    tail = await read_tail(door, subjects.log(run))
    if tail is None:
        return await read_start(door, subjects, run) is None
    return isinstance(tail[1], Tombstone) or isinstance(tail[1].records[-1], r.ENDS)


async def _stop(door: Door, subjects: Subjects, run: str, child: Child, end: r.End | None) -> None:
    message = encode(ParentOver(parent=run, terminates=isinstance(end, r.RunTerminated)))
    await door.publish(subjects.wake(child.queue, child.id), message)
