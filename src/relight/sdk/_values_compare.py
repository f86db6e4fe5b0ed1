"""Whether two values are the same: type and value, all the way down.

`==` is not enough to prove that a recorded value came back unchanged: `0 == False == 0.0`, `nan != nan`, `-0.0 == 0.0`,
`Decimal("1.0") == Decimal("1.00")`, a dataclass may leave fields out of its `==`, and aware datetimes in a repeated
hour are never equal to one of another zone. So containers and objects are walked and only leaves are compared.

Three differences are let pass, because nothing is lost and the decoded value is what the annotation promises: an int
returned as `float` (PEP 484) that a float holds exactly, an aware datetime whose zone became a fixed offset with the
same local time, and a pydantic `Box(...)` under `Box[int]`.
"""

from __future__ import annotations

import math
from collections import defaultdict, deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, time
from decimal import Decimal
from functools import cached_property, lru_cache
from typing import NamedTuple, cast

from pydantic import BaseModel

from relight.sdk._values_path import at_key, at_name, joined

__all__ = ("ATOMS", "Difference", "difference", "state_of")

ATOMS: frozenset[type] = frozenset({str, int, bool, type(None), bytes})
"""Types whose values hold no others and for which `==` between two of the same type says everything."""


@dataclass(frozen=True)
class Difference:
    """The first place where two values differ; `path` continues the name of the value, for example `.items[3].when`."""

    returned: object
    decoded: object
    problem: str
    path: str = ""


def difference(returned: object, decoded: object) -> Difference | None:
    """Return the first difference between the two values, or None if they are the same in type and value."""
    kind = type(returned)
    if kind is not type(decoded):
        return _across_types(returned, decoded)
    if kind in ATOMS:
        return None if returned == decoded else _changed(returned, decoded)
    if isinstance(returned, (list, tuple, deque)):
        return _between_sequences(cast("list[object]", returned), cast("list[object]", decoded))
    if isinstance(returned, dict):
        return _between_dicts(cast("dict[object, object]", returned), cast("dict[object, object]", decoded))
    if isinstance(returned, (set, frozenset)):
        return _between_sets(cast("set[object]", returned), cast("set[object]", decoded))
    if isinstance(returned, BaseModel) or hasattr(kind, "__dataclass_fields__"):
        return _between_states(returned, decoded)
    return _between_leaves(returned, decoded)


def state_of(value: object) -> dict[str, object]:
    """Return what an object holds: its `__dict__`, slots and pydantic's extra and private attributes.

    Cached properties are left out: they are computed again.
    """
    # mypy takes the `__hash__` of a class's instances for that of the class.
    layout = _layout(type(value))  # type: ignore[arg-type]
    state: dict[str, object] = {slot: getattr(value, slot) for slot in layout.slots if hasattr(value, slot)}
    state.update(getattr(value, "__dict__", {}))
    for name in layout.computed:
        state.pop(name, None)
    if isinstance(value, BaseModel):
        state.update(value.__pydantic_extra__ or {})
        state.update(value.__pydantic_private__ or {})
    return state


class _Layout(NamedTuple):
    slots: tuple[str, ...]
    computed: tuple[str, ...]


@lru_cache(maxsize=4096)
def _layout(kind: type) -> _Layout:
    members = [(name, item) for one in kind.__mro__ for name, item in cast("dict[str, object]", vars(one)).items()]
    computed = tuple(name for name, item in members if isinstance(item, cached_property))
    if issubclass(kind, BaseModel):
        return _Layout((), computed)
    declared = [(item,) if isinstance(item, str) else item for name, item in members if name == "__slots__"]
    slots = [slot for names in declared for slot in cast("Iterable[str]", names)]
    return _Layout(tuple(slot for slot in slots if slot not in ("__dict__", "__weakref__")), computed)


def _changed(returned: object, decoded: object) -> Difference:
    return Difference(returned, decoded, f"the {_name(returned)} would come back as another {_name(decoded)}")


def _name(value: object) -> str:
    return type(value).__qualname__


def _across_types(returned: object, decoded: object) -> Difference | None:
    if type(returned) is int and type(decoded) is float and returned == decoded:
        return None
    if _parametrises(type(decoded), type(returned)):
        return _between_states(returned, decoded)
    problem = f"{_name(returned)} would come back as {_name(decoded)}"
    if isinstance(returned, type(decoded)) and type(decoded) is not object:
        problem += ", without what the subclass adds"
    return Difference(returned, decoded, problem)


def _parametrises(special: type, generic: type) -> bool:
    """Whether `special` is `generic[...]`. Only pydantic makes classes of those."""
    metadata: Mapping[str, object] = getattr(special, "__pydantic_generic_metadata__", {})
    return metadata.get("origin") is generic


def _between_sequences(returned: Iterable[object], decoded: Iterable[object]) -> Difference | None:
    first, second = list(returned), list(decoded)
    if len(first) != len(second) or getattr(returned, "maxlen", 0) != getattr(decoded, "maxlen", 0):
        return Difference(returned, decoded, f"the {_name(returned)} would come back with another length or bound")
    for index, (one, other) in enumerate(zip(first, second, strict=True)):
        if found := difference(one, other):
            return replace(found, path=joined(f"[{index}]", found.path))
    return None


def _between_dicts(returned: dict[object, object], decoded: dict[object, object]) -> Difference | None:
    if isinstance(returned, defaultdict) and returned.default_factory is not getattr(decoded, "default_factory", None):
        return Difference(returned, decoded, "the defaultdict would come back with another default_factory")
    keys = {key: key for key in decoded}
    for key, item in returned.items():
        # A nan is equal to nothing, so that its entry is lost here and refused: it can't be looked up afterwards.
        if key not in keys or difference(key, keys[key]):
            return Difference(key, None, f"its key, a {_name(key)}, would not come back", at_key(key))
        if found := difference(item, decoded[key]):
            return replace(found, path=joined(at_key(key), found.path))
    if len(returned) != len(decoded):
        return Difference(returned, decoded, f"the {_name(returned)} would come back with other keys")
    return None


def _between_sets(
    returned: set[object] | frozenset[object], decoded: set[object] | frozenset[object]
) -> Difference | None:
    members = {member: member for member in decoded}
    for member in returned:
        if member not in members or difference(member, members[member]):
            return Difference(member, None, f"its member, a {_name(member)}, would not come back", "{…}")
    if len(returned) != len(decoded):
        return Difference(returned, decoded, f"the {_name(returned)} would come back with other members")
    return None


def _between_states(returned: object, decoded: object) -> Difference | None:
    first, second = state_of(returned), state_of(decoded)
    for name in first | second:
        if name not in first or name not in second:
            return Difference(first.get(name), second.get(name), "the attribute is on one side only", at_name(name))
        if found := difference(first[name], second[name]):
            return replace(found, path=joined(at_name(name), found.path))
    return None


def _between_leaves(returned: object, decoded: object) -> Difference | None:
    return None if _is_same_leaf(returned, decoded) else _changed(returned, decoded)


def _is_same_leaf(returned: object, decoded: object) -> bool:
    match returned, decoded:
        case float(), float():
            return _is_same_float(returned, decoded)
        case complex(), complex():
            return _is_same_float(returned.real, decoded.real) and _is_same_float(returned.imag, decoded.imag)
        case Decimal(), Decimal():
            return returned.as_tuple() == decoded.as_tuple()
        case datetime(), datetime():
            return _is_same_time(returned, decoded)
        case time(), time():
            return _is_same_time(returned, decoded)
        case _:
            return _is_same_object(returned, decoded)


def _is_same_float(first: float, second: float) -> bool:
    if math.isnan(first):
        return math.isnan(second)
    return first == second and math.copysign(1.0, first) == math.copysign(1.0, second)


def _is_same_time(first: datetime | time, second: datetime | time) -> bool:
    if (first.tzinfo is None) != (second.tzinfo is None) or first.utcoffset() != second.utcoffset():
        return False
    # The local times are compared because in an hour that a zone repeats no two zones' times are equal (PEP 495).
    # With a zone the offset says which of the two it is; without one only `fold` does.
    return first.replace(tzinfo=None) == second.replace(tzinfo=None) and (
        first.tzinfo is not None or first.fold == second.fold
    )


def _is_same_object(first: object, second: object) -> bool:
    if type(first).__eq__ is object.__eq__:
        return first is second or (_has_state(first) and _between_states(first, second) is None)
    return bool(first == second)


def _has_state(value: object) -> bool:
    return bool(state_of(value))
