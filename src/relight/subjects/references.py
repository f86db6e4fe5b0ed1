"""References: what stands in a record for a value that is too large for it. Pure.

A reference is a JSON object that begins with the key `$relight.value`. A value of the user's that begins so is stored
apart like a large one, whatever its size, so that the two can't be confused.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from hashlib import sha256
from typing import Any, TypeVar, cast

import msgspec
from msgspec import Raw, Struct

from relight.subjects import messages as m
from relight.subjects import records as r

__all__ = (
    "PREFIX",
    "Reference",
    "digest_of",
    "identity_of",
    "in_place",
    "is_reference",
    "reference_in",
    "reference_to",
    "references_in",
    "values_in",
    "with_values",
)

T = TypeVar("T")

PREFIX = b'{"$relight.value":'
"""How every reference begins."""

_PREFIX_SEEN = memoryview(PREFIX)
_DOLLAR = PREFIX[2]
_BYTES_MAX = 200
"""No reference is longer."""


class Reference(Struct, frozen=True):
    """Names a value by the digest of its JSON. It belongs to the run in whose history or mailbox it stands.

    Attributes:
        digest: SHA-256, in hex.
        bytes: Size of the JSON.
    """

    digest: str = msgspec.field(name="$relight.value")
    bytes: int


_decoder = msgspec.json.Decoder(Reference)

_FIELDS: dict[type, str] = {
    r.StepCompleted: "result",
    r.StepHeartbeat: "details",
    r.RequestReplied: "result",
    r.Suspended: "data",
    r.DetailsSet: "data",
    r.RunCompleted: "result",
    r.SignalReceived: "data",
    r.RequestReceived: "data",
    r.AnswerReceived: "data",
    r.AwakeableCompleted: "data",
    m.Signal: "data",
    m.Request: "data",
    m.Answer: "data",
    m.AnswerAwakeable: "data",
    m.Resolve: "result",
}
"""Where one value may be a reference. `RunStarted.arguments`, the end of a child and answers that are carried over may
hold some, too."""


def digest_of(value: Raw | bytes | bytearray) -> str:
    """Return the digest that addresses a value."""
    return sha256(memoryview(value)).hexdigest()


def reference_to(digest: str, size: int) -> Raw:
    """Return what stands in place of a value."""
    return Raw(msgspec.json.encode(Reference(digest, size)))


def is_reference(value: Raw | bytes) -> bool:
    """Whether it begins like a reference: then it is none of the user's values."""
    seen = memoryview(value)
    # To compare views costs much more than a look at the third byte, which is `$` in nearly no other value.
    return len(seen) > 2 and seen[2] == _DOLLAR and seen[: len(PREFIX)] == _PREFIX_SEEN


def identity_of(value: Raw) -> str:
    """Return the digest of a value, also of one that a reference stands for."""
    reference = reference_in(value)
    return digest_of(value) if reference is None else reference.digest


def references_in(holder: object) -> list[Reference]:
    """Return the references in a record or a mailbox message."""
    return [one for value in values_in(holder) if (one := reference_in(value)) is not None]


def with_values(holder: T, change: Callable[[Raw], Raw]) -> T:
    """Return a record or message with each value that may be a reference changed; the same one if none was."""
    kind = type(holder)
    field = _FIELDS.get(kind)
    if field is not None:
        before: Raw = getattr(holder, field)
        after = change(before)
        return holder if after is before else _replaced(holder, field, after)
    if isinstance(holder, r.RunStarted):
        arguments = tuple(change(one) for one in holder.arguments)
        signal = None if holder.signal is None else with_values(holder.signal, change)
        same = all(one is other for one, other in zip(arguments, holder.arguments, strict=True))
        if same and signal is holder.signal:
            return holder
        return cast("T", msgspec.structs.replace(holder, arguments=arguments, signal=signal))
    if isinstance(holder, r.ChildEnded | m.ChildOver):
        end = with_values(holder.end, change)
        return cast("T", holder if end is holder.end else _replaced(holder, "end", end))
    if isinstance(holder, r.Continued):
        answers = tuple(with_values(one, change) for one in holder.answers)
        same = all(one is other for one, other in zip(answers, holder.answers, strict=True))
        return cast("T", holder if same else _replaced(holder, "answers", answers))
    return holder


def in_place(holder: T, values: Mapping[str, Raw]) -> T:
    """Return a record or message with those values, by digest, in place of its references.

    References to others stay.
    """

    def change(value: Raw) -> Raw:
        reference = reference_in(value)
        return value if reference is None else values.get(reference.digest, value)

    return with_values(holder, change)


def values_in(holder: object) -> Iterable[Raw]:
    """Return the values in a record or a mailbox message that are stored apart if they are large."""
    field = _FIELDS.get(type(holder))
    if field is not None:
        return (getattr(holder, field),)
    if isinstance(holder, r.RunStarted):
        return holder.arguments if holder.signal is None else (*holder.arguments, holder.signal.data)
    if isinstance(holder, r.ChildEnded | m.ChildOver):
        return values_in(holder.end)
    if isinstance(holder, r.Continued):
        return [value for one in holder.answers for value in values_in(one)]
    return ()


def _replaced(holder: Any, field: str, value: object) -> Any:
    return msgspec.structs.replace(holder, **{field: value})


def reference_in(value: Raw) -> Reference | None:
    """Return the reference that stands in place of a value, if one does."""
    if len(value) > _BYTES_MAX or not is_reference(value):
        return None
    try:
        return _decoder.decode(value)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return None  # Written by a person: it stands for itself.
