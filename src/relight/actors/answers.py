"""Asking a run, and waiting for its answer: a notice tells it; the journal, read from the leader, is the truth.

A notice is sent after the append of the answer was acknowledged, so what it tells is recorded; but it may be lost. So
the journal is read when the notice of an end comes, and again from time to time, ever more rarely. Each look reads only
the turns that were added since the one before.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import final

from relight.actors.backoff import Backoff
from relight.actors.door import Door, Stored, Watch
from relight.actors.run.answers import Answer
from relight.actors.run.length import check_takes_messages
from relight.actors.starts import read_start
from relight.config.limits import LIMITS
from relight.errors import (
    ProtocolError,
    RefusedError,
    RelightError,
    RunEndedError,
    RunNotFoundError,
    UnavailableError,
)
from relight.subjects import records as r
from relight.subjects.codec import decode_answer_notice, decode_turn
from relight.subjects.envelope import check_open, check_sealed
from relight.subjects.grammar import Subjects
from relight.subjects.turn import Tombstone, Turn

__all__ = ("Answers",)

_LOOK_FIRST_S = 5.0
_LOOK_AGAIN_S = 60.0
"""What makes a lost notice harmless: looks after 5, 10, 20, 40 seconds, then each minute."""

_SEND_S = 30.0


class _Ear:
    """What one waiting caller has heard."""

    def __init__(self, run: str, id: str) -> None:
        self.run = run
        self.id = id
        self.heard = asyncio.Event()
        self.answer: Answer | None = None
        self.ends: Watch | None = None

    def hear(self, answer: Answer | None = None) -> None:
        self.answer = self.answer or answer
        self.heard.set()


@final
class Answers:
    """Asks runs for one client."""

    def __init__(self, door: Door, subjects: Subjects, client: str) -> None:
        self._door = door
        self._subjects = subjects
        self.client = client
        self._ears: dict[str, set[_Ear]] = {}
        self._opening: asyncio.Task[Watch] | None = None
        self._closing: set[asyncio.Task[None]] = set()
        self._is_closed = False
        door.watch_reconnects(self._doubt)

    async def close(self) -> None:
        self._is_closed = True
        self._doubt()  # Who still waits is told that nothing more will come.
        await asyncio.gather(*self._closing)
        if self._opening is not None:
            await asyncio.wait((self._opening,))
            if self._opening.exception() is None:
                await self._opening.result().close()

    async def answer_of(self, run: str, id: str, send: Callable[[], Awaitable[None]], *, is_new: bool) -> Answer:
        """Send a request until it is durable, and wait for its answer.

        Args:
            run: Who is asked.
            id: Of the request.
            send: Puts it into the mailbox.
            is_new: Nobody can have sent this id before.

        Raises:
            RunEndedError: The run has ended, or ends, without an answer.
            RunNotFoundError: The run is not known, or was retired.
            MailboxFullError: It has too many unread messages.
            RefusedError: It was answered, and the answer not kept when the run continued as new. Or the run is parked
                for the length of its history.
            UnavailableError: It could not be sent within 30 s.
            RelightError: The client was closed meanwhile.
        """
        ear = _Ear(run, id)
        looks = _Looks(self._door, self._subjects, run, id)
        self._ears.setdefault(run, set()).add(ear)
        try:
            answer = await self._sent(ear, looks, send, skips=is_new)
            return answer or await self._wait(ear, looks)
        finally:
            self._leave(ear)

    async def _listen(self, ear: _Ear) -> None:
        """Hear of the answer, and of the run's end."""
        await self._open()
        if ear.ends is None:
            ear.ends = await self._door.watch(self._subjects.done("*", ear.run), lambda _subject, _data: ear.hear())

    async def _open(self) -> None:
        """Listen for notices: once, when the first request is made."""
        if self._opening is None:
            self._opening = asyncio.ensure_future(self._door.watch(self._subjects.answer(self.client, "*"), self._hear))
        opening = self._opening
        try:
            await asyncio.shield(opening)
        except UnavailableError:
            if self._opening is opening:  # Somebody else may have tried again.
                self._opening = None
            raise

    async def _sent(
        self, ear: _Ear, looks: _Looks, send: Callable[[], Awaitable[None]], *, skips: bool
    ) -> Answer | None:
        """Return when the request is stored; or its answer, if it was asked before and answered already."""
        clock = self._door.clock
        backoff = Backoff(clock, LIMITS.append_retry_s, LIMITS.append_retry_max_s)
        give_up_s = clock.elapsed_s() + _SEND_S
        while True:
            try:
                await self._listen(ear)
                # After an attempt of unknown outcome too: a run that has ended may have answered before.
                answer = await looks.look(skips=skips)
                if answer is None:
                    skips = False
                    if looks.last is not None:
                        check_takes_messages(looks.run, looks.last)
                    await send()
                return answer
            except UnavailableError as error:
                self._check_open(ear)
                if clock.elapsed_s() > give_up_s:
                    remedy = f"the run may have been asked; ask again with id={looks.id!r}"
                    raise UnavailableError(f"{error}; {remedy}") from error
            await backoff.wait()

    async def _wait(self, ear: _Ear, looks: _Looks) -> Answer:
        pause_s = _LOOK_FIRST_S
        while True:
            alarm = self._door.clock.call_later(pause_s, ear.hear)
            try:
                await ear.heard.wait()
            finally:
                alarm.cancel()
            # Cleared before the look: what is heard while it is under way asks for another one.
            ear.heard.clear()
            if ear.answer is None:
                self._check_open(ear)
            answer = ear.answer or await self._look_until_answered(looks)
            if answer is not None:
                return answer
            pause_s = min(2 * pause_s, _LOOK_AGAIN_S)

    async def _look_until_answered(self, looks: _Looks) -> Answer | None:
        backoff = Backoff(self._door.clock, LIMITS.append_retry_s, LIMITS.append_retry_max_s)
        while True:
            try:
                return await looks.look()
            except UnavailableError:
                if self._is_closed:
                    return None
                await backoff.wait()

    def _check_open(self, ear: _Ear) -> None:
        if self._is_closed:
            what = f"request {ear.id!r} to run {ear.run!r}"
            raise RelightError(f"the client was closed while it waited for the answer to {what}; it may be handled")

    def _hear(self, subject: str, data: bytes) -> None:
        waiting = self._ears.get(subject.rsplit(".", 1)[1], ())
        try:
            answer = decode_answer_notice(data)
        except ProtocolError:
            answer = None  # Of a later version: the leader is asked, as if the notice had told nothing.
        for ear in waiting:
            if answer is None or answer.id == ear.id:
                ear.hear(answer)

    def _doubt(self) -> None:
        """Notices were lost with the connection: look again."""
        for waiting in self._ears.values():
            for ear in waiting:
                ear.hear()

    def _close_soon(self, watch: Watch) -> None:
        """Nobody waits for it: neither whoever has an answer, nor whoever has waited too long."""
        closing = asyncio.ensure_future(watch.close())
        self._closing.add(closing)
        closing.add_done_callback(self._closing.discard)

    def _leave(self, ear: _Ear) -> None:
        if ear.ends is not None:
            self._close_soon(ear.ends)
        waiting = self._ears.get(ear.run)
        if waiting is not None:
            waiting.discard(ear)
            if not waiting:
                del self._ears[ear.run]


class _Looks:
    """Looks for one answer in a run's journal, each from where the one before has ended.

    Attributes:
        last: The last record that was there; None before the first turn.
    """

    def __init__(self, door: Door, subjects: Subjects, run: str, id: str) -> None:
        self.id = id
        self.run = run
        self.last: r.Record | None = None
        self._door = door
        self._subjects = subjects
        self._seen = 0

    async def look(self, *, skips: bool = False) -> Answer | None:
        """Return the answer if the leader has it; None while the run goes on without one.

        Args:
            skips: What is there now can't hold it.

        Raises:
            RunEndedError: The run has ended without it.
            RunNotFoundError: The run is not known, or was retired.
            RefusedError: The answer was not kept when the run continued as new.
            SealedError: The run is sealed, and can't be opened here: nor could its answer.
            UnavailableError: The server was not reached.
        """
        last = await self._door.last(self._subjects.log(self.run))
        if last is None:
            start = await read_start(self._door, self._subjects, self.run)
            if start is None:
                raise RunNotFoundError(self.run)
            check_sealed(start.sealed, self.run)
            return None
        turn = decode_turn(last.data)
        if isinstance(turn, Tombstone):
            raise RunNotFoundError(self.run)
        check_open(turn, self.run)
        answer = None if skips else await self._answer_up_to(last)
        self._seen = max(self._seen, last.sequence)
        self.last = turn.records[-1]
        if answer is None and isinstance(turn.records[-1], r.ENDS):
            raise RunEndedError(f"run {self.run!r} has ended; it does not answer any more")
        return answer

    async def _answer_up_to(self, last: Stored) -> Answer | None:
        subject = self._subjects.log(self.run)
        while self._seen < last.sequence:
            page = await self._door.read(subject, after=self._seen, limit=LIMITS.mailbox_batch)
            if not page:
                # A replica may lag behind; the leader knows. Without one the run has continued, or was retired.
                following = await self._door.next(subject, after=self._seen)
                page = [last] if following is None else [following]
            for stored in page:
                answer = self._answer_in(decode_turn(stored.data))
                if answer is not None:
                    return answer
                self._seen = stored.sequence
        return None

    def _answer_in(self, turn: Turn | Tombstone) -> Answer | None:
        if isinstance(turn, Tombstone):
            raise RunNotFoundError(self.run)
        check_open(turn, self.run)
        is_lost = False
        for record in turn.records:
            if isinstance(record, r.RequestReplied | r.RequestRejected) and record.id == self.id:
                return record
            if isinstance(record, r.Continued):
                answer = next((one for one in record.answers if one.id == self.id), None)
                if answer is not None:
                    return answer
                is_lost = self.id in record.request_ids
            elif isinstance(record, r.RequestReceived) and record.id == self.id:
                is_lost = False  # It is not answered yet, and was carried over.
        if is_lost:
            raise RefusedError(
                f"request {self.id!r} was answered before run {self.run!r} continued as new; the answer was not kept"
            )
        return None
