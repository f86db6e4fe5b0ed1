"""The journal of one run: fenced appends whose outcome is always found out, and a chain that is checked on reading.

Why nothing is written twice: each append carries an id that exists once. When its outcome is unknown the last message
is read from the stream's leader and its append id compared before the same bytes are sent again, under the same fence.
If the first attempt arrives after all, the second one is refused, and the last message says that it was ours.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

from msgspec import Struct

from relight.actors.backoff import Backoff, while_held
from relight.actors.door import Door, Seal, Stored
from relight.actors.run.parting import Consumed, cursor_at, cuts_of, within
from relight.config.limits import LIMITS
from relight.errors import FencedError, PayloadTooLargeError, ProtocolError, UnavailableError
from relight.subjects.codec import decode_turn, encode, is_of_later_version
from relight.subjects.records import Record, RunStarted
from relight.subjects.references import PREFIX
from relight.subjects.turn import GENESIS, VERSION, Tombstone, Turn, hash_of, opens_history

__all__ = (
    "BrokenChainError",
    "Displaced",
    "History",
    "Journal",
    "Page",
    "Tail",
    "Unfit",
    "checked",
    "not_open",
    "read_history",
    "read_pages",
    "read_tail",
    "readable",
)


_PAGE_TURNS = 250
"""Read at a time: few enough to be checked and replayed while the server looks for the next ones."""


class Displaced(Exception):
    """Another append stands where ours should: this owner's view is over. `tail` is what stands there."""

    def __init__(self, tail: Turn | Tombstone | None) -> None:
        super().__init__("another owner has appended")
        self.tail = tail


class Unfit(Exception):
    """A message is larger than the server takes: so it will be at each later try."""


class BrokenChainError(Exception):
    """The stored history has a gap, a break, or a message that can't be read. Nothing after it is believed."""


class Tail(Struct, frozen=True, gc=False):
    """The end of a journal, as far as the next append needs it. Sequence 0 and number 0: nothing is stored."""

    # A Struct, because one is made for each turn that is read, and a frozen dataclass takes six times as long.
    sequence: int = 0
    number: int = 0
    hash: str = GENESIS
    at_ms: int = 0
    epoch: int = 0


_NOTHING = Tail()


@dataclass(frozen=True, slots=True)
class History:
    """The turns of a journal, proven to be complete and unbroken: all, or those from the last `Continued` on."""

    turns: tuple[Turn, ...]
    tail: Tail
    bytes: int = 0

    @property
    def started(self) -> RunStarted:
        """What the run was started or continued with. Raises `BrokenChainError` if it does not say."""
        for record in self.turns[0].records:
            if isinstance(record, RunStarted):
                return record
        raise BrokenChainError("the first turn is no start")


class Journal:
    """Appends turns of one run in the name of one owner and epoch.

    Attributes:
        tail: The last turn.
        opened: Sequence of the last turn appended here that opens a history; 0: none.
        bytes: Of the history, as stored.
        cursor: Up to where the turns have consumed the mailbox.
    """

    __slots__ = (
        "_door",
        "_is_held",
        "_new_append_id",
        "_owner",
        "_subject",
        "bytes",
        "cursor",
        "opened",
        "tail",
    )

    def __init__(
        self,
        door: Door,
        subject: str,
        *,
        owner: str,
        new_append_id: Callable[[], str],
        tail: Tail,
        bytes: int = 0,
        cursor: int = 0,
        is_held: bool = False,
    ) -> None:
        self._door = door
        self._is_held = is_held
        self._subject = subject
        self._owner = owner
        self._new_append_id = new_append_id
        self.tail = tail
        self.opened = 0
        self.bytes = bytes
        self.cursor = cursor

    async def append(
        self,
        records: Sequence[Record],
        *,
        epoch: int,
        lease: int,
        cursor: int,
        at_ms: int,
        family: bool = False,
        values: bool = False,
        consumed: Sequence[Consumed] = (),
        before: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        """Append `records` as one turn, or as several if one message can't hold them.

        Waits as long as it takes: with back-off while the server is away or can't store, and, where the run is held,
        while its data key is not at hand. Of several parts each carries the cursor up to which its records, and those
        before, have `consumed` the mailbox; the last one `cursor`. What opens a history must fit into one message.
        `before` is awaited when a first message is ready to be sent, and fits.

        Raises:
            Displaced: Another owner has appended. Of several messages, those before it were written.
            Unfit: A message is larger than the server takes. Of several, those before it were written.
            SealedError: The run is sealed, and its data key is not at hand here, or was destroyed.
        """
        tail, seal = self.tail, self._door.seal
        turn = Turn(
            v=VERSION,
            number=tail.number + 1,
            append=self._new_append_id(),
            owner=self._owner,
            epoch=epoch,
            lease=lease,
            at_ms=at_ms,
            previous=tail.hash,
            records=tuple(records),
            cursor=cursor,
            family=family,
            values=values,
        )
        data, refused = await self._stored(seal, encode(turn))
        if refused is None and len(data) > self._door.payload_bytes_max:
            refused = PayloadTooLargeError("a turn", size_bytes=len(data), limit_bytes=self._door.payload_bytes_max)
        if len(data) > LIMITS.turn_bytes_max and not opens_history(turn):
            cuts = cuts_of(records, LIMITS.turn_bytes_max // (1 if seal is None else 3), consumed)
            known = (Consumed(0, 0, self.cursor), *consumed)
            for begin, end in pairwise((0, *cuts) if len(cuts) > 1 else ()):
                await self.append(
                    records[begin:end],
                    epoch=epoch,
                    lease=lease,
                    cursor=cursor if end == len(records) else cursor_at(end, known),
                    at_ms=at_ms,
                    family=family,
                    values=values,
                    consumed=within(begin, end, consumed),
                    before=None if begin else before,
                )
            if len(cuts) > 1:
                return
        if refused is not None:
            raise Unfit(str(refused)) from refused
        if before is not None:
            await before()
        try:
            sequence = await self._door.publish(self._subject, data, fence=tail.sequence)
        except (FencedError, UnavailableError):
            sequence = await self._found_or_written(turn.append, data)
        except PayloadTooLargeError as error:
            raise Unfit(str(error)) from error
        self.tail = Tail(sequence, turn.number, hash_of(data), at_ms, epoch)
        self.cursor = cursor
        self.bytes += len(data)
        if opens_history(turn):
            self.opened = sequence
            self.bytes = len(data)

    async def _stored(self, seal: Seal | None, data: bytes) -> tuple[bytes, PayloadTooLargeError | None]:
        """Return a turn as it is stored; or as it is, and why: however small it became, nobody would open it."""
        try:
            return data if seal is None else await self._sealed(seal, data), None
        except PayloadTooLargeError as error:
            return data, error

    async def _sealed(self, seal: Seal, data: bytes) -> bytes:
        if self._is_held:
            return await while_held(self._door.clock, lambda: seal.sealed(self._subject, data))
        backoff = Backoff(self._door.clock, LIMITS.append_retry_s, LIMITS.append_retry_max_s)
        while True:
            try:
                return await seal.sealed(self._subject, data)
            except UnavailableError:
                await backoff.wait()

    async def _found_or_written(self, append_id: str, data: bytes) -> int:
        """After a first try whose outcome is unknown."""
        backoff = Backoff(self._door.clock, LIMITS.append_retry_s, LIMITS.append_retry_max_s)
        while True:
            sequence = await self._found(append_id, backoff)
            if sequence is not None:
                return sequence
            await backoff.wait()
            try:
                return await self._door.publish(self._subject, data, fence=self.tail.sequence)
            except (FencedError, UnavailableError):
                continue  # It is looked for again.

    async def _found(self, append_id: str, backoff: Backoff) -> int | None:
        """Return the sequence of the append if the last message is ours; None if nothing came between."""
        while True:
            try:
                last = await self._door.last(self._subject)
                break
            except UnavailableError:
                await backoff.wait()
        if (last.sequence if last else 0) == self.tail.sequence:
            return None
        turn = decode_turn(last.data) if last else None
        if last is not None and isinstance(turn, Turn) and turn.append == append_id:
            return last.sequence
        raise Displaced(turn)


def readable(stored: Stored | None) -> Turn | None:
    """Return the turn of a message that may be damaged; None if it is, or is none."""
    try:
        turn = None if stored is None else decode_turn(stored.data)
    except ProtocolError:
        return None
    return turn if isinstance(turn, Turn) else None


async def read_tail(door: Door, subject: str) -> tuple[Stored, Turn | Tombstone] | None:
    """Return the last message of a journal from the leader, and what it says; None if there is none.

    Raises:
        UnavailableError: The leader was not reached.
        ProtocolError: The message can't be read.
    """
    last = await door.last(subject)
    return None if last is None else (last, decode_turn(last.data))


class Page(NamedTuple):
    """Some turns that follow each other, and the tail behind them.

    Attributes:
        turns: Those from the last `Continued` on, if there is one.
        bytes: As stored.
        opened: Sequence of that `Continued`: what was read before it does not count. 0: there is none.
        has_older: The page had turns before it.
        may_refer: Values of these turns, or of those before them, may be stored apart.
    """

    turns: list[Turn]
    tail: Tail
    bytes: int
    opened: int = 0
    has_older: bool = False
    may_refer: bool = False


async def read_pages(door: Door, subject: str, last: Stored, *, after: Tail = _NOTHING) -> AsyncGenerator[Page]:
    """Iterate over the turns behind `after` up to `last`, which came from the leader: nothing is missing.

    Or beyond it, if the run was continued meanwhile and `last` removed. At most one page more than the one in use is
    in memory.

    Raises:
        BrokenChainError: There is a gap, a break, or an unreadable message.
        ProtocolError: A message is of a later protocol version.
        UnavailableError: The server was not reached.
    """
    tail = after
    reading: asyncio.Task[list[Stored]] | None = None
    try:
        while tail.sequence < last.sequence:
            stored = await (reading or _page(door, subject, tail.sequence, last))
            if not stored:
                raise BrokenChainError(f"message {last.sequence} of {subject} has vanished")
            if stored[-1].sequence < last.sequence:
                # The server looks for the next page while this one is checked.
                reading = asyncio.create_task(_page(door, subject, stored[-1].sequence, last))
                await asyncio.sleep(0)
            page = checked(stored, tail, last)
            tail = page.tail
            yield page
    finally:
        if reading is not None and not reading.cancel() and not reading.cancelled():
            reading.exception()  # Looked at: whoever stopped reading does not miss the page.


def checked(stored: Sequence[Stored], tail: Tail, last: Stored) -> Page:
    """Return the turns in these messages, up to `last`, which follow `tail`. Raises `BrokenChainError`."""
    turns: list[Turn] = []
    size = opened = 0
    has_older = may_refer = False
    sequence, number, hash = tail.sequence, tail.number, tail.hash
    for one in stored:
        sequence = one.sequence
        turn = _following(one, number, hash)
        number, raw = turn.number, one.as_stored
        hash = hash_of(raw)
        may_refer = may_refer or PREFIX in one.data
        if opens_history(turn):
            may_refer = True
            has_older = has_older or bool(turns)
            opened, size = sequence, 0
            turns.clear()
        turns.append(turn)
        size += len(raw)
        if sequence == last.sequence:
            break
    turn = turns[-1]
    return Page(turns, Tail(sequence, number, hash, turn.at_ms, turn.epoch), size, opened, has_older, may_refer)


def not_open(missing: KeyError) -> BrokenChainError:
    """Return what is wrong with a history of which `RunState.apply` has missed a step."""
    return BrokenChainError(f"a record is about step {str(missing.args[0])[:80]!r}, which is not open")


async def read_history(door: Door, subject: str, last: Stored) -> History:
    """Return all turns up to `last`. For who needs them all at once; raises like `read_pages`."""
    turns: list[Turn] = []
    tail = Tail()
    size = 0
    async for page in read_pages(door, subject, last):
        if page.opened:
            turns.clear()
            size = 0
        turns += page.turns
        tail = page.tail
        size += page.bytes
    return History(tuple(turns), tail, size)


async def _page(door: Door, subject: str, after: int, last: Stored) -> list[Stored]:
    if after == 0 and b'"number":1,' in last.data[:64]:
        return [last]
    page = await door.read(subject, after=after, limit=_PAGE_TURNS)
    if page:
        return page
    # A replica may lag behind; the leader knows.
    following = await door.next(subject, after=after)
    return [] if following is None else [following]


def _following(stored: Stored, number: int, hash: str) -> Turn:
    """Return the turn in a message, which follows that of this number and hash."""
    try:
        turn = decode_turn(stored.data)
    except ProtocolError as error:
        if is_of_later_version(stored.data):
            raise
        raise BrokenChainError(f"turn {number + 1} (sequence {stored.sequence}): {error}") from error
    if not isinstance(turn, Turn):
        raise BrokenChainError(f"sequence {stored.sequence} is a tombstone inside a history")
    # Those before a turn that opens a history are removed, at any moment, also while this reads.
    is_next = turn.number == number + 1
    if not is_next and not (opens_history(turn) and turn.number > number):
        raise BrokenChainError(f"turn {turn.number} (sequence {stored.sequence}) follows turn {number}")
    if is_next and turn.previous != hash:
        raise BrokenChainError(f"turn {turn.number} (sequence {stored.sequence}) does not follow the turn before it")
    return turn
