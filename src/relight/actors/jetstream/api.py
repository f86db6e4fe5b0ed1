"""Calls of the JetStream API: JSON there and back, over the mux that the publishes use."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeVar, final

import msgspec

from relight.actors.jetstream.mux import Mux, NoResponders
from relight.errors import UnavailableError, UnsuitableServerError

__all__ = ("NO_CONSUMER", "NO_MESSAGE", "NO_STREAM", "Api", "ApiError", "check_jetstream")

NO_STREAM = 10059
NO_CONSUMER = 10014
NO_MESSAGE = 10037
_NO_JETSTREAM = (10039, 10076)
_NO_SEQUENCE = 10043
_NOT_DELETED = 10057

T = TypeVar("T")


class ApiError(Exception):
    """The server refused a call."""

    def __init__(self, call: str, code: int, description: str) -> None:
        super().__init__(f"{call}: {description} ({code})")
        self.code = code
        self.description = description

    @property
    def says_gone(self) -> bool:
        """Whether what was to be deleted is not there, or is not there any more."""
        # One code stands for all that can go wrong with a deletion.
        is_missing = self.description in ("no message found", "stream store EOF")
        return self.code == _NO_SEQUENCE or (self.code == _NOT_DELETED and is_missing)


class _Error(msgspec.Struct):
    err_code: int = 0
    description: str = ""


class _Answer(msgspec.Struct):
    error: _Error | None = None


_encode = msgspec.json.Encoder().encode
_answer = msgspec.json.Decoder(_Answer)


@final
class Api:
    """Asks JetStream itself."""

    def __init__(self, mux: Mux) -> None:
        self._mux = mux

    async def ask(self, call: str, kind: type[T], request: Mapping[str, object] | None = None) -> T:
        """Call `$JS.API.<call>` and return its answer as `kind`.

        Raises:
            ApiError: The server refused.
            UnavailableError: No answer in time, or none that can be read. The call may have had its effect.
        """
        answer = await self.answer(call, kind, request)
        if not isinstance(answer, ApiError):
            return answer
        try:
            raise answer
        finally:
            # Its traceback holds this frame; if the frame held it too, only the collector could free them.
            del answer

    async def answer(self, call: str, kind: type[T], request: Mapping[str, object] | None = None) -> T | ApiError:
        """Like `ask`, but return the refusal: an exception costs more than all the rest.

        Raises:
            UnavailableError: No answer in time, or none that can be read. The call may have had its effect.
        """
        return _decoded(call, await self._raw(call, request), kind)

    async def do(self, call: str, request: Mapping[str, object]) -> ApiError | None:
        """Make a call whose answer says nothing but whether it was refused, and return the refusal.

        Raises:
            UnavailableError: No answer in time, or none that can be read. The call may have had its effect.
        """
        answer = await self._raw(call, request)
        if b'"error"' not in answer:
            return None
        refused = _decoded(call, answer, object)
        return refused if isinstance(refused, ApiError) else None

    async def ask_together(
        self, calls: Sequence[tuple[str, Mapping[str, object]]], kind: type[T]
    ) -> list[T | ApiError]:
        """Make calls at once and return their answers in order, or why they were refused.

        Raises:
            UnavailableError: One of them has no answer in time, or none that can be read.
        """
        questions = [(f"$JS.API.{call}", _encode(request)) for call, request in calls]
        try:
            answers = await self._mux.ask_together(questions)
        except NoResponders as error:
            raise UnavailableError(f"JetStream does not answer {calls[0][0]} now: no leader") from error
        return [_decoded(call, answer, kind) for (call, _), answer in zip(calls, answers, strict=True)]

    async def _raw(self, call: str, request: Mapping[str, object] | None) -> bytes:
        try:
            return await self._mux.ask(f"$JS.API.{call}", _encode(request) if request else b"")
        except NoResponders as error:
            raise UnavailableError(f"JetStream does not answer {call} now: not enabled, or no leader") from error

    async def need(self, call: str, kind: type[T], request: Mapping[str, object] | None = None) -> T:
        """Like `ask`, for calls that the server can only refuse because it is not able to now."""
        try:
            return await self.ask(call, kind, request)
        except ApiError as error:
            raise UnavailableError(str(error)) from error


def _decoded(call: str, answer: bytes, kind: type[T]) -> T | ApiError:
    try:
        refused = _answer.decode(answer).error
        if refused is None:
            return msgspec.json.decode(answer, type=kind)
    except msgspec.MsgspecError as error:
        raise UnavailableError(f"{call}: the answer can't be read ({error}): {answer[:80]!r}") from error
    return ApiError(call, refused.err_code, refused.description)


async def check_jetstream(mux: Mux) -> None:
    """Make sure that this account has JetStream.

    Raises:
        UnsuitableServerError: It has not.
        UnavailableError: No answer in time.
    """
    try:
        answer = await mux.ask("$JS.API.INFO", b"")
    except NoResponders as error:
        raise UnsuitableServerError("this NATS server has no JetStream; start nats-server with -js") from error
    refused = _answer.decode(answer).error
    if refused is not None and refused.err_code in _NO_JETSTREAM:
        raise UnsuitableServerError(
            f"this account has no JetStream ({refused.description}); enable it in the server's accounts"
        )
    if refused is not None:
        raise UnavailableError(f"JetStream is not ready: {refused.description} ({refused.err_code})")
