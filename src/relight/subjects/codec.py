"""The one codec: JSON by msgspec. Users' values stay encoded (`Raw`) inside the messages, so each is encoded once."""

from __future__ import annotations

from typing import TypeVar

import msgspec

from relight.config.limits import LIMITS
from relight.errors import ProtocolError, SealedError
from relight.subjects.grammar import StartSubject, WakeSubject, parse
from relight.subjects.ids import is_token
from relight.subjects.messages import AskEveryWorker, AskOwner, Sealed, Start, Wake, WorkerSays
from relight.subjects.records import End, RequestRejected, RequestReplied
from relight.subjects.turn import VERSION, Tombstone, Turn

__all__ = (
    "UNREADABLE",
    "answer_notice_of",
    "decode_answer_notice",
    "decode_ask",
    "decode_ask_every_worker",
    "decode_notice",
    "decode_start",
    "decode_stored_wake",
    "decode_turn",
    "decode_wake",
    "decode_worker_says",
    "encode",
    "is_of_later_version",
    "notice_of",
)

T = TypeVar("T")

_encoder = msgspec.json.Encoder()
_turn: msgspec.json.Decoder[Turn | Tombstone] = msgspec.json.Decoder(Turn | Tombstone)
_start: msgspec.json.Decoder[Start] = msgspec.json.Decoder(Start)
_wake: msgspec.json.Decoder[Wake | Sealed] = msgspec.json.Decoder(Wake | Sealed)
_ask: msgspec.json.Decoder[AskOwner] = msgspec.json.Decoder(AskOwner)
_ask_every_worker: msgspec.json.Decoder[AskEveryWorker] = msgspec.json.Decoder(AskEveryWorker)
_worker_says: msgspec.json.Decoder[WorkerSays] = msgspec.json.Decoder(WorkerSays)
_end: msgspec.json.Decoder[End] = msgspec.json.Decoder(End)

_answer: msgspec.json.Decoder[RequestReplied | RequestRejected] = msgspec.json.Decoder(RequestReplied | RequestRejected)

encode = _encoder.encode

UNREADABLE = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)
"""What msgspec raises of bytes that are no message: whoever can publish may send a text that is no UTF-8, or thousands
of brackets."""


class _Versioned(msgspec.Struct):
    v: int


_versioned = msgspec.json.Decoder(_Versioned)


def decode_turn(data: bytes) -> Turn | Tombstone:
    """Return the turn or tombstone in a journal message.

    Raises:
        ProtocolError: The bytes are damaged, or of a later protocol version.
    """
    # Not by `_decoded`: a history is as many calls of this as it has turns.
    try:
        turn = _turn.decode(data)
    except UNREADABLE as error:
        raise _unreadable(data, error) from error
    if turn.v != VERSION:
        _check_version(turn.v)
    if type(turn) is Turn:
        if not turn.records:
            raise ProtocolError(f"turn {turn.number} has no records")
        if turn.owner and not is_token(turn.owner):  # Not by its type: that takes five times as long.
            raise ProtocolError(f"turn {turn.number} names no worker: {turn.owner[:80]!r}")
    return turn


def is_of_later_version(data: bytes) -> bool:
    """Whether a message that can't be read is whole, but of a protocol that only a later Relight knows."""
    try:
        return _versioned.decode(data).v > VERSION
    except UNREADABLE:
        return False


def decode_start(data: bytes) -> Start:
    """Return the start in a message of a start subject. Raises `ProtocolError` like `decode_turn`."""
    start = _decoded(_start, data)
    _check_version(start.v)
    return start


def decode_wake(data: bytes) -> Wake:
    """Return the mailbox message. Raises `ProtocolError` like `decode_turn`, and `SealedError`."""
    wake = decode_stored_wake(data)
    if isinstance(wake, Sealed):
        remedy = "use the codecs and keys of the run's workers (RELIGHT_ENCRYPTION_KEYS)"
        raise SealedError(f"a message ({wake.of}) is sealed, and can't be opened here; {remedy}")
    return wake


def decode_stored_wake(data: bytes) -> Wake | Sealed:
    """Return the mailbox message as it is stored. Raises `ProtocolError` like `decode_turn`."""
    return _decoded(_wake, data)


def decode_ask(data: bytes) -> AskOwner:
    """Return the question for an owner. Raises `ProtocolError` like `decode_turn`."""
    ask = _decoded(_ask, data)
    _check_delivered(ask.subject)
    return ask


def decode_ask_every_worker(data: bytes) -> AskEveryWorker:
    """Return the question for all workers. Raises `ProtocolError` like `decode_turn`."""
    ask = _decoded(_ask_every_worker, data)
    if ask.workflow:
        _check_delivered(ask.subject)
    return ask


def decode_worker_says(data: bytes) -> WorkerSays:
    """Return a worker's answer to such a question. Raises `ProtocolError` like `decode_turn`."""
    return _decoded(_worker_says, data)


def notice_of(end: End | None) -> bytes:
    """Return the payload of a `done` notice: the end, or nothing if it is too large to be sent on the chance."""
    data = encode(end)
    return data if len(data) <= LIMITS.notice_bytes_max else b""


def decode_notice(data: bytes) -> End | None:
    """Return the end that a `done` notice tells; None if it tells only that there is one."""
    return _decoded(_end, data) if data else None


def answer_notice_of(answer: RequestReplied | RequestRejected) -> bytes:
    """Return the payload of an `answer` notice: the answer, or nothing if it is too large to be sent on the chance."""
    data = encode(answer)
    return data if len(data) <= LIMITS.notice_bytes_max else b""


def decode_answer_notice(data: bytes) -> RequestReplied | RequestRejected | None:
    """Return the answer that an `answer` notice tells; None if it tells only that there is one."""
    return _decoded(_answer, data) if data else None


def _decoded(decoder: msgspec.json.Decoder[T], data: bytes) -> T:
    try:
        return decoder.decode(data)
    except UNREADABLE as error:
        raise _unreadable(data, error) from error


def _unreadable(data: bytes, error: Exception) -> ProtocolError:
    return ProtocolError(f"unreadable message ({error}): {data[:80]!r}")


def _check_delivered(subject: str) -> None:
    if not isinstance(parse(subject), StartSubject | WakeSubject):
        raise ProtocolError(f"{subject[:80]!r} is no subject of a start or of a mailbox")


def _check_version(version: int) -> None:
    if version != VERSION:
        raise ProtocolError(f"protocol version {version}; this version of Relight reads {VERSION}; upgrade it")
