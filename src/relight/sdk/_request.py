"""Requests to a run, on the side of its code: messages that want an answer."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Generic, TypeVar, final

from msgspec import Raw

from relight.actors.run.answers import Answer, GivenAnswers
from relight.config.limits import LIMITS
from relight.errors import AlreadyAnsweredError, InvalidValueError
from relight.sdk._any_value import checked_text, encode_any
from relight.sdk._unawaited import to_await
from relight.sdk._values import ValueType
from relight.subjects import records as r

if TYPE_CHECKING:
    from relight.sdk._activation import Activation

__all__ = ("Request", "Requests", "requests_of")

T = TypeVar("T")

_NOTHING = Raw(b"")
_to_await = to_await("request", lambda request: request._requests.activation)


@final
class Request(Generic[T]):
    """A message that wants an answer. Answer it once, whenever you like; it may be handed to a task.

    Attributes:
        data: What was sent, validated.
    """

    __slots__ = ("_received", "_requests", "data")

    def __init__(self, requests: Requests, received: r.RequestReceived, data: T) -> None:
        self.data = data
        self._requests = requests
        self._received = received

    @_to_await
    async def reply(self, result: object) -> None:
        """Answer it. Who asked gets the answer when it is recorded.

        Raises:
            AlreadyAnsweredError: It was answered already.
            InvalidValueError: The result can't be written as JSON.
            PayloadTooLargeError: It is larger than the setting `value_bytes_max`.
        """
        asked = self._received
        self._requests.answer(asked, r.RequestReplied(asked.id, self._requests.encoded(result, asked), asked.client))

    @_to_await
    async def reject(self, reason: str) -> None:
        """Refuse it: who asked gets `RequestRejected` with this reason. Raises like `reply`."""
        asked = self._received
        said = checked_text(reason, what="the reason")
        self._requests.answer(asked, r.RequestRejected(asked.id, said, client=asked.client))


@final
class Requests:
    """What one activation was asked.

    Attributes:
        activation: That one.
    """

    def __init__(self, activation: Activation) -> None:
        self.activation = activation
        self._open: dict[str, r.RequestReceived] = {}
        self._kept: dict[str, deque[r.RequestReceived]] = {}
        self._waits: dict[str, deque[tuple[int, asyncio.Future[r.RequestReceived]]]] = {}
        self._given = GivenAnswers()
        self._ids = 0

    def take(self, received: r.RequestReceived) -> None:
        """One came: for whoever waits for it first, or kept."""
        self._ids += 1
        self._open[received.id] = received
        waits = self._waits.get(received.name)
        while waits:
            _, future = waits.popleft()
            if not future.done():
                future.set_result(received)
                return
        self._kept.setdefault(received.name, deque()).append(received)

    def carry_on(self, continued: r.Continued) -> None:
        """Answers that were given in the history before."""
        self._ids = len(continued.request_ids)
        self._given = GivenAnswers.carried(continued.answers, self.activation.at_ms)

    async def next(self, name: str, place: str) -> r.RequestReceived:
        """Wait for the next one of this name; the oldest kept one is taken at once."""
        number = self.activation.next_wait()
        self.activation.ask(r.RequestAwaited(number, name, place))
        kept = self._kept.get(name)
        if kept:
            return kept.popleft()
        return await self.activation.wait(number, self._waits.setdefault(name, deque()))

    def answer(self, asked: r.RequestReceived, answer: Answer) -> None:
        if self._open.pop(asked.id, None) is None:
            raise AlreadyAnsweredError(self.activation.run, asked.name)
        self._given.add(answer, self.activation.at_ms)
        self.activation.ask(answer)

    def encoded(self, result: object, asked: r.RequestReceived) -> Raw:
        """Return a reply as it is recorded. Raises like `Request.reply`."""
        bytes_max = self.activation.value_bytes_max
        return Raw(encode_any(result, what=f"the reply to request {asked.name!r}", bytes_max=bytes_max))

    def carried(self) -> list[Raw]:
        """What a history that continues as new has to carry: data, answers, and ids."""
        replies = [
            one.result if isinstance(one, r.RequestReplied) else Raw(one.reason.encode()) for one in self._given.answers
        ]
        return [
            *(one.data for one in self._open.values()),
            *replies,
            *[_NOTHING] * min(self._ids, LIMITS.requests_carried_max),
        ]

    def close(self) -> None:
        self._waits.clear()


async def requests_of(requests: Requests, name: str, kind: ValueType[T], place: str) -> AsyncIterator[Request[T]]:
    """Iterate over what is asked; what does not fit the type is rejected at once."""
    while True:
        asked = await requests.next(name, place)
        try:
            data = kind.receive(asked.data, what=f"request {name!r}", root="data")
        except InvalidValueError as error:
            requests.answer(asked, r.RequestRejected(asked.id, str(error), error.path or "data", asked.client))
        else:
            yield Request(requests, asked, data)
