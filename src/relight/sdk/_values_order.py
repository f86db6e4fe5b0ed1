"""Sets in an order that every process agrees on.

The order of a set of strings differs from process to process (hash randomisation). The digest of a step's arguments and
the bytes of a workflow's are compared across processes, so sets are put in the order of their members' JSON before they
are encoded. pydantic asks the set for its iterator; so a subclass with another `__iter__` is all that it takes. An
error of that iterator would be a panic, past every `except Exception`, so the members are sorted before pydantic asks.
"""

from __future__ import annotations

import copy
from collections import OrderedDict, deque
from collections.abc import Iterable, Iterator
from datetime import timedelta
from decimal import Decimal
from operator import is_
from typing import TypeAlias, cast
from uuid import UUID

from pydantic import BaseModel
from pydantic_core import to_json

from relight.sdk._values_compare import ATOMS, state_of

__all__ = ("with_ordered_sets",)

_Container: TypeAlias = list[object] | tuple[object, ...] | deque[object] | dict[object, object]

_LIST: type[list[object]] = list
_TUPLE: type[tuple[object, ...]] = tuple
_DEQUE: type[deque[object]] = deque
_NUMBERS: frozenset[type] = frozenset({int, float, bool, complex, Decimal, UUID, timedelta})
"""What hashes alike in every process: numbers, and what is one inside."""


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


def with_ordered_sets(value: object, are_numbers_kept: bool = False) -> object:
    """Return the value itself if it holds no set; else a copy, to be encoded and then forgotten, with ordered ones.

    Args:
        value: Anything.
        are_numbers_kept: Leave sets of nothing but numbers as they are.
    """
    kind = type(value)
    if kind in ATOMS or kind is float:
        return value
    if kind is list or kind is tuple:
        return _sequence(cast("list[object]", value), are_numbers_kept)
    if kind is dict:
        return _dict(cast("dict[object, object]", value), are_numbers_kept)
    if kind is set or kind is frozenset:
        return _set(cast("set[object] | frozenset[object]", value), are_numbers_kept)
    if isinstance(value, BaseModel) or hasattr(kind, "__dataclass_fields__"):
        return _object(value, are_numbers_kept)
    if isinstance(value, (list, tuple, deque, dict)):
        return _of_subclass(cast("_Container", value))
    return value


def _set(value: set[object] | frozenset[object], are_numbers_kept: bool) -> object:
    if are_numbers_kept and _NUMBERS.issuperset(map(type, value)):
        return value
    try:
        in_order = sorted([with_ordered_sets(one, are_numbers_kept) for one in value], key=_json)
    except Exception:  # noqa: BLE001 - a member's own code can raise anything
        # It may never be written: a field may be left out. If it is, pydantic says what is wrong with it.
        return value
    return _OrderedSet(in_order) if type(value) is set else _OrderedFrozenSet(in_order)


def _json(member: object) -> bytes:
    return to_json(member, bytes_mode="base64", inf_nan_mode="strings", by_alias=False)


def _sequence(value: list[object], are_numbers_kept: bool) -> object:
    items = [with_ordered_sets(item, are_numbers_kept) for item in value]
    return value if all(map(is_, items, value)) else type(value)(items)


def _dict(value: dict[object, object], are_numbers_kept: bool) -> object:
    items = [with_ordered_sets(item, are_numbers_kept) for item in value.values()]
    return value if all(map(is_, items, value.values())) else dict(zip(value, items, strict=True))


def _of_subclass(value: _Container) -> object:
    """A named tuple, a deque, a defaultdict, … Its class stays, and none of its own code is called."""
    before = list(_items(value))
    # Numbers have the same order everywhere, and old histories hold digests of them in the order in which they came.
    items = [with_ordered_sets(item, True) for item in before]
    if all(map(is_, items, before)):
        return value
    ordered = _filled(value, items)
    for name, held in state_of(value).items():
        object.__setattr__(ordered, name, held)
    return ordered


def _items(value: _Container) -> Iterable[object]:
    if isinstance(value, dict):
        return _dict_class(value).values(value)
    if isinstance(value, tuple):
        return _TUPLE.__iter__(value)
    return _LIST.__iter__(value) if isinstance(value, list) else _DEQUE.__iter__(value)


def _filled(value: _Container, items: list[object]) -> object:
    if isinstance(value, tuple):
        return _TUPLE.__new__(type(value), items)
    if isinstance(value, list):
        ordered_list = list.__new__(type(value))
        _LIST.extend(ordered_list, items)
        return ordered_list
    if isinstance(value, deque):
        ordered_deque = deque.__new__(type(value))
        _DEQUE.extend(ordered_deque, items)
        return ordered_deque
    base, ordered = _dict_class(value), dict.__new__(type(value))
    for key, item in zip(base.keys(value), items, strict=True):
        base.__setitem__(ordered, key, item)
    return ordered


def _dict_class(value: dict[object, object]) -> type[dict[object, object]]:
    """The class that knows the order."""
    return OrderedDict if isinstance(value, OrderedDict) else dict


def _object(value: object, are_numbers_kept: bool) -> object:
    before = _encoded_attributes(value)
    changed = {
        name: new for name, old in before.items() if (new := with_ordered_sets(old, are_numbers_kept)) is not old
    }
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
