"""Questions and answers over one wildcard subscription and a table of futures.

A subscription per request costs the server more than the request; a timer per request costs us more than the rest. So
all answers come to `<inbox>.<number>`, and one coarse sweep gives up what is too old.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Sequence
from typing import final

from relight.actors.jetstream.connection import Connection
from relight.config.limits import LIMITS, Limits
from relight.errors import UnavailableError

__all__ = ("Mux", "NoResponders")

_SWEEPS = 8
"""Per time-out: what is given up has waited for its time-out and at most an eighth more."""


class NoResponders(Exception):
    """Nobody listens there."""


@final
class Mux:
    """Asks over one connection. Beyond `limits.publishes_waiting_max` open questions the next wait in order."""

    def __init__(self, connection: Connection, limits: Limits = LIMITS) -> None:
        self._connection = connection
        self._timeout_s = limits.publish_timeout_s
        self._waiting_max = limits.publishes_waiting_max
        self._loop = asyncio.get_running_loop()
        self._number = 0
        self._waiting: dict[int, asyncio.Future[bytes]] = {}
        self._queue: deque[asyncio.Future[None]] = deque()
        self._granted = 0
        self._marks: deque[int] = deque()
        self._is_sweeping = False
        inbox = connection.new_inbox() + "."
        self._inbox = inbox
        self._inbox_size = len(inbox.encode())
        connection.listen(inbox + "*", self._on_answer)
        connection.on_lost.append(self._on_lost)

    def ask(self, subject: str, data: bytes, *, headers: str = "") -> Awaitable[bytes]:
        """Send a question, now if that is possible; to be awaited is the answer.

        Raises:
            NoResponders: Nobody listens there.
            UnavailableError: No answer within `limits.publish_timeout_s`, or no connection. It may have arrived.
        """
        if self._queue or len(self._waiting) >= self._waiting_max or not self._connection.takes_more:
            return self._ask_later(subject, data, headers)
        return self._sent(subject, data, headers)

    async def _ask_later(self, subject: str, data: bytes, headers: str) -> bytes:
        if not self._connection.takes_more:
            await self._connection.drain_writes()
        if self._queue or len(self._waiting) >= self._waiting_max:
            await self._wait_for_a_place()
        await self._connection.require_open()
        return await self._sent(subject, data, headers)

    async def ask_together(self, questions: Sequence[tuple[str, bytes]]) -> list[bytes]:
        """Send questions at once and return their answers, in order. Raises like `ask`, what comes first."""
        connection, free = self._connection, self._waiting_max - len(self._waiting)
        if not connection.takes_more or self._queue or len(questions) > free:
            return [await self.ask(subject, data) for subject, data in questions]
        connection.cork()
        return await asyncio.gather(*[self._sent(subject, data, "") for subject, data in questions])

    def _sent(self, subject: str, data: bytes, headers: str) -> asyncio.Future[bytes]:
        self._number = number = self._number + 1
        self._waiting[number] = future = self._loop.create_future()
        self._connection.send(subject, data, reply=f"{self._inbox}{number}", headers=headers)
        if not self._is_sweeping:
            self._start_sweeping()
        return future

    @property
    def waiting(self) -> int:
        """How many questions wait for their answer."""
        return len(self._waiting)

    def _on_answer(self, subject: bytes, _reply: bytes, data: bytes, headers: bytes | None) -> None:
        future = self._waiting.pop(int(subject[self._inbox_size :]), None)
        if self._queue:
            self._let_in()
        if future is None or future.done():
            return
        if headers is not None and not data and headers.startswith(b"NATS/1.0 503"):
            future.set_exception(NoResponders())
        else:
            future.set_result(data)

    def _on_lost(self) -> None:
        waiting, self._waiting = self._waiting, {}
        for future in waiting.values():
            _fail(future, "the connection was lost before the answer came")
        self._let_in()

    # Places.

    async def _wait_for_a_place(self) -> None:
        turn: asyncio.Future[None] = self._loop.create_future()
        self._queue.append(turn)
        self._let_in()
        try:
            await turn
        except asyncio.CancelledError:
            if not turn.cancelled():
                self._granted -= 1
                self._let_in()
            raise
        self._granted -= 1

    def _let_in(self) -> None:
        """Let the first ones go on. Each takes its place when its task runs; until then it counts as granted."""
        free = self._waiting_max - len(self._waiting) - self._granted
        while self._queue and (free > 0 or not self._connection.is_open):
            turn = self._queue.popleft()
            if not turn.done():
                turn.set_result(None)
                self._granted += 1
                free -= 1

    # Time-outs.

    def _start_sweeping(self) -> None:
        self._is_sweeping = True
        self._marks.clear()
        self._loop.call_later(self._timeout_s / _SWEEPS, self._sweep)

    def _sweep(self) -> None:
        """Give up what was asked before the sweep that is one time-out ago."""
        self._marks.append(self._number)
        if len(self._marks) > _SWEEPS:
            self._give_up(self._marks.popleft())
        if self._waiting:
            self._loop.call_later(self._timeout_s / _SWEEPS, self._sweep)
        else:
            self._is_sweeping = False

    def _give_up(self, newest: int) -> None:
        old = [number for number in self._waiting if number <= newest]
        for number in old:
            _fail(self._waiting.pop(number), f"no answer within {self._timeout_s:g} s")
        self._let_in()


def _fail(future: asyncio.Future[bytes], problem: str) -> None:
    if not future.done():
        future.set_exception(UnavailableError(problem))
