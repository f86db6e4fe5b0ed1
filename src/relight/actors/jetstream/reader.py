"""Reads what streams hold: single messages from the leader, histories in bulk from whoever is nearest."""

from __future__ import annotations

import asyncio
import random
import re
from base64 import b64decode
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from typing import final

import msgspec

from relight.actors.door import Stored
from relight.actors.jetstream.api import NO_MESSAGE, Api, ApiError
from relight.actors.jetstream.connection import Connection
from relight.actors.jetstream.publisher import FENCE
from relight.actors.jetstream.topology import Topology
from relight.config.limits import LIMITS, Limits
from relight.errors import ProtocolError, UnavailableError

__all__ = ("Reader", "fence_in")

_SILENCE_S = 1.0
"""A batch from which nothing comes for this long has lost its tail, and the rest is asked for again."""

_BATCH_MAX = 5_000
"""Messages asked for at once: what a lost tail costs, and what the server reads ahead for a reader that went away."""

_RETRY_S = 0.2
"""About how long to wait when a request brought nothing, for example while a leader is elected."""

_FENCE = FENCE.encode() + rb": ?(\d{1,20})\r\n"
_FENCE_LINE = re.compile(rb"\r\n" + _FENCE)
_OTHER_FENCE = f"\r\n{FENCE}-Subject:".encode()
_TOLD_BY_SERVER = (
    rb"Nats-Stream: .*\r\nNats-Subject: (.*)\r\nNats-Sequence: (\d+)\r\nNats-Time-Stamp: (.{19})(.*)Z\r\n"
    rb"Nats-Num-Pending: .*\r\nNats-Last-Sequence: (\d+)\r\n\r\n"
)
_OWN_FENCE = _FENCE + rb"(?!" + FENCE.encode() + rb"-Subject:)"
_ANSWER = re.compile(rb"NATS/1\.0\r\n(?>" + _OWN_FENCE + rb"|.*\r\n)*?" + _TOLD_BY_SERVER)
"""The headers of a message in a batch: those that are stored with it, then the server's, always in this order. In one
pass, because a history is long; atomic, so that no headers of anybody's make it try twice."""

_TOLD = re.compile(rb"()" + _TOLD_BY_SERVER)
"""The server's headers only: behind any that somebody has stored malformed. Such a message has no fence."""

_FIRST_TOLD = b"Nats-Stream: "

_PENDING = b"\r\nNats-Num-Pending: "
_BEFORE = b"\r\nNats-Last-Sequence: "


class _Message(msgspec.Struct):
    subject: str
    seq: int
    time: str
    hdrs: str = ""
    data: str = ""


class _Got(msgspec.Struct):
    message: _Message


class _State(msgspec.Struct):
    subjects: dict[str, int] | None = None
    last_seq: int = 0


class _Info(msgspec.Struct):
    state: _State
    total: int = 0


@final
class Reader:
    """Reads over one connection."""

    def __init__(self, connection: Connection, api: Api, topology: Topology, limits: Limits = LIMITS) -> None:
        self._connection = connection
        self._api = api
        self._topology = topology
        self._timeout_s = limits.publish_timeout_s
        self._number = 0
        self._batches: dict[int, _Batch] = {}
        inbox = connection.new_inbox() + "."
        self._inbox = inbox
        connection.listen(inbox + "*", self._on_message)
        connection.on_lost.append(self._on_lost)

    async def last(self, subject: str) -> Stored | None:
        """See `Door.last`."""
        return await self._get(subject, {"last_by_subj": subject})

    async def last_of_each(self, subjects: Sequence[str]) -> list[Stored | None]:
        """See `Door.last_of_each`."""
        calls = [(f"STREAM.MSG.GET.{self._topology.stream_of(one)}", {"last_by_subj": one}) for one in subjects]
        answers = await self._api.ask_together(calls, _Got)
        return [_stored_or_none(one) for one in answers]

    async def next(self, subject: str, *, after: int) -> Stored | None:
        """See `Door.next`."""
        return await self._get(subject, {"seq": after + 1, "next_by_subj": subject})

    async def read(self, subject: str, *, after: int, limit: int) -> list[Stored]:
        """See `Door.read`."""
        messages: list[Stored] = []
        deadline = asyncio.get_running_loop().time() + self._timeout_s
        while len(messages) < limit:
            first = messages[-1].sequence if messages else after
            count = min(limit - len(messages), _BATCH_MAX)
            batch = await self._read_batch(subject, first, count)
            messages.extend(batch.messages)
            if batch.is_last:
                break
            if batch.messages:
                deadline = asyncio.get_running_loop().time() + self._timeout_s
            elif asyncio.get_running_loop().time() > deadline:
                raise UnavailableError(f"{subject} can't be read now ({batch.problem or 'no answer'})")
            else:
                await asyncio.sleep(_RETRY_S * random.uniform(0.5, 1.0))
        return messages

    async def latest(self, filters: Sequence[str]) -> list[Stored]:
        """See `Door.latest`."""
        by_stream: dict[str, list[str]] = {}
        for filter in filters:
            by_stream.setdefault(self._topology.stream_of(filter), []).append(filter)
        found: list[Stored] = []
        for stream, of_stream in by_stream.items():
            found += await self._latest_of(stream, of_stream)
        return found

    async def _latest_of(self, stream: str, filters: list[str]) -> list[Stored]:
        batch = await self._ask_batch(stream, {"multi_last": filters, "batch": LIMITS.latest_subjects_max}, "*")
        if not batch.is_last:
            raise UnavailableError(f"{stream} can't be read now ({batch.problem or 'no answer'})")
        return batch.messages

    async def count(self, subject: str) -> int:
        """See `Door.count`."""
        stream = self._topology.stream_of(subject)
        info = await self._api.need(f"STREAM.INFO.{stream}", _Info, {"subjects_filter": subject})
        return sum((info.state.subjects or {}).values())

    async def subjects(self, filter: str, *, limit: int) -> list[str]:
        """See `Door.subjects`."""
        found: list[str] = []
        for stream in self._topology.streams_of(filter):
            await self._collect_subjects(stream, filter, limit, found)
        return found[:limit]

    async def newest(self, filter: str, *, limit: int) -> list[Stored]:
        """See `Door.newest`."""
        found: list[Stored] = []
        for stream in self._topology.streams_of(filter):
            found += await self._newest_of(stream, filter, limit)
        return sorted(found, key=lambda one: (one.stored_at_ms, one.sequence), reverse=True)[:limit]

    async def _newest_of(self, stream: str, filter: str, limit: int) -> list[Stored]:
        """Read backwards: a wider and wider end of the stream, until it holds enough."""
        last = (await self._api.need(f"STREAM.INFO.{stream}", _Info)).state.last_seq
        width = 4 * limit
        while True:
            found = await self._read_from(stream, filter, max(0, last - width))
            if len(found) >= limit or width >= last:
                return found[-limit:]
            width *= 4

    async def _read_from(self, stream: str, filter: str, after: int) -> list[Stored]:
        found: list[Stored] = []
        while True:
            batch = await self._read_batch(filter, found[-1].sequence if found else after, _BATCH_MAX, stream)
            found += batch.messages
            if batch.is_last:
                return found
            if not batch.messages:
                raise UnavailableError(f"{filter} can't be read now ({batch.problem or 'no answer'})")

    async def _collect_subjects(self, stream: str, filter: str, limit: int, found: list[str]) -> None:
        offset = 0
        while len(found) < limit:
            request = {"subjects_filter": filter, "offset": offset}
            info = await self._api.need(f"STREAM.INFO.{stream}", _Info, request)
            page = info.state.subjects or {}
            found.extend(page)
            offset += len(page)
            if not page or offset >= info.total:
                return

    async def _get(self, subject: str, request: dict[str, object]) -> Stored | None:
        return _stored_or_none(
            await self._api.answer(f"STREAM.MSG.GET.{self._topology.stream_of(subject)}", _Got, request)
        )

    # Batches.

    async def _read_batch(self, subject: str, after: int, count: int, stream: str = "") -> _Batch:
        """Ask for one batch and return what came of it, in order and without gaps from its beginning."""
        request = {"seq": after + 1, "next_by_subj": subject, "batch": count}
        return await self._ask_batch(stream or self._topology.stream_of(subject), request, subject)

    async def _ask_batch(self, stream: str, request: Mapping[str, object], subject: str) -> _Batch:
        await self._connection.require_open()
        self._number += 1
        number = self._number
        batch = self._batches[number] = _Batch(subject)
        body = msgspec.json.encode(request)
        self._connection.send(f"$JS.API.DIRECT.GET.{stream}", body, reply=f"{self._inbox}{number}")
        try:
            await batch.ended()
        finally:
            del self._batches[number]
        return batch

    def _on_message(self, subject: bytes, _reply: bytes, data: bytes, headers: bytes | None) -> None:
        batch = self._batches.get(int(subject[subject.rfind(b".") + 1 :]))
        if batch is not None and headers is not None:
            batch.take(data, headers)

    def _on_lost(self) -> None:
        for batch in self._batches.values():
            batch.fail()


@final
class _Batch:
    """The answers to one request, and whether they are all that there is."""

    def __init__(self, subject: str) -> None:
        self._subject = subject
        self._is_filter = "*" in subject
        self.messages: list[Stored] = []
        self.is_last = False
        self.problem = ""
        self._before = 0
        self._taken = 0
        self._has_gap = False
        self._end: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def ended(self) -> None:
        """Wait for the end of the batch, as long as something comes.

        Raises:
            UnavailableError: The connection was lost.
        """
        while not self._end.done():
            taken = self._taken
            done, _ = await asyncio.wait((self._end,), timeout=_SILENCE_S)
            if not done and taken == self._taken:
                self.problem = "nothing came"
                return
        self._end.result()

    def take(self, data: bytes, headers: bytes) -> None:
        self._taken += 1
        if headers.startswith(b"NATS/1.0 "):
            self._finish(headers)
            return
        answer = _ANSWER.fullmatch(headers) or _TOLD.fullmatch(headers, max(0, headers.rfind(_FIRST_TOLD)))
        if answer is None:
            raise ProtocolError(f"not what a batch consists of: {headers[:200]!r}")
        fence, subject, sequence, second, fraction, before = answer.groups()
        # Each message names the one before it: what follows a gap is asked for again.
        if self._has_gap or int(before) != self._before:
            self._has_gap = True
            return
        self._before = number = int(sequence)
        self.messages.append(
            Stored(
                subject.decode() if self._is_filter else self._subject,
                number,
                data,
                None if not fence else int(fence),
                _second_ms(second) + int(fraction[1:4].ljust(3, b"0")),
            )
        )

    def fail(self) -> None:
        if not self._end.done():
            self._end.set_exception(UnavailableError("the connection was lost"))

    def _finish(self, headers: bytes) -> None:
        status = headers[9:12]
        if status == b"204":
            self.is_last = not self._has_gap and self._is_complete(headers)
        elif status == b"404":
            self.is_last = True
        else:
            self.problem = headers[9:].partition(b"\r\n")[0].decode(errors="replace")
        if not self._end.done():
            self._end.set_result(None)

    def _is_complete(self, headers: bytes) -> bool:
        last = int(_value(headers, _BEFORE) or 0)
        has_tail = not self.messages or self.messages[-1].sequence == last
        return has_tail and int(_value(headers, _PENDING) or 0) == 0


def _stored_or_none(answer: _Got | ApiError) -> Stored | None:
    if isinstance(answer, ApiError):
        if answer.code == NO_MESSAGE:
            return None
        raise UnavailableError(str(answer)) from answer
    one = answer.message
    return Stored(one.subject, one.seq, b64decode(one.data), fence_in(b64decode(one.hdrs)), _milliseconds(one.time))


def fence_in(headers: bytes) -> int | None:
    """Return the sequence that a message's publisher expected, None if it was not fenced on its own subject."""
    found = _FENCE_LINE.search(headers)
    return None if found is None or _OTHER_FENCE in headers else int(found[1])


def _value(headers: bytes, name: bytes) -> bytes:
    # The server adds its headers behind the stored ones, so the last of a name is its own.
    start = headers.rfind(name)
    if start < 0:
        return b""
    start += len(name)
    return headers[start : headers.index(b"\r\n", start)]


def _milliseconds(time: str) -> int:
    """Milliseconds since 1970 of an RFC 3339 time in UTC with any number of fractional digits."""
    return _second_ms(time[:19].encode()) + int(time[20:23].rstrip("Z").ljust(3, "0"))


@lru_cache(maxsize=64)
def _second_ms(time: bytes) -> int:
    return int(datetime.fromisoformat(time.decode()).replace(tzinfo=UTC).timestamp()) * 1000
