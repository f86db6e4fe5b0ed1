"""Stores messages: one publish, one acknowledgement, nothing decoded unless the server refuses."""

from __future__ import annotations

from typing import final

import msgspec

from relight.actors.jetstream.connection import Connection
from relight.actors.jetstream.mux import Mux, NoResponders
from relight.errors import FencedError, PayloadTooLargeError, UnavailableError

__all__ = ("FENCE", "Publisher", "fence_headers")

FENCE = "Nats-Expected-Last-Subject-Sequence"

_FENCED = (10071, 10164)
_MESSAGE_TOO_LARGE = 10054
_HEADERS_TOO_LARGE = 10097
_HEADERS_BYTES_MAX = 64 * 1024
_SEQUENCE = b'"seq":'


class _Error(msgspec.Struct):
    err_code: int = 0
    description: str = ""


class _Refusal(msgspec.Struct):
    error: _Error


_refusal = msgspec.json.Decoder(_Refusal)


@final
class Publisher:
    """Publishes with acknowledgement. Any number of callers at once; they share one subscription."""

    def __init__(self, connection: Connection, mux: Mux) -> None:
        self._connection = connection
        self._mux = mux

    async def publish(self, subject: str, data: bytes, headers: str = "") -> int:
        """Store one message and return its stream sequence.

        Args:
            subject: A validated subject.
            data: The payload.
            headers: A complete header block, or nothing.

        Raises:
            FencedError: The fence was not accepted. Nothing was written.
            PayloadTooLargeError: Larger than the server takes. Nothing was written.
            UnavailableError: No acknowledgement, or the server can't store now. It may have been written.
        """
        if len(headers) + len(data) > self._connection.max_payload:
            raise PayloadTooLargeError(
                f"message for {subject}", size_bytes=len(data), limit_bytes=self._connection.max_payload - len(headers)
            )
        try:
            answer = await self._mux.ask(subject, data, headers=headers)
        except NoResponders as error:
            raise UnavailableError(f"no stream takes {subject} now: no stream of that subject, or no leader") from error
        if b'"error"' in answer:
            raise _refused(subject, answer, len(headers), len(data))
        return _sequence(answer)


def fence_headers(fence: int | None, fence_subject: str | None) -> str:
    """Return the header block that fences a publish; empty if it is unfenced."""
    if fence is None:
        return ""
    if fence_subject is None:
        return f"NATS/1.0\r\n{FENCE}:{fence}\r\n\r\n"
    return f"NATS/1.0\r\n{FENCE}:{fence}\r\n{FENCE}-Subject:{fence_subject}\r\n\r\n"


def _sequence(answer: bytes) -> int:
    """Find the sequence in `{"stream":"S", "seq":5}`, with whatever may follow it."""
    start = answer.rfind(_SEQUENCE)
    if start < 0:
        raise UnavailableError(f"an acknowledgement can't be read: {answer[:80]!r}")
    digits = answer[start + 6 :]
    comma = digits.find(b",")
    return int(digits[:comma] if comma >= 0 else digits.rstrip(b"} \r\n"))


def _refused(subject: str, answer: bytes, headers_bytes: int, data_bytes: int) -> Exception:
    try:
        error = _refusal.decode(answer).error
    except msgspec.MsgspecError:
        return UnavailableError(f"{subject}: the answer can't be read: {answer[:80]!r}")
    if error.err_code in _FENCED:
        return FencedError(f"{subject}: {error.description} ({error.err_code})")
    if error.err_code == _MESSAGE_TOO_LARGE:
        # The server does not say its limit; one byte less is the largest that may be below it.
        return PayloadTooLargeError(
            f"message for {subject} ({error.description})", size_bytes=data_bytes, limit_bytes=data_bytes - 1
        )
    if error.err_code == _HEADERS_TOO_LARGE:
        return PayloadTooLargeError(f"headers for {subject}", size_bytes=headers_bytes, limit_bytes=_HEADERS_BYTES_MAX)
    return UnavailableError(f"{subject} was not stored: {error.description} ({error.err_code})")
