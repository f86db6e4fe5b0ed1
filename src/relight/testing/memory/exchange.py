"""Core messages: notices to whoever watches, questions to whoever answers. Nothing of it is stored."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple, final

from relight.testing.memory.process import Process
from relight.testing.memory.subject_tree import matches

__all__ = ("Everyman", "Exchange", "Listener", "MemoryWatch")


class Listener(NamedTuple):
    """Someone who answers questions to `worker`."""

    worker: str
    process: Process
    reply: Callable[[bytes], bytes | None]

    def ask(self, asker: Process, question: bytes, answered: asyncio.Future[bytes | None]) -> None:
        """Put a question; settle `answered` when the answer has travelled back."""
        self.process.arrive(partial(self._reply, asker, question, answered))

    def _reply(self, asker: Process, question: bytes, answered: asyncio.Future[bytes | None]) -> None:
        answer = self.reply(question)
        if answer is not None:
            self.process.send(partial(asker.arrive, partial(_settle, answered, answer)))


class Everyman(NamedTuple):
    """Someone who answers what every worker is asked."""

    process: Process
    reply: Callable[[bytes], bytes]

    def ask(self, asker: Process, question: bytes, told: Callable[[bytes], None]) -> None:
        """Put a question; `told` gets the answer when it has travelled back."""
        self.process.arrive(partial(self._reply, asker, question, told))

    def _reply(self, asker: Process, question: bytes, told: Callable[[bytes], None]) -> None:
        answer = self.reply(question)
        self.process.send(partial(asker.arrive, partial(told, answer)))


@final
class MemoryWatch:
    """Who watches a subject or filter, until it is closed."""

    def __init__(
        self, exchange: Exchange, filter: str, process: Process, receive: Callable[[str, bytes], None]
    ) -> None:
        self._exchange = exchange
        self._receive: Callable[[str, bytes], None] | None = receive
        self.filter = filter
        self.process = process

    async def close(self) -> None:
        """From now on nothing is received, not even what is under way."""
        self._receive = None
        self._exchange.watches = [one for one in self._exchange.watches if one is not self]
        await self.process.travel()

    def receive(self, subject: str, data: bytes) -> None:
        if self._receive is not None:
            self._receive(subject, data)


@final
class Exchange:
    """Who listens to what."""

    def __init__(self) -> None:
        self.watches: list[MemoryWatch] = []
        self._listeners: list[Listener] = []
        self._everyone: list[Everyman] = []

    def notify(self, subject: str, data: bytes) -> None:
        for watch in self.watches:
            if matches(watch.filter, subject):
                watch.process.arrive(partial(watch.receive, subject, data))

    def answer(self, listener: Listener) -> None:
        self._listeners.append(listener)

    def listeners(self, worker: str) -> Sequence[Listener]:
        return [one for one in self._listeners if one.worker == worker]

    def answer_every_worker(self, everyman: Everyman) -> None:
        self._everyone.append(everyman)

    def everyone_but(self, process: Process) -> Sequence[Everyman]:
        return [one for one in self._everyone if one.process is not process]

    def forget(self, process: Process) -> None:
        """A process is gone, and with it all that it listened to."""
        self.watches = [one for one in self.watches if one.process is not process]
        self._listeners = [one for one in self._listeners if one.process is not process]
        self._everyone = [one for one in self._everyone if one.process is not process]


def _settle(answered: asyncio.Future[bytes | None], answer: bytes | None) -> None:
    if not answered.done():
        answered.set_result(answer)
