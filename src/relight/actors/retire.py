"""The end of a finished run's storage: timers, wakes, start, journal, in this order, the journal last.

What is left are two tombstones, which the server removes after `limits.tombstone_s`. One stands where the fence of
starts sees it: a late start of this id is refused. The other stands on the journal's subject: a wake or a timer that
was under way, and a zombie's append, find it and do nothing. Each step is idempotent, so a retirement that was
interrupted is simply done again.

A retirement is a share of one read and three writes, because it must not cost more than the run did. What is read for
many runs at once may come from a replica that lags. That an end stands there is true all the same: a stream's messages
become visible in their order, and nothing follows an end but a tombstone. With the end everything shows that was stored
before it, so what does not show was never there, or came later: such a wake is purged by whoever gets it. That there is
*no* end is only believed of the leader.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from msgspec.structs import replace

from relight.actors.door import Door, Stored
from relight.actors.family import tell_family
from relight.actors.journal import BrokenChainError, read_tail
from relight.actors.reading import read
from relight.actors.values import remove_all
from relight.config.limits import LIMITS
from relight.errors import FencedError, RefusedError, RelightError, RunNotFoundError, UnavailableError
from relight.subjects import records as r
from relight.subjects.codec import decode_start, decode_turn, encode
from relight.subjects.envelope import check_open, header_in
from relight.subjects.grammar import RETIRED, Subjects
from relight.subjects.references import PREFIX
from relight.subjects.turn import COPIED_EPOCH, VERSION, Tombstone, Turn, hash_of

__all__ = ("retire", "retire_each")

_PAGE = 500
_START_TTL_S = LIMITS.tombstone_s + 60
"""The id stays taken longer than the journal's tombstone stands: what may be started may also run."""


@dataclass(slots=True)
class _Remains:
    """What is stored of one run: the end of its journal, its start, the last message of its mailbox."""

    log: Stored | None = None
    start: Stored | None = None
    wake: Stored | None = None

    def take(self, stored: Stored) -> None:
        match stored.subject.split("."):
            case [_, _, "log", *_]:
                self.log = stored
            case [_, _, "wake", *_]:
                self.wake = stored
            case [_, _, _, _, queue, _] if queue != RETIRED:
                self.start = stored
            case _:
                pass  # The tombstone where the start was.

    def tail(self) -> Turn | Tombstone | None:
        return None if self.log is None else decode_turn(self.log.data)


async def retire(door: Door, subjects: Subjects, run: str) -> None:
    """Remove what is stored of a finished run, or of a fork that was never started, and leave a tombstone.

    Repeating it is harmless.

    Raises:
        RunNotFoundError: Nothing is stored of it.
        RefusedError: It has not ended. Nothing was removed.
        UnavailableError: No answer in time. Do it again.
    """
    for error in (await retire_each(door, subjects, (run,))).values():
        raise error


async def retire_each(door: Door, subjects: Subjects, runs: Sequence[str]) -> dict[str, RelightError]:
    """Retire these runs together, which is cheaper; return why those that are left could not be, as `retire` raises.

    Takes `limits.retirements_at_once` at a time.

    Raises:
        UnavailableError: They could not be read. Do it again.
    """
    left: dict[str, RelightError] = {}
    for first in range(0, len(runs), LIMITS.retirements_at_once):
        group = runs[first : first + LIMITS.retirements_at_once]
        remains = await _read(door, subjects, group)
        outcomes = await asyncio.gather(*(_retire(door, subjects, run, remains[run]) for run in group))
        left.update((run, error) for run, error in zip(group, outcomes, strict=True) if error is not None)
    return left


# Reading.


async def _read(door: Door, subjects: Subjects, runs: Sequence[str]) -> dict[str, _Remains]:
    filters = [filter for run in runs for filter in _filters(subjects, run)]
    remains = {run: _Remains() for run in runs}
    for stored in await door.latest(filters):
        remains[stored.subject.rsplit(".", 1)[1]].take(stored)
    return remains


async def _read_from_leader(door: Door, subjects: Subjects, run: str) -> _Remains:
    remains = _Remains()
    for stored in await door.last_of_each(_filters(subjects, run)):
        if stored is not None:
            remains.take(stored)
    return remains


def _filters(subjects: Subjects, run: str) -> tuple[str, str, str]:
    return subjects.log(run), subjects.start_any_queue(run), subjects.wake_any_queue(run)


# Removing.


async def _retire(door: Door, subjects: Subjects, run: str, remains: _Remains) -> RelightError | None:
    try:
        tail = remains.tail()
        if not _is_over(tail):
            remains = await _read_from_leader(door, subjects, run)
            tail = remains.tail()
        await _remove(door, subjects, run, remains, tail)
    except RelightError as error:
        return error
    return None


async def _remove(door: Door, subjects: Subjects, run: str, remains: _Remains, tail: Turn | Tombstone | None) -> None:
    last = remains.log
    if last is None or tail is None:
        if remains.start is None:
            raise RunNotFoundError(run)
        raise RefusedError(f"run {run!r} has not begun; only finished runs are retired")
    if not _is_over(tail) and not _is_unfinished_copy(tail, remains):
        raise RefusedError(f"run {run!r} has not ended; only finished runs are retired")
    if isinstance(tail, Tombstone):
        await _clear(door, subjects, run, remains, last.data, has_waited=True)
        return
    if tail.family:
        await _tell_family(door, subjects, run, last)
    is_copy = not _is_over(tail)
    has_values = tail.values or (remains.wake is not None and (tail.sealed != "" or PREFIX in remains.wake.data))
    if is_copy:
        has_values = await _has_references(door, subjects.log(run))
    else:
        await _remove_apart(door, subjects, run, tail, has_values=has_values)
    tombstone = encode(Tombstone(VERSION, tail.number + 1, door.clock.now_ms(), hash_of(last.as_stored)))
    await _clear(door, subjects, run, remains, tombstone, has_waited=_has_waited(tail, remains.start))
    retired = await _entomb(door, subjects, run, last, tombstone)
    if is_copy:  # Not before it is certain that nobody completes it.
        await _remove_apart(door, subjects, run, tail, has_values=has_values)
    if tail.family and remains.start is not None:
        # What its family told it after its end was left in its mailbox.
        started = decode_start(remains.start.data).run
        await door.purge(subjects.wake(started.queue, run), below=retired)


async def _entomb(door: Door, subjects: Subjects, run: str, last: Stored, tombstone: bytes) -> int:
    """Replace the journal by a tombstone, and return its sequence."""
    try:
        return await door.entomb(subjects.log(run), tombstone, fence=last.sequence, ttl_s=LIMITS.tombstone_s)
    except FencedError as error:
        now = await read_tail(door, subjects.log(run))
        if now is None or not isinstance(now[1], Tombstone):
            raise RefusedError(f"run {run!r} was written to while it was retired; retire it again") from error
        return now[0].sequence


async def _tell_family(door: Door, subjects: Subjects, run: str, last: Stored) -> None:
    """The message that would have told it once more, after its owner had died, is about to be removed."""
    seal = door.seal
    if seal is not None:
        last = replace(last, data=await seal.opened(last.subject, last.data), raw=last.data)
    turn = decode_turn(last.data)
    assert isinstance(turn, Turn), "it was found before"
    if turn.sealed and not await _has_key(door, subjects, run, turn.sealed):
        return  # A retirement that was interrupted has told them: afterwards it has destroyed the key.
    check_open(turn, run)
    try:
        state = (await read(door, subjects.log(run), last)).state
    except BrokenChainError as error:
        raise RefusedError(f"run {run!r} is corrupt: {error}") from error
    await tell_family(door, subjects, run, state)


async def _remove_apart(door: Door, subjects: Subjects, run: str, tail: Turn, *, has_values: bool) -> None:
    if has_values:
        await remove_all(door, subjects, run)
    if tail.sealed:
        await _destroy_key(door, subjects, run, tail.sealed)


async def _has_references(door: Door, log: str) -> bool:
    """Whether a copied history has values that are stored apart; that of a sealed one is not looked into."""
    after = 0
    while page := await door.read(log, after=after, limit=_PAGE):
        if any(PREFIX in one.data or b'"sealed":"' in one.data for one in page):
            return True
        after = page[-1].sequence
    return False


async def _destroy_key(door: Door, subjects: Subjects, run: str, sealed: str) -> None:
    """Not any other: the id may have been started again."""
    name = header_in(sealed)[1]
    if name != "-" and await door.last(subjects.key(run, name)) is not None:
        await door.purge(subjects.key(run, name))


async def _has_key(door: Door, subjects: Subjects, run: str, sealed: str) -> bool:
    """Whether the data key is stored by which it was sealed, if one is needed."""
    name = header_in(sealed)[1]
    stored = None if name == "-" else await door.last(subjects.key(run, name))
    return name == "-" or (stored is not None and bool(stored.data))  # Empty: it was deleted as from any bucket.


async def _clear(
    door: Door, subjects: Subjects, run: str, remains: _Remains, tombstone: bytes, *, has_waited: bool
) -> None:
    start, log = remains.start, remains.log
    if start is None or log is None:
        return
    # Only what was seen is removed: who stood still for long would remove what the next run of this id has.
    if has_waited:
        await door.purge(subjects.timers(run), below=log.sequence)
    if remains.wake is not None:
        await door.purge(remains.wake.subject, below=remains.wake.sequence + 1)
    every, fence = subjects.start_any_queue(run), start.sequence
    try:
        await door.entomb(subjects.start(RETIRED, run), tombstone, fence=fence, fence_subject=every, ttl_s=_START_TTL_S)
    except FencedError as error:
        last = await door.last(every)
        if last is not None and last.sequence == fence:
            raise UnavailableError(f"run {run!r} was being started again") from error  # That will be refused.
        # It stands already.
    await door.remove(start.subject, fence)


def _is_over(tail: Turn | Tombstone | None) -> bool:
    return isinstance(tail, Tombstone) or (tail is not None and isinstance(tail.records[-1], r.ENDS))


def _is_unfinished_copy(tail: Turn | Tombstone, remains: _Remains) -> bool:
    """Whether a client died while it copied a fork's history. One that only stands still is refused when it goes on."""
    return isinstance(tail, Turn) and tail.epoch == COPIED_EPOCH and remains.start is None


def _has_waited(tail: Turn, start: Stored | None) -> bool:
    """Who ends a run under the lease of its start, without having read a message, has never armed a timer."""
    return start is None or tail.lease != start.sequence or tail.epoch > 1 or tail.cursor > 0
