"""The end of a finished run's storage: timers, wakes, start, journal, in this order, the journal last.

What is left are two tombstones, which the server removes after `limits.tombstone_s`. One stands where the fence of
starts sees it: a late start of this id is refused. The other stands on the journal's subject: a wake or a timer that
was under way, and a zombie's append, find it and do nothing. Each step is idempotent, so a retirement that was
interrupted is simply done again.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress

from relight.actors.door import Door
from relight.actors.journal import read_tail
from relight.actors.starts import StoredStart, read_start
from relight.config.limits import LIMITS
from relight.errors import FencedError, RefusedError, RunNotFoundError
from relight.subjects import records as r
from relight.subjects.codec import encode
from relight.subjects.grammar import RETIRED, Subjects
from relight.subjects.turn import VERSION, Tombstone, hash_of

__all__ = ("retire",)


async def retire(door: Door, subjects: Subjects, run: str) -> None:
    """Remove what is stored of a finished run, and leave a tombstone. Repeating it is harmless.

    Raises:
        RunNotFoundError: Nothing is stored of it.
        RefusedError: It has not ended. Nothing was removed.
        UnavailableError: No answer in time. Do it again.
    """
    tail, start = await asyncio.gather(read_tail(door, subjects.log(run)), read_start(door, subjects, run))
    if tail is None:
        if start is None:
            raise RunNotFoundError(run)
        raise RefusedError(f"run {run!r} has not begun; only finished runs are retired")
    last, turn = tail
    if isinstance(turn, Tombstone):
        await _clear(door, subjects, run, start, last.data, has_waited=True)
        return
    if not isinstance(turn.records[-1], r.ENDS):
        raise RefusedError(f"run {run!r} has not ended; only finished runs are retired")
    tombstone = encode(Tombstone(VERSION, turn.number + 1, door.clock.now_ms(), hash_of(last.data)))
    # Who ends a run under the lease of its start, without having read a message, has never armed a timer.
    has_waited = start is None or turn.lease != start.sequence or turn.epoch > 1 or turn.cursor > 0
    await _clear(door, subjects, run, start, tombstone, has_waited=has_waited)
    try:
        await door.entomb(subjects.log(run), tombstone, fence=last.sequence, ttl_s=LIMITS.tombstone_s)
    except FencedError as error:
        tail = await read_tail(door, subjects.log(run))
        if tail is None or not isinstance(tail[1], Tombstone):
            raise RefusedError(f"run {run!r} was written to while it was retired; retire it again") from error


async def _clear(
    door: Door, subjects: Subjects, run: str, start: StoredStart | None, tombstone: bytes, *, has_waited: bool
) -> None:
    if start is None:
        return
    retired = subjects.start(RETIRED, run)
    wakes = subjects.wake(start.queue, run)
    # The id stays taken longer than the journal's tombstone stands: what may be started may also run.
    ttl_s = LIMITS.tombstone_s + 60
    if has_waited and await door.last(subjects.timers(run)) is not None:
        await door.purge(subjects.timers(run))
    if await door.last(wakes) is not None:
        await door.purge(wakes)
    with suppress(FencedError):  # It stands already.
        await door.entomb(retired, tombstone, fence=0, ttl_s=ttl_s)
    await door.purge(start.subject)
