"""A client's side of a run: what it reads of it, and what it puts into its mailbox."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import final

from msgspec import Raw

from relight.actors.door import Door, Stored
from relight.actors.journal import BrokenChainError, Page, Tail, read_pages
from relight.actors.mailbox import decoded, decoded_if_open
from relight.actors.reading import Reading, read
from relight.actors.run.awakeables import was_made
from relight.actors.run.inbox import receive
from relight.actors.run.length import check_takes_messages
from relight.actors.run.state import RunState, fold
from relight.actors.starts import StoredStart, read_start
from relight.actors.values import filled
from relight.config.limits import LIMITS
from relight.errors import (
    AlreadyAnsweredError,
    FencedError,
    InvalidIdError,
    MailboxFullError,
    ProtocolError,
    RefusedError,
    RunEndedError,
    RunNotFoundError,
    SealedError,
    UnavailableError,
)
from relight.subjects import messages as m
from relight.subjects import records as r
from relight.subjects.codec import decode_turn, encode
from relight.subjects.envelope import envelope_of
from relight.subjects.grammar import Subjects
from relight.subjects.references import is_reference
from relight.subjects.turn import Tombstone, Turn

__all__ = ("Letterbox", "Sight", "check_one_answer", "how_children_stand")

_LOOK_AGAIN_S = 0.5
"""Between two looks at a history that is followed."""


@dataclass(frozen=True, kw_only=True)
class Sight:
    """How a run stands, as far as it is stored.

    Attributes:
        state: What its history amounts to; of a run that has not begun: its start.
        tail: Its last turn, None before the first.
        unread: Messages in its mailbox that it has not consumed.
        bytes: Size of its history.
        has_unread_cancel: Whether a cancel is among the unread messages.
    """

    run: str
    state: RunState
    tail: Turn | None
    unread: int
    bytes: int
    has_unread_cancel: bool = False


_CHILDREN_SHOWN = 10
"""Of those for which a run waits; each is a look at its history."""

Decode = Callable[[str, bytes], m.Wake | None]

Relieve = Callable[[m.Wake], Awaitable[m.Wake]]
"""Stores the large values of a message for its run, and returns what is sent in its place."""


async def as_it_is(wake: m.Wake) -> m.Wake:
    """For a message that has no values."""
    return wake


@final
class Letterbox:
    """Reads one run and writes to its mailbox."""

    def __init__(self, door: Door, subjects: Subjects, run: str, *, queue: str = "") -> None:
        self._door = door
        self._subjects = subjects
        self._run = run
        self._queue = queue
        self._sealed = ""

    # Reading.

    async def look(self) -> Sight:
        """Return how the run stands; its end as the leader has it.

        Raises:
            RunNotFoundError: Neither start nor journal is stored.
            UnavailableError: The leader was not reached.
        """
        start = await self._start()
        history = await self._history()
        if history.last is None:
            history.state.apply(start.started, start.stored_at_ms)
            history.state.is_begun = False
        elif history.state.started is None:
            # Its history is corrupt, but not what it was started with.
            history.state.started, history.state.is_begun = start.started, True
        await self._fill(history.state)
        unread = await self._unread(history.last.cursor if history.last is not None else 0)
        return Sight(
            run=self._run,
            state=history.state,
            tail=history.last,
            unread=len(unread),
            bytes=history.bytes,
            has_unread_cancel=any(_is_cancel(decoded_if_open(one.subject, one.data)) for one in unread),
        )

    async def _fill(self, state: RunState) -> None:
        """Put large values that a person is shown in place of their references."""
        if state.details is not None:
            state.details = await self._value(state.details)
        for wait in state.waits.values():
            if wait.data is not None:
                wait.data = await self._value(wait.data)

    async def _value(self, value: Raw) -> Raw:
        if not is_reference(value):
            return value
        try:
            return (await filled(self._door, self._subjects, self._run, r.DetailsSet(value))).data
        except ProtocolError:
            return value  # It is missing or damaged; how the run stands can be said all the same.

    async def turns(self, *, follow: bool) -> AsyncIterator[Turn]:
        """Iterate over the turns; with `follow` until the run ends."""
        tail = Tail()
        await self._start()
        while True:
            has_ended = False
            last = await self._last()
            try:
                async for page in _pages(self._door, self._subjects.log(self._run), last, tail):
                    for turn in page.turns:
                        yield turn
                        has_ended = isinstance(turn.records[-1], r.ENDS)
                    tail = page.tail
            except BrokenChainError:
                assert last is not None, "something was read"
                turn = _turn_in(last)
                yield turn
                has_ended, tail = isinstance(turn.records[-1], r.ENDS), Tail(last.sequence, turn.number)
            if not follow or has_ended:
                return
            await self._more_than(tail)

    async def _more_than(self, seen: Tail) -> None:
        """Return when there may be more turns: of the end a notice tells, of others a look from time to time."""
        rung = asyncio.Event()
        watch = await self._door.watch(self._subjects.done("*", self._run), lambda _subject, _data: rung.set())
        alarm = self._door.clock.call_later(_LOOK_AGAIN_S, rung.set)
        try:
            last = await self._last()
            if last is None or last.sequence == seen.sequence:
                await rung.wait()
        finally:
            alarm.cancel()
            await watch.close()

    async def parked_step(self, step: str) -> str:
        """Return the key of the open step that a person means.

        Raises:
            RefusedError: No such step waits for a person.
        """
        sight = await self.look()
        parked = sight.state.parked
        if parked is not None and parked.step and step in (parked.step, parked.step.rsplit("#", 1)[0]):
            return parked.step
        waiting = parked.step if parked is not None and parked.step else "none"
        refused = f"step {step!r} of run {self._run!r} does not wait for a person"
        raise RefusedError(f"{refused}; the one that does: {waiting}")

    # Writing.

    async def post(self, wake: m.Wake, relieve: Relieve = as_it_is) -> None:
        """Put a message into the mailbox; return when it is durable.

        Raises:
            RunNotFoundError: The run is not known.
            RunEndedError: The run has ended.
            MailboxFullError: It has too many unread messages.
            RefusedError: A signal, and the run is parked for the length of its history.
            UnavailableError: No acknowledgement. The message may have been stored; with an id, sending it again is
                harmless.
        """
        last = await self._check_alive()
        if last is not None and isinstance(wake, m.Signal):
            check_takes_messages(self._run, last)
        await self.deposit(wake, relieve)

    async def deposit(self, wake: m.Wake, relieve: Relieve = as_it_is) -> None:
        """What `post` does, for a run of which the caller knows whether it has ended."""
        subject = await self._subject()
        ends_it = isinstance(wake, m.Cancel | m.Terminate)  # A run that reads nothing can always be ended.
        if not ends_it and await self._door.count(subject) >= LIMITS.mailbox_messages_max:
            await self._check_room()
        await self._door.publish(subject, await self._encoded(wake, relieve))

    async def post_once(self, wake: m.Wake, name: str, relieve: Relieve = as_it_is) -> None:
        """Put in an answer, if it is the first one: decided by the fence, so of two at once one is refused.

        Raises:
            AlreadyAnsweredError: There is an answer already.
            InvalidIdError: The run has not made the awakeable.
            SealedError: There is an unread message that can't be opened here: it may be the first answer.
            RefusedError, RunNotFoundError, UnavailableError: As `post`. After `UnavailableError` the answer may count.
        """
        subject = await self._subject()
        data = b""
        while True:
            state, fence = await self._foreseen(subject)
            if state.end is not None:
                raise RunEndedError(f"run {self._run!r} has ended; nothing waits for {name!r}")
            if not receive(state, wake, code=""):
                await self._check_was_made(wake, state)
                raise AlreadyAnsweredError(self._run, name)
            data = data or await self._encoded(wake, relieve)
            try:
                await self._door.publish(subject, data, fence=fence)
                return
            except FencedError:
                continue
            except UnavailableError:
                last = await self._door.last(subject)
                if last is not None and last.data == data and last.sequence > fence:
                    return
                raise

    async def post_to_parked(self, wake: m.Wake, relieve: Relieve = as_it_is) -> None:
        """Put in what only a parked run takes.

        Raises:
            RefusedError: The run is not parked.
            RunNotFoundError, UnavailableError: As `post`.
        """
        sight = await self.look()
        if sight.state.parked is None:
            raise RefusedError(f"run {self._run!r} is {sight.state.status}, not parked; there is nothing to decide")
        await self._door.publish(await self._subject(), await self._encoded(wake, relieve))

    async def post_to_paused(self, wake: m.Wake) -> None:
        """Put in what only a paused run takes, or one that will be when it has read its mailbox.

        Raises:
            RefusedError: The run is not paused.
            RunNotFoundError, UnavailableError: As `post`.
        """
        subject = await self._subject()
        state, _ = await self._foreseen(subject, decode=decoded_if_open)
        if not state.is_paused:
            raise RefusedError(f"run {self._run!r} is not paused; there is nothing to unpause")
        await self._door.publish(subject, await self._encoded(wake, as_it_is))

    # What these need.

    async def _encoded(self, wake: m.Wake, relieve: Relieve) -> bytes:
        """Return a message as it is sent; a sealed run is sent nothing that is not sealed."""
        if self._sealed and self._door.seal is None and envelope_of(wake) is not wake:
            remedy = "send with the codecs and keys of its workers (RELIGHT_ENCRYPTION_KEYS)"
            raise SealedError(f"run {self._run!r} is sealed; {remedy}")
        return encode(await relieve(wake))

    async def _check_was_made(self, wake: m.Wake, state: RunState) -> None:
        if not isinstance(wake, m.AnswerAwakeable | m.FailAwakeable):
            return
        first = (await self._start()).started
        if not was_made(wake.token, seed=first.seed, generations=state.generation):
            remedy = "pass what ctx.awakeable().token was"
            raise InvalidIdError("awakeable token", wake.token, f"is none of run {self._run!r}; {remedy}")

    async def _subject(self) -> str:
        if not self._queue:
            self._queue = (await self._start()).queue
        return self._subjects.wake(self._queue, self._run)

    async def _start(self) -> StoredStart:
        start = await read_start(self._door, self._subjects, self._run)
        if start is None:
            raise RunNotFoundError(self._run)
        self._sealed = start.sealed
        return start

    async def _check_alive(self) -> r.Record | None:
        """Return the last record, None if the run has not begun."""
        last = await self._door.last(self._subjects.log(self._run))
        if last is None:
            await self._start()
            return None
        turn = decode_turn(last.data)
        if isinstance(turn, Tombstone):
            raise RunNotFoundError(self._run)
        self._sealed = turn.sealed
        if isinstance(turn.records[-1], r.ENDS):
            raise RunEndedError(f"run {self._run!r} has ended; it takes no messages any more")
        return turn.records[-1]

    async def _check_room(self) -> None:
        last = (await self._history()).last
        unread = await self._unread(last.cursor if last is not None else 0)
        if len(unread) >= LIMITS.mailbox_messages_max:
            raise MailboxFullError(self._run, limit=LIMITS.mailbox_messages_max)

    async def _foreseen(self, subject: str, *, decode: Decode = decoded) -> tuple[RunState, int]:
        """What the run will have become when it has consumed its mailbox, and the mailbox's last sequence."""
        last, tail = await self._door.last_of_each((subject, self._subjects.log(self._run)))
        up_to = last.sequence if last is not None else 0
        history = await self._history_up_to(tail)
        if history.state.generation > 1 or history.state.records >= LIMITS.mailbox_purge:
            # Its mailbox may be purged: what vanished before its end was read shows in a journal read after.
            history = await self._history()
        return await self._state_with_unread(history, up_to, decode), up_to

    async def _state_with_unread(self, history: Reading, up_to: int, decode: Decode) -> RunState:
        """What the run will have become when it has consumed its mailbox."""
        state = history.state
        if history.last is None:
            start = await self._start()
            state.apply(start.started, start.stored_at_ms)
        cursor = history.last.cursor if history.last is not None else 0
        if up_to > cursor:
            for stored in await self._unread(cursor):
                wake = decode(stored.subject, stored.data)
                for record in () if wake is None else receive(state, wake, code=""):
                    state.apply(record, state.at_ms)
        return state

    async def _last(self) -> Stored | None:
        last = await self._door.last(self._subjects.log(self._run))
        if last is not None and isinstance(decode_turn(last.data), Tombstone):
            raise RunNotFoundError(self._run)
        return last

    async def _history(self) -> Reading:
        return await self._history_up_to(await self._last())

    async def _history_up_to(self, last: Stored | None) -> Reading:
        if last is None:
            return Reading(RunState(), [], None, Tail())
        turn = decode_turn(last.data)
        if isinstance(turn, Tombstone):
            raise RunNotFoundError(self._run)
        self._sealed = turn.sealed
        try:
            return await read(self._door, self._subjects.log(self._run), last)
        except BrokenChainError:
            turn = _turn_in(last)
            return Reading(fold([(turn.at_ms, turn.records)]), [turn], turn, Tail(), len(last.data))

    async def _unread(self, cursor: int) -> list[Stored]:
        subject = await self._subject()
        unread: list[Stored] = []
        while True:
            after = unread[-1].sequence if unread else cursor
            page = await self._door.read(subject, after=after, limit=LIMITS.mailbox_batch)
            if not page:
                following = await self._door.next(subject, after=after)
                page = [] if following is None else [following]
            if not page:
                return unread
            unread += page


async def _pages(door: Door, subject: str, last: Stored | None, after: Tail) -> AsyncIterator[Page]:
    if last is not None:
        async for page in read_pages(door, subject, last, after=after):
            yield page


def _is_cancel(wake: m.Wake | None) -> bool:
    return isinstance(wake, m.Cancel) or (isinstance(wake, m.ParentOver) and not wake.terminates)


def _turn_in(last: Stored) -> Turn:
    turn = decode_turn(last.data)
    assert isinstance(turn, Turn), "a tombstone was found before"
    return turn


async def how_children_stand(door: Door, subjects: Subjects, sight: Sight) -> dict[str, str]:
    """Return how the first few children stand for which a run waits. Raises `UnavailableError`."""
    awaited = [wait.name for wait in sight.state.waits.values() if wait.kind == "child"][:_CHILDREN_SHOWN]
    stand = await asyncio.gather(*(_how_it_stands(door, subjects, child) for child in awaited))
    return dict(zip(awaited, stand, strict=True))


async def _how_it_stands(door: Door, subjects: Subjects, child: str) -> str:
    try:
        state = (await Letterbox(door, subjects, child).look()).state
    except RunNotFoundError:
        return "not started yet"
    return state.status if state.parked is None else f"parked: {state.parked.reason}"


def check_one_answer(result: object, error: str | None, *, rerun: bool) -> None:
    """Refuse an ambiguous resolution."""
    if (error is not None) + rerun + (result is not None) > 1:
        raise RefusedError("result, error and rerun exclude each other; pass one")
