"""Ids and names, validated as NATS tokens: whoever holds one of these types can build a subject from it."""

from __future__ import annotations

import re
from functools import lru_cache
from hashlib import blake2b
from typing import Annotated, NewType, TypeAlias

from msgspec import Meta

from relight.config.limits import LIMITS
from relight.errors import InvalidIdError

__all__ = (
    "AcknowledgementInMessage",
    "ConsumerInMessage",
    "IdInMessage",
    "Namespace",
    "OptionalIdInMessage",
    "QueueName",
    "RunId",
    "SeedInMessage",
    "Slot",
    "WorkerId",
    "file_name",
    "is_token",
    "name_of",
    "queue_name",
    "slot_of",
    "token",
)

Namespace = NewType("Namespace", str)
QueueName = NewType("QueueName", str)
RunId = NewType("RunId", str)
Slot = NewType("Slot", int)
WorkerId = NewType("WorkerId", str)

_TOKEN = re.compile(rf"[^\s.*>\x00-\x1f\x7f-\x9f\ud800-\udfff]{{1,{LIMITS.id_characters_max}}}")
_TOKEN_ASCII = re.compile(rf"[A-Za-z0-9_-]{{1,{LIMITS.id_characters_max}}}")
_ID = rf"(?!\$){_TOKEN.pattern}"
_IN_SUBJECT = r"[^\s*>\x00-\x1f\x7f-\x9f]+"

IdInMessage: TypeAlias = Annotated[str, Meta(pattern=rf"\A{_ID}\Z")]
"""A field of which a token of a subject is made: whoever may send a message may put any text into it."""

OptionalIdInMessage: TypeAlias = Annotated[str, Meta(pattern=rf"\A(?:{_ID})?\Z")]
"""Likewise; empty if there is none."""

SeedInMessage: TypeAlias = Annotated[str, Meta(pattern=r"\A[0-9a-f]*\Z")]
"""Hexadecimal digits of which random numbers are made; none if nothing was drawn."""

ConsumerInMessage: TypeAlias = Annotated[str, Meta(pattern=rf"\A{_IN_SUBJECT}\Z")]
"""`<stream>.<consumer>`, which becomes a part of a subject."""

AcknowledgementInMessage: TypeAlias = Annotated[str, Meta(pattern=rf"\A\$JS\.ACK\.{_IN_SUBJECT}\Z")]
"""The subject under which a delivery is acknowledged."""


def token(kind: str, value: object) -> str:
    """Return `value` if it can be one token of a NATS subject.

    Raises:
        InvalidIdError: It is no string, empty, longer than `limits.id_characters_max`, begins with `$`, or contains
            `.`, `*`, `>`, white space or a control character.
    """
    if isinstance(value, str) and (
        _TOKEN_ASCII.fullmatch(value) or (_TOKEN.fullmatch(value) and not value.startswith("$"))
    ):
        return value
    raise InvalidIdError(kind, value, _problem(value))


@lru_cache(maxsize=4096)
def is_token(value: str) -> bool:
    """Whether a text can be one token of a NATS subject."""
    try:
        token("token", value)
    except InvalidIdError:
        return False
    return True


def queue_name(value: object) -> QueueName:
    """Return `value` if it can name a queue.

    Raises:
        InvalidIdError: Like `token`; or it is the reserved `retired`, or contains `/` or `\\`.
    """
    if value == "retired":
        raise InvalidIdError("queue", value, "is reserved; choose another name")
    return QueueName(file_name("queue", token("queue", value)))


def file_name(kind: str, value: str) -> str:
    """Return `value` if streams and consumers can be named after it. Raises `InvalidIdError` if not."""
    if "/" in value or "\\" in value:
        raise InvalidIdError(kind, value, "must not contain '/' or '\\', because nats-server names files after it")
    return value


def name_of(kind: str, value: object) -> str:
    """Return `value` if it can name a workflow, step, signal or suspension: any text that fits into one line.

    Raises:
        InvalidIdError: It is no string, empty, too long, or contains a control character.
    """
    if isinstance(value, str) and 0 < len(value) <= LIMITS.id_characters_max and value.isprintable():
        return value
    raise InvalidIdError(kind, value, f"must be printable text of 1 to {LIMITS.id_characters_max} characters")


@lru_cache(maxsize=1024)  # Whoever has to do with a run mostly builds several of its subjects.
def slot_of(run: str) -> Slot:
    """Return the slot of a run id: a function of the id alone, the same for ever and in every language."""
    return Slot(blake2b(run.encode(), digest_size=8).digest()[0] % LIMITS.slots)


def _problem(value: object) -> str:
    if not isinstance(value, str):
        return f"must be a string, not {type(value).__name__}"
    if not value:
        return "must not be empty"
    if len(value) > LIMITS.id_characters_max:
        return f"has {len(value)} characters; the limit is {LIMITS.id_characters_max}; give a shorter one"
    return "must not begin with $ or contain '.', '*', '>', white space or control characters; use '-' or '_'"
