"""For random annotations and values: what `record` lets pass is the same, by a comparison of the test's own."""

import contextlib
from dataclasses import dataclass
from datetime import date, datetime, timedelta, timezone
from decimal import Decimal
from enum import Enum
from typing import Any, Optional, Union
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel

from relight.errors import InvalidValueError
from relight.sdk._values import value_type


class Colour(Enum):
    RED = "red"
    ONE = 1
    DAY = "2024-01-01"


@dataclass(frozen=True)
class Pair:
    left: object
    right: datetime | str | int


class Card(BaseModel):
    title: str
    worth: float | None = None
    more: dict[str, Any] = {}


ZONES = st.none() | st.integers(-1439, 1439).map(lambda minutes: timezone(timedelta(minutes=minutes)))
TEXTS = st.text(max_size=8) | st.sampled_from(["2024-01-01", "2024-01-01T00:00:00", "1", "NaN", "red", "YWJj", "true"])
INTS = st.integers() | st.booleans()
SIMPLE: dict[Any, st.SearchStrategy[object]] = {
    bool: st.booleans(),
    int: INTS,
    float: st.floats() | st.integers(),
    str: TEXTS | st.text(st.characters(codec=None), max_size=3),
    bytes: st.binary(max_size=8),
    Decimal: st.decimals(),
    datetime: st.datetimes(timezones=ZONES),
    date: st.dates() | st.datetimes(),
    timedelta: st.timedeltas(),
    UUID: st.uuids(),
    Colour: st.sampled_from(Colour),
    None: st.none(),
}
PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=6,
)
ANYTHING = st.recursive(
    st.one_of(*SIMPLE.values()),
    lambda inner: (
        st.lists(inner, max_size=3) | st.tuples(inner, inner) | st.dictionaries(TEXTS | INTS, inner, max_size=3)
    ),
    max_leaves=6,
)
PAIRS = st.builds(Pair, left=PLAIN | st.tuples(INTS), right=st.datetimes() | TEXTS | INTS)
CARDS = st.builds(Card, title=TEXTS, worth=st.none() | st.floats(), more=st.dictionaries(TEXTS, PLAIN, max_size=2))
LEAVES = [*SIMPLE.items(), (object, PLAIN), (Any, ANYTHING), (Pair, PAIRS), (Card, CARDS)]
Typed = tuple[Any, st.SearchStrategy[Any]]


KEYS: list[Any] = [str, int, bool, float, date, UUID, Colour, bytes]

# As `Any`, because no checker knows a type that is put together at run time.
DICT: Any = dict
LIST: Any = list
SET: Any = set
TUPLE: Any = tuple
OPTIONAL: Any = Optional
UNION: Any = Union


def either(first: Typed, second: Typed) -> Typed:
    return UNION[first[0], second[0]], first[1] | second[1]


def pair(first: Typed, second: Typed) -> Typed:
    return TUPLE[first[0], second[0]], st.tuples(first[1], second[1])


def mapping(key: Any, item: Typed) -> Typed:
    return DICT[key, item[0]], st.dictionaries(SIMPLE[key], item[1], max_size=3)


def wrapped(inner: st.SearchStrategy[Typed]) -> st.SearchStrategy[Typed]:
    keys = st.sampled_from(KEYS)
    return st.one_of(
        inner.map(lambda one: (LIST[one[0]], st.lists(one[1], max_size=3))),
        inner.map(lambda one: (OPTIONAL[one[0]], st.none() | one[1])),
        st.builds(either, inner, inner),
        st.builds(pair, inner, inner),
        st.builds(mapping, keys, inner),
        keys.map(lambda key: (SET[key], st.sets(SIMPLE[key], max_size=3))),
    )


TYPED: st.SearchStrategy[Typed] = st.recursive(st.sampled_from(LEAVES), wrapped, max_leaves=4)


def picture(value: Any) -> Any:
    """A value as nested tuples of texts, which are equal only for the same value of the same types."""
    kind = type(value).__name__
    match kind:
        case "list" | "tuple":
            return kind, tuple(picture(item) for item in value)
        case "set":
            return kind, frozenset(picture(item) for item in value)
        case "dict":
            return kind, frozenset((picture(key), picture(item)) for key, item in value.items())
        case "Pair" | "Card":
            return kind, picture(value.__dict__)
        case "datetime":
            return (
                kind,
                value.replace(tzinfo=None).isoformat(),
                str(value.utcoffset()),
                value.fold and value.tzinfo is None,
            )
        case _:
            return kind, repr(value)


def with_floats(value: Any, like: Any) -> Any:
    """`value` with those ints as floats that are floats in `like`: the one conversion that is allowed."""
    match type(value).__name__, type(like).__name__:
        case "int", "float":
            return float(value) if int(like) == value else value
        case ("list", "list") | ("tuple", "tuple") if len(value) == len(like):
            return type(value)(with_floats(one, other) for one, other in zip(value, like, strict=True))
        case "dict", "dict":
            keys = {key: key for key in like}
            return {with_floats(key, keys.get(key)): with_floats(item, like.get(key)) for key, item in value.items()}
        case "set", "set":
            members = {member: member for member in like}
            return {with_floats(member, members.get(member)) for member in value}
        case "Card", "Card":
            return Card.model_construct(**with_floats(value.__dict__, like.__dict__))
        case _:
            return value


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_what_is_recorded_comes_back_the_same_or_is_refused(data: st.DataObject) -> None:
    annotation, values = data.draw(TYPED)
    value = data.draw(values)
    types = value_type(annotation)

    try:
        recorded, decoded = types.record(value, what="result")
    except InvalidValueError:
        return

    assert picture(decoded) == picture(with_floats(value, decoded))
    assert picture(types.decode(recorded, what="result")) == picture(decoded)
    again, twice = types.record(decoded, what="result")
    assert picture(twice) == picture(decoded)
    assert types.encode(twice, what="result") == again


@settings(max_examples=150, deadline=None)
@given(PLAIN)
def test_plain_values_are_never_refused_but_for_nan_and_the_infinities(value: object) -> None:
    types = value_type(object)

    if "nan" in str(picture(value)) or "inf" in str(picture(value)):
        return
    assert picture(types.record(value, what="result")[1]) == picture(value)


@pytest.mark.parametrize("kind", [bool, int, float, bytes, timedelta, UUID, Colour, None])
@settings(max_examples=50, deadline=None)
@given(st.data())
def test_values_of_one_simple_type_are_never_refused(kind: Any, data: st.DataObject) -> None:
    value = data.draw(SIMPLE[kind].filter(lambda one: kind is None or type(one) is kind))

    assert picture(value_type(kind).record(value, what="result")[1]) == picture(value)


@settings(max_examples=150, deadline=None)
@given(ANYTHING, TYPED)
def test_any_value_under_any_annotation_is_accepted_or_refused_and_never_breaks(value: object, typed: Typed) -> None:
    types = value_type(typed[0])

    for act in (types.record, types.accept):
        with contextlib.suppress(InvalidValueError):
            act(value, what="result")
