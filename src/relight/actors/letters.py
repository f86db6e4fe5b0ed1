"""A client's side of a run: what it reads of it, and what it puts into its mailbox."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import final

from msgspec import Raw

from relight.actors.backoff import Backoff
from relight.actors.door import Door, Stored
from relight.actors.foresight import Decode, Foresight, changing, foreseen
from relight.actors.journal import BrokenChainError, Page, Tail, checked, read_pages
from relight.actors.mailbox import decoded, decoded_if_open
from relight.actors.reading import Reading, read_on
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
        unread: Messages in its mailbox that it has not consumed, and that will change something.
        bytes: Size of its history.
        has_unread_cancel: Whether a cancel is among the unread messages.
        problem: Why its history can't be believed; then `state` is what its start and its last turn say.
    """

    run: str
    state: RunState
    tail: Turn | None
    unread: int
    bytes: int
    has_unread_cancel: bool = False
    problem: str = ""

    @property
    def status(self) -> str:
        """One of the closed list of `RunStatus`."""
        return self.state.status if self.tail is not None else "queued"


_QUEUE_KNOWN_S = LIMITS.tombstone_s / 2
"""So long an id certainly names the same run: once it is retired its id stays taken for twice that time. Later it may
name another one, in another queue."""

_CHILDREN_SHOWN = 10
"""Of those for which a run waits; each is a look at its history."""

_DECIDED_S = 0.1
"""What is decided on an empty mailbox is judged again if its acknowledgement has come later than this after the look:
meanwhile another one may have been put in, consumed, and removed, and the fence can't tell that from nothing. In less
time that is hardly done, and a look more at each answer would cost all of them a round trip."""

Relieve = Callable[[m.Wake], Awaitable[m.Wake]]
"""Stores the large values of a message for its run, and returns what is sent in its place."""


def _nothing() -> None:
    """Nothing speaks against it."""


async def as_it_is(wake: m.Wake) -> m.Wake:
    """For a message that has no values."""
    return wake


@final
class Letterbox:
    """Reads one run and writes to its mailbox.

    Args:
        door: By which it does.
        subjects: Of the namespace.
        run: Its id.
        queue: In which it was at the moment `known_s`.
        known_s: As `Clock.elapsed_s` says it; None: now.
    """

    def __init__(
        self, door: Door, subjects: Subjects, run: str, *, queue: str = "", known_s: float | None = None
    ) -> None:
        self._door = door
        self._subjects = subjects
        self._run = run
        self._queue = queue
        self._known_s = door.clock.elapsed_s() if known_s is None else known_s
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
            history.state.started_at_ms = start.stored_at_ms
        await self._fill(history.state)
        unread = await self._unread(history.last.cursor if history.last is not None else 0)
        return Sight(
            run=self._run,
            state=history.state,
            tail=history.last,
            unread=changing(history.state, unread, decoded_if_open),
            bytes=history.bytes,
            has_unread_cancel=any(_is_cancel(decoded_if_open(one.subject, one.data)) for one in unread),
            problem=history.problem,
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

    async def turns(self, *, follow: bool, check_open: Callable[[], object] = _nothing) -> AsyncIterator[Turn]:
        """Iterate over the turns; with `follow` until the run ends, also while the server is away.

        Args:
            follow: Wait for those to come.
            check_open: Called before the server is asked again: raises if there is no use in it any more.

        Raises:
            RunNotFoundError: Neither start nor journal is stored.
            ProtocolError: The history is damaged here, or of a later version. All that came before was given.
            UnavailableError: The server was not reached; with `follow`: at the first look.
        """
        tail = Tail()
        await self._start()
        backoff = self._patience()
        while True:
            has_ended = False
            try:
                async for page in self._pages(await self._last(), tail):
                    for turn in page.turns:
                        yield turn
                        has_ended = isinstance(turn.records[-1], r.ENDS)
                    tail = page.tail
                if not follow or has_ended:
                    return
                await self._more_than(tail)
                backoff = self._patience()
            except UnavailableError:
                if not follow:
                    raise
                check_open()
                await backoff.wait()

    def _patience(self) -> Backoff:
        return Backoff(self._door.clock, LIMITS.append_retry_s, LIMITS.append_retry_max_s)

    async def _pages(self, last: Stored | None, tail: Tail) -> AsyncIterator[Page]:
        """Read the turns behind `tail`. Raises `ProtocolError` where the history is damaged, not before."""
        if last is None:
            return
        log = self._subjects.log(self._run)
        try:
            async for page in read_pages(self._door, log, last, after=tail):
                yield page
                tail = page.tail
        except BrokenChainError as error:
            async for page in self._pages_before_the_break(last, tail):
                yield page
            await self._check_not_retired()
            raise ProtocolError(f"the history of run {self._run!r} is damaged: {error}") from error

    async def _pages_before_the_break(self, last: Stored, tail: Tail) -> AsyncIterator[Page]:
        while (stored := await self._door.next(self._subjects.log(self._run), after=tail.sequence)) is not None:
            try:
                page = checked((stored,), tail, last)
            except BrokenChainError:
                return
            yield page
            tail = page.tail

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
            RunEndedError: The run has ended; and never had this signal, if it is one with an id.
            MailboxFullError: It has too many unread messages; likewise.
            RefusedError: A signal, and the run is parked for the length of its history; likewise.
            UnavailableError: No acknowledgement. The message may have been stored; with an id, sending it again is
                harmless.
        """
        try:
            last = await self._check_alive()
            if last is not None and isinstance(wake, m.Signal):
                check_takes_messages(self._run, last)
            await self.deposit(wake, relieve)
        except RefusedError:
            # Whoever repeats a signal can't know that it came the first time, and what has become of the run since.
            if not isinstance(wake, m.Signal) or not await self._has_signal(wake.id):
                raise

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
            MailboxFullError: It has too many unread messages.
            SealedError: There is an unread message that can't be opened here: it may be the first answer.
            RunNotFoundError: As `post`. If the run was retired since this was called, the answer may have counted.
            RefusedError, UnavailableError: As `post`. After `UnavailableError` the answer may count.
        """
        await self._post_decided(wake, partial(self._check_answer, wake, name), relieve)

    async def post_to_parked(self, wake: m.Wake, relieve: Relieve = as_it_is) -> None:
        """Put in what only a parked run takes; of two decisions at once one is refused, as of two answers.

        Raises:
            RefusedError: The run is not parked, or will not be any more when it has read its mailbox.
            RunNotFoundError, UnavailableError: As `post`.
        """
        await self._post_decided(wake, partial(self._check_parked, wake), relieve)

    async def post_to_paused(self, wake: m.Wake) -> None:
        """Put in what only a paused run takes, or one that will be when it has read its mailbox.

        Raises:
            RefusedError: The run is not paused.
            RunNotFoundError, UnavailableError: As `post`.
        """
        await self._post_decided(wake, self._check_paused, as_it_is, decoded_if_open)

    async def _post_decided(
        self,
        wake: m.Wake,
        check: Callable[[Foresight], Awaitable[None]],
        relieve: Relieve,
        decode: Decode = decoded,
    ) -> None:
        """Put in a message that `check` lets pass, if nothing comes between what it saw and the message."""
        subject = await self._subject()
        data = b""
        seen: Foresight | None = None
        while True:
            began_s = self._door.clock.elapsed_s()
            seen = await self._foresee(subject, seen, decode)
            await check(seen)
            data = data or await self._encoded(wake, relieve)
            try:
                sequence = await self._publish_decided(subject, data, seen.fence)
            except FencedError:
                continue
            if seen.fence == 0 and self._door.clock.elapsed_s() - began_s > _DECIDED_S:
                await self._check_again(sequence, check, seen, decode)
            return

    async def _publish_decided(self, subject: str, data: bytes, fence: int) -> int:
        try:
            return await self._door.publish(subject, data, fence=fence)
        except UnavailableError:
            last = await self._door.last(subject)
            if last is not None and last.data == data and last.sequence > fence:
                return last.sequence
            raise

    async def _check_again(
        self, sequence: int, check: Callable[[Foresight], Awaitable[None]], seen: Foresight, decode: Decode
    ) -> None:
        """Judge a message that is stored by what was recorded before it, which is all that its mailbox ever held."""
        await self._start()  # Of a run that was retired nobody can tell what it has consumed.
        last: Stored | None = None
        after = seen.at
        while (turn := await self._door.next(self._subjects.log(self._run), after=after)) is not None:
            if turn.sequence > sequence:
                break  # That may have consumed it.
            last, after = turn, turn.sequence
        if last is not None:
            await check(foreseen(await self._history_up_to(last, seen.history), (), 0, None, decode))

    async def _check_answer(self, wake: m.Wake, name: str, seen: Foresight) -> None:
        if seen.state.end is not None:
            raise RunEndedError(f"run {self._run!r} has ended; nothing waits for {name!r}")
        if not receive(seen.state, wake, code=""):
            await self._check_was_made(wake, seen.state)
            raise AlreadyAnsweredError(self._run, name)
        self._check_holds(seen.unread)

    async def _check_parked(self, wake: m.Wake, seen: Foresight) -> None:
        if receive(seen.state, wake, code=""):
            return
        if seen.history.state.parked is None:
            raise RefusedError(f"run {self._run!r} is {seen.state.status}, not parked; there is nothing to decide")
        if seen.state.parked is None:
            raise RefusedError(f"run {self._run!r} is parked, but what is unread in its mailbox decides that already")
        raise RefusedError(f"run {self._run!r} is parked, but does not wait for this decision")

    async def _check_paused(self, seen: Foresight) -> None:
        if not seen.state.is_paused:
            raise RefusedError(f"run {self._run!r} is not paused; there is nothing to unpause")

    # What these need.

    async def _has_signal(self, id: str) -> bool:
        """Whether a signal of this id has counted, or is in the mailbox."""
        if not id:
            return False
        seen = await self._foresee(await self._subject(), None, decoded_if_open)
        unread = (decoded_if_open(one.subject, one.data) for one in seen.unread)
        return id in seen.state.signal_ids or any(isinstance(one, m.Signal) and one.id == id for one in unread)

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
        if not self._queue or self._door.clock.elapsed_s() - self._known_s > _QUEUE_KNOWN_S:
            await self._start()
        return self._subjects.wake(self._queue, self._run)

    async def _start(self) -> StoredStart:
        known_s = self._door.clock.elapsed_s()
        start = await read_start(self._door, self._subjects, self._run)
        if start is None:
            raise RunNotFoundError(self._run)
        self._sealed = start.sealed
        self._queue, self._known_s = start.queue, known_s
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
        self._check_holds(await self._unread(last.cursor if last is not None else 0))

    def _check_holds(self, unread: Sequence[Stored]) -> None:
        """Raise `MailboxFullError` if there is no room beside these."""
        if len(unread) >= LIMITS.mailbox_messages_max:
            raise MailboxFullError(self._run, limit=LIMITS.mailbox_messages_max)

    async def _foresee(self, subject: str, before: Foresight | None, decode: Decode) -> Foresight:
        """Look what the run will have become when it has consumed its mailbox; only at what is new since `before`."""
        log = self._subjects.log(self._run)
        last, tail = await self._door.last_of_each((subject, log))
        fence = last.sequence if last is not None else 0
        seen = max(_cursor_in(tail), before.fence if before is not None else 0)
        unread = [] if before is None else before.unread
        if fence > seen:
            new = await self._unread(seen)
            unread = [*unread, *new]
            fence = max(fence, new[-1].sequence if new else 0)
            tail = await self._door.last(log)
        history = await self._history_up_to(tail, None if before is None else before.history)
        if fence < seen:
            # Its mailbox was purged: what vanished before its end was read shows in a journal read after.
            history = await self._history_up_to(await self._last(), history)
        if history.last is None and history.state.started is None:
            start = await self._start()
            history.state.apply(start.started, start.stored_at_ms)
        return foreseen(history, unread, fence, before, decode)

    async def _last(self) -> Stored | None:
        last = await self._door.last(self._subjects.log(self._run))
        if last is not None and isinstance(decode_turn(last.data), Tombstone):
            raise RunNotFoundError(self._run)
        return last

    async def _history(self) -> Reading:
        return await self._history_up_to(await self._last())

    async def _history_up_to(self, last: Stored | None, before: Reading | None = None) -> Reading:
        """Read the history; if some of it was read before, what has come since."""
        reading = Reading(RunState(), None, Tail()) if before is None or before.last is None else before
        if last is None:
            return before or reading
        turn = decode_turn(last.data)
        if isinstance(turn, Tombstone):
            raise RunNotFoundError(self._run)
        self._sealed = turn.sealed
        try:
            await read_on(self._door, self._subjects.log(self._run), last, reading)
            return reading
        except BrokenChainError as error:
            await self._check_not_retired()
            return _damaged(last, turn, str(error))

    async def _check_not_retired(self) -> None:
        """What was removed while it was read looks like damage. Raises `RunNotFoundError`."""
        await self._last()

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


def _cursor_in(last: Stored | None) -> int:
    turn = None if last is None else decode_turn(last.data)
    return turn.cursor if isinstance(turn, Turn) else 0


def _is_cancel(wake: m.Wake | None) -> bool:
    return isinstance(wake, m.Cancel) or (isinstance(wake, m.ParentOver) and not wake.terminates)


def _damaged(last: Stored, turn: Turn, problem: str) -> Reading:
    """What can be said of a run whose history can't be believed: whether its last turn has parked or ended it."""
    # What else stands there is about steps and waits of which nothing is known.
    said = [one for one in turn.records if isinstance(one, (r.Parked, *r.ENDS))]
    state = fold([(turn.at_ms, said)])
    state.since_ms = turn.at_ms
    tail = Tail(last.sequence, turn.number)
    return Reading(state, turn, tail, len(last.data), problem=problem)


async def how_children_stand(door: Door, subjects: Subjects, sight: Sight) -> dict[str, str]:
    """Return how the first few children stand for which a run waits. Raises `UnavailableError`."""
    awaited = [wait.name for wait in sight.state.waits.values() if wait.kind == "child"][:_CHILDREN_SHOWN]
    stand = await asyncio.gather(*(_how_it_stands(door, subjects, child) for child in awaited))
    return dict(zip(awaited, stand, strict=True))


async def _how_it_stands(door: Door, subjects: Subjects, child: str) -> str:
    try:
        sight = await Letterbox(door, subjects, child).look()
    except RunNotFoundError:
        return "not started yet"
    except ProtocolError as error:
        return f"can't be read: {error}"
    parked = sight.state.parked
    return sight.status if parked is None else f"parked: {parked.reason}"


def check_one_answer(result: object, error: str | None, *, rerun: bool) -> None:
    """Refuse an ambiguous resolution."""
    if (error is not None) + rerun + (result is not None) > 1:
        raise RefusedError("result, error and rerun exclude each other; pass one")
