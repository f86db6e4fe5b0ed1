"""Waiting for the ends of runs: a notice tells the end, or that there is one; then the leader says which.

A notice is sent after the append of the end was acknowledged, so what it tells is recorded; but it may be lost. So the
journal is read once before waiting, unless this client started the run itself and would have heard; and again, rarely,
while it waits. In a cluster other nodes learn a moment later that somebody listens: who has just begun to looks sooner.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Generator
from contextlib import contextmanager
from functools import partial
from typing import Self, final

from relight.actors.backoff import Backoff
from relight.actors.delayed import Delayed
from relight.actors.door import Door, Watch
from relight.actors.journal import read_tail
from relight.actors.starts import read_start
from relight.config.limits import LIMITS
from relight.errors import ProtocolError, RelightError, RunNotFoundError, UnavailableError
from relight.subjects import records as r
from relight.subjects.codec import decode_notice
from relight.subjects.envelope import check_open
from relight.subjects.grammar import Subjects
from relight.subjects.turn import Tombstone

__all__ = ("Ends",)

_EXPECTED_MAX = 10_000
_LOOK_AGAIN_S = 60.0
"""What makes a lost notice harmless."""

_LOOK_SOON_S = 1.0
"""The first time, for whoever has listened for less than ten times as long."""


class _Ear:
    """What one waiting caller has heard: who waits for an end, or for the acknowledgement of a start."""

    __slots__ = ("_loop", "_waiting", "end", "has_heard")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.end: r.End | None = None
        self.has_heard = False
        self._loop = loop
        self._waiting: asyncio.Future[None] | None = None

    def hear(self, end: r.End | None = None) -> None:
        self.end = self.end or end
        self.has_heard = True
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_result(None)

    async def listen(self) -> None:
        """Return when something was heard since the last time."""
        if not self.has_heard:
            self._waiting = self._loop.create_future()
            await self._waiting
        self.has_heard = False


@final
class Ends:
    """Hears of ends for one client. Use it with `async with`."""

    def __init__(self, door: Door, subjects: Subjects, client: str) -> None:
        self._door = door
        self._subjects = subjects
        self._client = client
        self._expected: OrderedDict[str, bool] = OrderedDict()
        self._waiting: dict[str, set[_Ear]] = {}
        self._own: Watch | None = None
        self._is_closed = False
        self._looks = Delayed(door.clock, _LOOK_AGAIN_S)
        self._first_looks = Delayed(door.clock, _LOOK_SOON_S)
        self._listens_since_s = 0.0
        self._loop = asyncio.get_running_loop()

    async def __aenter__(self) -> Self:
        self._door.watch_reconnects(self._doubt)
        self._own = await self._door.watch(self._subjects.done(self._client, "*"), self._hear)
        self._listens_since_s = self._door.clock.elapsed_s()
        return self

    async def __aexit__(self, *error: object) -> None:
        self._is_closed = True
        self._doubt()  # Who still waits is told that nothing more will come.
        if self._own is not None:
            await self._own.close()

    @contextmanager
    def starting(self, run: str, client: str) -> Generator[Callable[[], None]]:
        """A run is about to be started in a client's name: call what this gives once the start is acknowledged.

        If the name is that of this client, the run's end can't be missed from now on. Until then nobody knows who
        starts it, and whoever asks for its end looks.
        """
        ear = _Ear(self._loop)
        self._waiting.setdefault(run, set()).add(ear)
        try:
            yield partial(self._expect, run, ear) if client == self._client else _expect_nothing
        finally:
            self._leave(run, ear)

    def _expect(self, run: str, ear: _Ear) -> None:
        # What was heard since an earlier start of this id still counts: then the next one looks.
        self._expected[run] = ear.has_heard or self._expected.get(run, False)
        if len(self._expected) > _EXPECTED_MAX:
            self._expected.popitem(last=False)

    def forget(self, run: str) -> None:
        """Somebody else has started it: its end may have come already."""
        self._expected.pop(run, None)

    async def end_of(self, run: str) -> r.Record:
        """Return the record that ended the run, as the leader has it; waits until there is one.

        Raises:
            RunNotFoundError: The run is not known, or was retired.
            UnavailableError: The leader was not reached at the first look.
        """
        heard = self._expected.pop(run, None)
        if heard is False:
            return await self._wait(run)
        end = await self.look(run)
        if end is not None:
            return end
        watch = await self._door.watch(self._subjects.done("*", run), self._hear)
        try:
            return await self._wait(run, looks_first=True)
        finally:
            await watch.close()

    async def look(self, run: str) -> r.Record | None:
        """Return the record that ended the run, None if the leader has none. Raises like `end_of`."""
        tail = await read_tail(self._door, self._subjects.log(run))
        if tail is None:
            if await read_start(self._door, self._subjects, run) is None:
                raise RunNotFoundError(run)
            return None
        turn = tail[1]
        if isinstance(turn, Tombstone):
            raise RunNotFoundError(run)
        check_open(turn, run)
        last = turn.records[-1]
        return last if isinstance(last, r.ENDS) else None

    async def _wait(self, run: str, *, looks_first: bool = False) -> r.Record:
        ear = _Ear(self._loop)
        if looks_first:
            ear.hear()
        self._waiting.setdefault(run, set()).add(ear)
        now_s = self._door.clock.elapsed_s()
        if looks_first or now_s - self._listens_since_s < 10 * _LOOK_SOON_S:
            soon = self._first_looks.call(ear.hear, now_s)
        else:
            soon = None
        try:
            while True:
                # Forgotten before the look: what is heard while it is under way asks for another one.
                await self._hear_or_doubt(ear)
                if self._is_closed and ear.end is None:
                    raise RelightError(f"the client was closed while it waited for run {run!r}, which goes on")
                end = ear.end or await self._look_until_answered(run)
                if end is not None:
                    return end
        finally:
            if soon is not None:
                soon.cancel()
            self._leave(run, ear)

    async def _hear_or_doubt(self, ear: _Ear) -> None:
        alarm = self._looks.call(ear.hear, self._door.clock.elapsed_s())
        try:
            await ear.listen()
        finally:
            alarm.cancel()

    async def _look_until_answered(self, run: str) -> r.Record | None:
        backoff = Backoff(self._door.clock, LIMITS.append_retry_s, LIMITS.append_retry_max_s)
        while True:
            try:
                return await self.look(run)
            except UnavailableError:
                if self._is_closed:
                    return None
                await backoff.wait()

    def _hear(self, subject: str, data: bytes) -> None:
        run = subject.rsplit(".", 1)[1]
        if run in self._expected:
            self._expected[run] = True
        if run in self._waiting:
            end = _end_in(data)
            for ear in self._waiting[run]:
                ear.hear(end)

    def _doubt(self) -> None:
        """Notices were lost with the connection: look again at every run that somebody waits for, or will."""
        self._listens_since_s = self._door.clock.elapsed_s()
        for run in self._expected:
            self._expected[run] = True
        for waiting in self._waiting.values():
            for ear in waiting:
                ear.hear()

    def _leave(self, run: str, ear: _Ear) -> None:
        waiting = self._waiting.get(run)
        if waiting is not None:
            waiting.discard(ear)
            if not waiting:
                del self._waiting[run]


def _expect_nothing() -> None:
    """Somebody else hears of the end."""


def _end_in(notice: bytes) -> r.End | None:
    try:
        return decode_notice(notice)
    except ProtocolError:
        return None  # Of a later version: the leader is asked, as if the notice had told nothing.
