"""Questions to all workers, and the knowledge whether all have answered.

Workers come and go, and nobody keeps a list of them. The server traces the question instead: it names the connections
to which it has passed it on, in a cluster one node after the other (header `Nats-Trace-Dest`, nats-server 2.11 or
later). Each of these that is a worker's has to answer, before its connection ends.

Questions go to the main connections: there a question comes after all deliveries that its server had sent before it.
Among several servers it may be faster than a delivery that another one has sent.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import final

import msgspec

from relight.actors.door import Answers
from relight.actors.jetstream.client import INBOX
from relight.actors.jetstream.connection import Connection
from relight.actors.jetstream.hearing import is_heard
from relight.actors.jetstream.keeper_connection import worker_of

__all__ = ("TRACE_HEADER", "Everyone", "Reach")

TRACE_HEADER = "Nats-Trace-Dest"
"""Where the server tells whom a message has reached."""

_HOP_HEADER = "Nats-Trace-Hop"
"""Which way a message went to the server that tells: "2.1" is the first server that was told by the second one to which
the first one of all has passed it on, who has no such header."""

_CLIENT = 0
_SERVERS = frozenset((1, 2, 4))  # By routes, gateways and leaf nodes.
_TRACE = "trace"


class _Event(msgspec.Struct):
    type: str
    kind: int = _CLIENT
    name: str = ""
    error: str = ""


class _Request(msgspec.Struct):
    header: dict[str, list[str]] = {}


class _Trace(msgspec.Struct):
    events: list[_Event]
    request: _Request = msgspec.field(default_factory=_Request)


_decoder = msgspec.json.Decoder(_Trace)


@final
class Reach:
    """Which connections of workers a message has reached, from the traces of it. Pure."""

    def __init__(self) -> None:
        self.names: set[str] = set()
        self._traces_missing = 1
        self._told: set[str] = set()
        self._passed_on: set[str] = set()

    @property
    def is_known(self) -> bool:
        """Whether every server that the message came to has said to whom it went."""
        # Traces overtake each other: who has passed it on, and to how many, may be the last that is told.
        return self._traces_missing == 0 and self._passed_on <= self._told

    def note(self, trace: bytes) -> None:
        """Take in what one server says. Raises `msgspec.MsgspecError`: it is not what we know."""
        told = _decoder.decode(trace)
        way = told.request.header.get(_HOP_HEADER, [""])[0]
        self._told.add(way)
        self._passed_on.add(way.rpartition(".")[0])
        self._traces_missing -= 1
        for one in told.events:
            if one.type != "eg":
                continue
            if one.kind in _SERVERS:
                # Also of one that was not reached, or does not trace: those behind it stay unknown.
                self._traces_missing += 1
            elif one.kind == _CLIENT and not one.error and worker_of(one.name) is not None:
                self.names.add(one.name)


class _Asking:
    """One question, until all have answered."""

    def __init__(self, inbox: str, own_name: str) -> None:
        self._prefix_size = len(inbox) + 1
        self._own_name = own_name
        self._reach = Reach()
        self._said: dict[str, bytes] = {}
        self._over = asyncio.get_running_loop().create_future()

    def receive(self, subject: bytes, _reply: bytes, data: bytes, _headers: bytes | None) -> None:
        name = subject.decode()[self._prefix_size :]
        if name == _TRACE:
            self._reach.note(data)
        else:
            self._said[name] = data
        if self.is_complete and not self._over.done():
            self._over.set_result(None)

    @property
    def is_complete(self) -> bool:
        return self._reach.is_known and self._reach.names <= {self._own_name, *self._said}

    async def answers(self, timeout_s: float) -> Answers:
        await is_heard(self._over, timeout_s=timeout_s)
        return Answers(tuple(self._said.values()), self.is_complete)


@final
class Everyone:
    """Asks all workers, and answers for one: that of the connection's `name`."""

    def __init__(self, connection: Connection, subject: str, *, name: str) -> None:
        self._connection = connection
        self._subject = subject
        self._name = name
        self._own_inboxes: set[str] = set()

    async def ask(self, question: bytes, *, timeout_s: float) -> Answers:
        """See `Door.ask_every_worker`."""
        await self._connection.require_open()
        inbox = self._connection.new_inbox()
        asking = _Asking(inbox, self._name)
        listening = self._connection.listen(f"{inbox}.>", asking.receive)
        self._own_inboxes.add(inbox)
        try:
            headers = f"NATS/1.0\r\n{TRACE_HEADER}:{inbox}.{_TRACE}\r\n\r\n"
            self._connection.send(self._subject, question, reply=inbox, headers=headers)
            return await asking.answers(timeout_s)
        finally:
            self._own_inboxes.discard(inbox)
            await listening.close()

    async def answer(self, reply: Callable[[bytes], bytes]) -> None:
        """See `Door.answer_every_worker`."""

        def receive(_subject: bytes, inbox: bytes, question: bytes, _headers: bytes | None) -> None:
            asker = inbox.decode()
            if asker.startswith(INBOX) and asker not in self._own_inboxes:
                self._connection.send(f"{asker}.{self._name}", reply(question))

        self._connection.listen(self._subject, receive)
        await self._connection.confirm()
