"""Sets in an order that every process agrees on.

The order of a set of strings differs from process to process (hash randomisation). The digest of a step's arguments and
the bytes of a workflow's are compared across processes, so sets are put in the order of their members' JSON before they
are encoded. pydantic asks the set for its iterator; so a subclass with another `__iter__` is all that it takes. It can't
bear an error of the iterator (it panics, past every `except Exception`), so the members are sorted before it asks.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from operator import is_
from typing import cast

from pydantic import BaseModel
from pydantic_core import to_json

from relight.sdk._values_compare import ATOMS, state_of

__all__ = ("with_ordered_sets",)


class _OrderedSet(set[object]):
    __slots__ = ("_in_order",)

    def __init__(self, in_order: list[object]) -> None:
        super().__init__(in_order)
        self._in_order = in_order

    def __iter__(self) -> Iterator[object]:
        return iter(self._in_order)


class _OrderedFrozenSet(frozenset[object]):
    __slots__ = ("_in_order",)

    def __init__(self, in_order: list[object]) -> None:
        self._in_order = in_order

    def __iter__(self) -> Iterator[object]:
        return iter(self._in_order)


def with_ordered_sets(value: object) -> object:
    """Return the value itself if it holds no set; else a copy, to be encoded and then forgotten, with ordered ones."""
    kind = type(value)
    if kind in ATOMS or kind is float:
        return value
    if kind is list or kind is tuple:
        return _sequence(cast("list[object]", value))
    if kind is dict:
        return _dict(cast("dict[object, object]", value))
    if kind is set or kind is frozenset:
        return _set(cast("set[object] | frozenset[object]", value))
    if isinstance(value, BaseModel) or hasattr(kind, "__dataclass_fields__"):
        return _object(value)
    return value


def _set(value: set[object] | frozenset[object]) -> object:
    try:
        in_order = sorted(map(with_ordered_sets, value), key=_json)
    except Exception:  # noqa: BLE001 - a member's own code can raise anything
        # It may never be written: a field may be left out. If it is, pydantic says what is wrong with it.
        return value
    return _OrderedSet(in_order) if type(value) is set else _OrderedFrozenSet(in_order)


def _json(member: object) -> bytes:
    return to_json(member, bytes_mode="base64", inf_nan_mode="strings", by_alias=False)


def _sequence(value: list[object]) -> object:
    items = [with_ordered_sets(item) for item in value]
    return value if all(map(is_, items, value)) else type(value)(items)


def _dict(value: dict[object, object]) -> object:
    items = [with_ordered_sets(item) for item in value.values()]
    return value if all(map(is_, items, value.values())) else dict(zip(value, items, strict=True))


def _object(value: object) -> object:
    before = _encoded_attributes(value)
    changed = {name: new for name, old in before.items() if (new := with_ordered_sets(old)) is not old}
    if not changed:
        return value
    ordered = copy.copy(value)
    # Past the class's own `__setattr__`: it may be frozen, or validate.
    for name, item in changed.items():
        object.__setattr__(ordered, name, item)
    return ordered


def _encoded_attributes(value: object) -> dict[str, object]:
    if isinstance(value, BaseModel):
        return {**value.__dict__, "__pydantic_extra__": value.__pydantic_extra__}
    return state_of(value)
