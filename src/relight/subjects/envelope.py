"""What of a message stays readable when it is sealed: kinds, names, ids, numbers and times; never what users put in.

A sealed turn or start keeps its shape, with placeholders in it, and has the whole message in `sealed`. A sealed mailbox
message becomes a `Sealed`, which says of what kind it is. So who opens one gets the very bytes back that were sealed,
and can compare what is readable with them.
"""

from __future__ import annotations

from typing import Any, TypeVar, cast

from msgspec import Raw, Struct
from msgspec.structs import replace

from relight.errors import SealedError
from relight.subjects.messages import Sealed, Start, Wake
from relight.subjects.records import Parked
from relight.subjects.turn import Turn

__all__ = (
    "PLACEHOLDER",
    "check_open",
    "check_sealed",
    "earlier_envelope_of",
    "envelope_of",
    "header_in",
    "sealed_wake",
)

T = TypeVar("T")

PLACEHOLDER = "sealed"
"""Stands where a value or a text was."""

_VALUE = Raw(b'"sealed"')
_TEXTS = frozenset(("error", "message", "path", "problem", "reason", "traceback"))
_DIGESTS = frozenset(("digest", "origin_hash"))
"""Of values: whoever guesses one could tell that it is right."""


def envelope_of(message: T) -> T:
    """Return a turn, start, record or mailbox message without anything that users put in; itself if it has nothing."""
    return cast("T", _without_values(message))


def earlier_envelope_of(turn: Turn) -> Turn:
    """Return what `envelope_of` made of a turn in the beginning, when the kind of a parking was hidden, too."""
    envelope = envelope_of(turn)
    records = (replace(one, reason=PLACEHOLDER) if isinstance(one, Parked) else one for one in envelope.records)
    return replace(envelope, records=tuple(records))


def sealed_wake(wake: Wake, sealed: str) -> Sealed:
    """Return what is stored of a mailbox message."""
    return Sealed(of=type(wake).__name__, name=getattr(wake, "name", ""), sealed=sealed)


def header_in(sealed: str) -> tuple[tuple[str, ...], str]:
    """Return by which codecs it was sealed, in order, and the name of its data key (`-`: none was needed)."""
    codecs, key, _ = sealed.split(":", 2)
    return tuple(codecs.split("+")), key


def check_open(message: Turn | Start, run: str) -> None:
    """Refuse a message that is still sealed. Raises `SealedError`."""
    check_sealed(message.sealed, run)


def check_sealed(sealed: str, run: str) -> None:
    """As `check_open`, of what is said there in `sealed`."""
    if sealed:
        codecs, key = header_in(sealed)
        how = "+".join(codecs) if key == "-" else f"{'+'.join(codecs)} and data key {key}"
        raise SealedError(f"run {run!r} is sealed with {how}, for which there is no codec or key here")


def _without_values(struct: Any) -> Any:
    changes: dict[str, object] = {}
    names: tuple[str, ...] = struct.__struct_fields__
    for name in names:
        before = getattr(struct, name)
        is_kind = name == "reason" and type(struct) is Parked  # Of a closed list of our own.
        after = before if is_kind else _without_value(name, before)
        if after is not before:
            changes[name] = after
    return replace(struct, **changes) if changes else struct


def _without_value(name: str, value: Any) -> Any:
    if type(value) is Raw:
        return value if bytes(value) == b"null" else _VALUE
    if isinstance(value, Struct):
        return _without_values(value)
    if isinstance(value, tuple):
        return _without_each(cast("tuple[object, ...]", value))
    if name == "headers" and value:
        return {}
    if name == "not_undone" and value:
        return dict.fromkeys(cast("dict[str, str]", value), PLACEHOLDER)
    if name in _TEXTS and value:
        return "" if name == "traceback" else PLACEHOLDER
    return "" if name in _DIGESTS and value else value


def _without_each(values: tuple[object, ...]) -> tuple[object, ...]:
    after = tuple(_without_value("", one) for one in values)
    return values if all(one is other for one, other in zip(after, values, strict=True)) else after
