"""The end of a finished run's storage: timers, wakes, start, journal, in this order, the journal last.

What is left is a tombstone on the journal's subject, which the server removes after `limits.tombstone_s`: a late start,
wake or timer, and a zombie's append, find it and do nothing. Each step is idempotent, so a retirement that was
interrupted is simply done again.
"""

from __future__ import annotations

from relight.actors.door import Door
from relight.actors.journal import read_tail
from relight.config.limits import LIMITS
from relight.errors import FencedError, RefusedError, RunNotFoundError
from relight.subjects import records as r
from relight.subjects.codec import encode
from relight.subjects.grammar import StartSubject, Subjects, parse
from relight.subjects.turn import VERSION, Tombstone, hash_of

__all__ = ("retire",)


async def retire(door: Door, subjects: Subjects, run: str) -> None:
    """Remove what is stored of a finished run, and leave a tombstone. Repeating it is harmless.

    Raises:
        RunNotFoundError: Nothing is stored of it.
        RefusedError: It has not ended. Nothing was removed.
        UnavailableError: No answer in time. Do it again.
    """
    start = await door.last(subjects.start_any_queue(run))
    tail = await read_tail(door, subjects.log(run))
    if tail is None:
        if start is None:
            raise RunNotFoundError(run)
        raise RefusedError(f"run {run!r} has not begun; only finished runs are retired")
    last, turn = tail
    if isinstance(turn, Tombstone):
        await _clear(door, subjects, run, start.subject if start is not None else None, has_timers=True)
        return
    if not isinstance(turn.records[-1], r.ENDS):
        raise RefusedError(f"run {run!r} has not ended; only finished runs are retired")
    # A run of one turn that consumed nothing never let its lease go, so that it never armed a timer.
    has_timers = turn.number > 1 or turn.cursor > 0
    await _clear(door, subjects, run, start.subject if start is not None else None, has_timers=has_timers)
    tombstone = Tombstone(VERSION, turn.number + 1, door.clock.now_ms(), hash_of(last.data))
    try:
        await door.entomb(subjects.log(run), encode(tombstone), fence=last.sequence, ttl_s=LIMITS.tombstone_s)
    except FencedError as error:
        tail = await read_tail(door, subjects.log(run))
        if tail is None or not isinstance(tail[1], Tombstone):
            raise RefusedError(f"run {run!r} was written to while it was retired; retire it again") from error


async def _clear(door: Door, subjects: Subjects, run: str, start: str | None, *, has_timers: bool) -> None:
    if has_timers:
        await door.purge(subjects.timers(run))
    if start is not None:
        named = parse(start)
        assert isinstance(named, StartSubject), "stored under a start's subject"
        await door.purge(subjects.wake(named.queue, run))
        await door.purge(start)
