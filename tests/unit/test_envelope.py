"""What stays readable of a sealed message, field by field: a new one is decided about here."""

from __future__ import annotations

import typing
from typing import cast

import msgspec
import pytest
from msgspec import Raw

from relight.subjects import messages, records
from relight.subjects.codec import encode
from relight.subjects.envelope import envelope_of

CANARY = "canary-7f3a"
KINDS: tuple[type[msgspec.Struct], ...] = (*typing.get_args(records.Record), *typing.get_args(messages.Wake))

READABLE = {
    "append", "asked_ms", "attempt", "awakeable", "bases", "by", "calls", "cause", "change", "child", "children",
    "client", "close", "code", "deadline_ms", "deaths", "due_ms", "epoch", "generation", "id", "name", "not_before_ms",
    "origin", "origin_records", "owner", "parent", "parent_queue", "place", "queue", "records", "request_ids", "rerun",
    "retry_at_ms", "seed", "signal_ids", "started_at_ms", "step", "suspensions", "tags", "terminates", "timeout_ms",
    "timer", "token", "type", "unchecked", "unsafe", "version", "wait", "workflow",
}  # fmt: skip
"""Names, ids, numbers, times, places, tags."""


def filled(kind: type[msgspec.Struct]) -> msgspec.Struct:
    """Return a message with the canary in every text and value."""
    hints = typing.get_type_hints(kind)
    return kind(**{one.name: _filled(hints[one.name]) for one in msgspec.structs.fields(kind)})


def _filled(hint: typing.Any) -> object:
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if hint is Raw:
        return Raw(encode(CANARY))
    if hint is str or (str in arguments and origin is not dict and origin is not tuple):
        return CANARY
    if origin is dict:
        return {"a": CANARY}
    if origin is tuple:
        return (_filled(arguments[0]),)
    kinds = [one for one in (hint, *arguments) if isinstance(one, type) and issubclass(one, msgspec.Struct)]
    return filled(kinds[0]) if kinds else 0 if hint is not bool else True


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: f"{kind.__module__.rpartition('.')[2]}.{kind.__name__}")
def test_what_stays_readable_are_names_ids_numbers_times_and_places(kind: type[msgspec.Struct]) -> None:
    envelope = msgspec.json.decode(encode(envelope_of(filled(kind))))

    # Why a run is parked is one of a closed list of our own.
    assert set(readable(envelope)) <= READABLE | ({"reason"} if kind is records.Parked else set())


def test_why_a_run_is_parked_stays_readable() -> None:
    envelope = envelope_of(records.Parked("unknown_outcome", CANARY, "charge#1"))

    assert envelope == records.Parked("unknown_outcome", "sealed", "charge#1")


def readable(holder: object, name: str = "") -> list[str]:
    """Names of the fields in which the canary is."""
    if isinstance(holder, dict):
        fields = cast("dict[str, object]", holder)
        return [one for key, value in fields.items() for one in readable(value, name if key == "a" else key)]
    if isinstance(holder, list | tuple):
        return [one for value in cast("list[object]", holder) for one in readable(value, name)]
    return [name] if CANARY in str(holder) else []


def test_a_message_of_which_nothing_is_hidden_is_itself() -> None:
    relit = messages.Relit(owner="host-71-a0b1c2", epoch=2)

    assert envelope_of(relit) is relit
