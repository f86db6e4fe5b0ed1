"""What a step may return: it comes back the same, or it is refused with path and remedy."""

import json
import math
import re
from collections import defaultdict, deque
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from enum import Enum, IntEnum, StrEnum
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Generic, Literal, NamedTuple, TypeVar
from uuid import UUID
from zoneinfo import ZoneInfo

import msgspec
import pytest
from pydantic import BaseModel, ConfigDict, Field, PrivateAttr, SecretStr, computed_field
from typing_extensions import TypedDict

from relight.config.limits import LIMITS
from relight.errors import InvalidValueError, PayloadTooLargeError
from relight.sdk._values import value_type

T = TypeVar("T")


class Colour(Enum):
    RED = "red"


class Shade(StrEnum):
    DARK = "dark"


class Level(IntEnum):
    HIGH = 1


class Point(NamedTuple):
    x: int
    y: int


@dataclass
class Line:
    cents: int
    when: datetime | None = None
    tags: frozenset[str] = frozenset()
    hidden: int = field(default=0, compare=False)


@dataclass(frozen=True, slots=True)
class Slotted:
    items: list[Line]


@dataclass
class RichLine(Line):
    discount: int = 0


@dataclass
class Blob:
    data: bytes
    ratio: float = 1.0


class Animal(BaseModel):
    name: str


class Dog(Animal):
    tricks: int = 0


class Aliased(BaseModel):
    model_config = ConfigDict(extra="forbid")
    first: int = Field(alias="firstNumber")
    second: int = Field(0, serialization_alias="out", validation_alias="in")

    @computed_field
    def total(self) -> int:
        return self.first + self.second


class Lazy(BaseModel):
    size: int

    @cached_property
    def area(self) -> int:
        return self.size**2


class Private(BaseModel):
    name: str
    _seen: int = PrivateAttr(default=0)

    def see(self) -> None:
        self._seen += 1


class Excluded(BaseModel):
    name: str
    note: str = Field(default="", exclude=True)


class Open(BaseModel):
    model_config = ConfigDict(extra="allow")
    name: str


class Box(BaseModel, Generic[T]):
    item: T


class Cat(BaseModel):
    kind: Literal["cat"] = "cat"


class Fish(BaseModel):
    kind: Literal["fish"] = "fish"


class Movie(TypedDict):
    title: str
    year: int


class Basket(BaseModel):
    items: list[dict[str, object]]


Pet = Annotated[Cat | Fish, Field(discriminator="kind")]
PARIS = ZoneInfo("Europe/Paris")
SECRET = "hunter2" * 20


def kind_of(value: object) -> str:
    return value.__qualname__ if isinstance(value, type) else type(value).__qualname__


def recorded(annotation: object, value: object) -> Any:
    data, decoded = value_type(annotation).record(value, what="result of pick")

    assert repr(value_type(annotation).decode(data, what="result of pick")) == repr(decoded)
    json.loads(data)
    return decoded


def refused(annotation: object, value: object) -> InvalidValueError:
    with pytest.raises(InvalidValueError) as caught:
        value_type(annotation).record(value, what="result of pick")
    assert str(caught.value).startswith("result of pick")
    assert caught.value.remedy
    return caught.value


@pytest.mark.parametrize("annotation", [object, Any, None.__class__ | bool | int | float | str | list[int]])
@pytest.mark.parametrize("value", [None, False, True, 0, 1, 0.0, -0.0, "", []])
def test_falsy_and_small_values_stay_what_they_are(annotation: object, value: object) -> None:
    decoded = recorded(annotation, value)

    assert type(decoded) is type(value)
    assert repr(decoded) == repr(value)


@pytest.mark.parametrize(
    "value", [{}, {"a": [1, {"b": None}]}, 2**200, -(2**63), 1e300, 5e-324, 1e22, 0.1, "é\0\n\U0001f600"]
)
def test_plain_json_values_need_no_annotation(value: object) -> None:
    assert repr(recorded(object, value)) == repr(value)


NOT_PLAIN: list[object] = [
    (1, 2),
    datetime(2024, 1, 1),
    date(2024, 1, 1),
    timedelta(1),
    b"abc",
    {1},
    frozenset({1}),
    Decimal("1.5"),
    Colour.RED,
    Shade.DARK,
    Level.HIGH,
    Point(1, 2),
    Line(1),
    Animal(name="a"),
    UUID(int=1),
    deque([1]),
    defaultdict(int),
    math.nan,
    math.inf,
    -math.inf,
    "\ud800",
    {1: "a"},
    {None: 1},
    {True: 1},
    object(),
    lambda: 1,
    1j,
    Path("a"),
]


@pytest.mark.parametrize("value", NOT_PLAIN, ids=kind_of)
def test_everything_else_is_refused_unannotated(value: object) -> None:
    nestings: list[tuple[object, object, str]] = [
        (object, value, ""),
        (Any, value, ""),
        (dict[str, object], {"k": value}, "result['k']"),
        (list[Any], [value], "result[0]"),
    ]
    for annotation, nested, path in nestings:
        assert refused(annotation, nested).path.startswith(path)


def test_an_int_of_too_many_digits_or_a_deep_nesting_is_refused() -> None:
    deep: list[object] = []
    for _ in range(220):
        deep = [deep]

    for annotation, value in ((object, 10**5000), (int, 10**5000), (object, deep)):
        refused(annotation, value)


def test_an_unannotated_tuple_or_datetime_names_the_annotation_to_write() -> None:
    assert "-> tuple" in refused(object, (1, 2)).remedy
    assert "-> datetime" in refused(object, datetime(2024, 1, 1)).remedy


def test_the_path_leads_to_the_value_that_differs() -> None:
    basket = Basket(items=[{}, {}, {}, {"when": datetime(2024, 1, 1)}])

    assert refused(Basket, basket).path == "result.items[3]['when']"
    assert refused(list[Animal], [Animal(name="a"), Dog(name="b")]).path == "result[1]"
    assert refused(object, {"a": ["b", "\ud800"]}).path == "result['a'][1]"


@pytest.mark.parametrize(
    ("annotation", "value"),
    [
        (Animal, Dog(name="a", tricks=3)),
        (Animal, Dog(name="a")),
        (Line, RichLine(1)),
        (dict[str, Line], {"a": RichLine(1, discount=5)}),
        (Box[Animal], Box[Animal](item=Dog(name="a"))),
        (str, Shade.DARK),
        (int, Level.HIGH),
        (tuple[int, int], Point(1, 2)),
        (dict[str, int], defaultdict(int, a=1)),
    ],
    ids=kind_of,
)
def test_a_subclass_returned_as_its_base_is_refused(annotation: object, value: object) -> None:
    error = refused(annotation, value)

    assert "subclass" in str(error)


@pytest.mark.parametrize(
    ("annotation", "value"),
    [
        (datetime | str, "2024-01-01T00:00:00Z"),
        (datetime | str, "2024-01-01T00:00:00"),
        (bytes | str, "abcd"),
        (str | bytes, b"abcd"),
        (str | Colour, Colour.RED),
        (Shade | str, Shade.DARK),
        (str | Decimal, Decimal("1.5")),
        (float | str, math.nan),
    ],
    ids=kind_of,
)
def test_a_union_whose_members_look_alike_in_json_is_refused(annotation: object, value: object) -> None:
    assert "would come back as" in str(refused(annotation, value))


@pytest.mark.parametrize(
    ("annotation", "value"),
    [
        (datetime | str, "not a date"),
        (datetime | str, datetime(2024, 1, 1)),
        (bytes | str, "no base64!"),
        (bytes | str, b"abc"),
        (str | Colour, "blue"),
        (int | float, 1),
        (int | float, 1.0),
        (float | int, 1),
        (bool | int, 1),
        (int | bool, True),
        (Literal[0, "0"], 0),
        (Literal[0, "0"], "0"),
    ],
    ids=kind_of,
)
def test_a_union_member_that_comes_back_itself_is_kept(annotation: object, value: object) -> None:
    decoded = recorded(annotation, value)

    assert (type(decoded), decoded) == (type(value), value)


@pytest.mark.parametrize(
    ("annotation", "value"),
    [
        (bytes, b"\xff\x00\xfe"),
        (list[bytes], [b"\xff", b""]),
        (Decimal, Decimal("1.10")),
        (Decimal, Decimal("-0")),
        (Decimal, Decimal("1E+30")),
        (datetime, datetime(2024, 1, 1, 2, 3, 4, 5)),
        (datetime, datetime(2024, 1, 1, 2, 3, 4, 5, UTC)),
        (datetime, datetime(2024, 1, 1, tzinfo=timezone(timedelta(hours=-9, minutes=-30)))),
        (datetime, datetime.min),
        (date, date(2024, 2, 29)),
        (time, time(1, 2, 3, 4)),
        (time, time(1, tzinfo=UTC)),
        (timedelta, timedelta(days=-1, microseconds=1)),
        (timedelta, timedelta.max),
        (UUID, UUID(int=2**127)),
        (Colour, Colour.RED),
        (Shade, Shade.DARK),
        (Level, Level.HIGH),
        (set[int], {1, 2}),
        (set[str], {"b", "a"}),
        (frozenset[Colour], frozenset({Colour.RED})),
        (frozenset[frozenset[str]], frozenset({frozenset({"a", "b"}), frozenset()})),
        (tuple[int, ...], (1, 2)),
        (tuple[int, str], (1, "a")),
        (tuple, (1, "a")),
        (Point, Point(1, 2)),
        (deque[int], deque([1, 2])),
        (dict[int, str], {1: "a", 0: "b"}),
        (dict[Colour, list[bytes]], {Colour.RED: [b"\xff"]}),
        (dict[date, int], {date(2024, 1, 1): 1}),
        (dict[bool, int], {True: 1, False: 0}),
        (Path, Path("a/b")),
        (complex, 1 + 2j),
        (Line, Line(1, datetime(2024, 1, 1), frozenset({"a", "b"}))),
        (Line, Line(1, hidden=7)),
        (Slotted, Slotted([Line(1), Line(2)])),
        (RichLine, RichLine(1, discount=2)),
        (Blob, Blob(b"text")),
        (Animal, Animal(name="a")),
        (Animal | Dog, Dog(name="a", tricks=1)),
        (Aliased, Aliased(firstNumber=1, **{"in": 2})),
        (Private, Private(name="a")),
        (Excluded, Excluded(name="a")),
        (Open, Open(name="a", more=[1])),  # type: ignore[call-arg]  # Extra fields are allowed at run time.
        (Box[int], Box[int](item=1)),
        (Box[set[str]], Box[set[str]](item={"a", "b"})),
        (list[Pet], [Fish(), Cat()]),
        (Pet, Fish()),
        (Movie, {"year": 1, "title": "a"}),
        (Literal["a", 1, None], 1),
        (None, None),
        (dict[str, list[tuple[int, Line | None]]], {"a": [(1, None), (2, Line(3))]}),
        (object, {"0": 0, "false": False}),
    ],
    ids=kind_of,
)
def test_an_annotated_value_comes_back_the_same(annotation: object, value: object) -> None:
    decoded = recorded(annotation, value)

    assert type(decoded) is type(value)
    assert decoded == value


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_nan_and_the_infinities_round_trip_under_float(value: float) -> None:
    for annotation, nested in (
        (float, value),
        (list[float], [value]),
        (float | None, value),
        (dict[str, float], {"a": value}),
    ):
        assert repr(recorded(annotation, nested)) == repr(nested)


def test_an_int_under_float_comes_back_as_the_equal_float() -> None:
    decoded = recorded(list[float], [3])

    assert repr(decoded) == "[3.0]"


def test_an_int_that_no_float_holds_is_refused_under_float() -> None:
    refused(float, 2**53 + 1)
    refused(float, 10**400)


def test_a_bool_is_no_int_and_no_float() -> None:
    refused(int, True)
    refused(float, True)
    refused(list[int], [0, False])


def test_a_datetime_with_a_zone_comes_back_with_its_offset() -> None:
    for fold in (0, 1):
        twice = datetime(2024, 10, 27, 2, 30, tzinfo=PARIS, fold=fold)

        decoded = recorded(datetime, twice)

        assert decoded.timestamp() == twice.timestamp()
        assert decoded.utcoffset() == twice.utcoffset()


def test_what_a_datetime_would_lose_is_refused() -> None:
    refused(datetime, datetime(1900, 1, 1, tzinfo=timezone(timedelta(minutes=9, seconds=21))))
    refused(datetime, datetime(2024, 1, 1, fold=1))
    refused(time, time(1, tzinfo=PARIS))


def test_a_private_attribute_that_was_set_is_refused() -> None:
    value = Private(name="a")
    value.see()

    assert refused(Private, value).path == "result._seen"


def test_an_excluded_field_that_was_set_is_refused() -> None:
    assert refused(Excluded, Excluded(name="a", note="x")).path == "result.note"


def test_an_attribute_beside_the_fields_is_refused() -> None:
    line = Line(1)
    line.surprise = 2  # type: ignore[attr-defined]  # That is the point.

    assert refused(Line, line).path == "result.surprise"


def test_a_field_left_out_of_equality_is_compared_all_the_same() -> None:
    line = Line(1)
    line.hidden = True

    assert refused(Line, line).path == "result.hidden"


def test_a_cached_property_is_no_difference() -> None:
    lazy = Lazy(size=3)
    assert lazy.area == 9

    assert recorded(Lazy, lazy) == Lazy(size=3)


def test_a_generic_model_may_leave_out_its_parameter() -> None:
    decoded = recorded(Box[int], Box(item=1))

    assert type(decoded) is Box[int]


def test_a_model_says_which_setting_bytes_and_nan_need() -> None:
    bytes_error = refused(Blob, Blob(b"\xff"))
    nan_error = refused(Blob, Blob(b"a", math.nan))

    assert (bytes_error.path, "ser_json_bytes" in bytes_error.remedy) == ("result.data", True)
    assert (nan_error.path, "ser_json_inf_nan" in nan_error.remedy) == ("result.ratio", True)


def test_a_value_of_another_type_is_refused() -> None:
    for annotation, value in (
        (int, "5"),
        (str, 5),
        (list[int], (1, 2)),
        (Animal, {"name": "a"}),
        (set[int], [1]),
        (None, 1),
    ):
        refused(annotation, value)


def test_a_secret_that_would_be_masked_is_refused() -> None:
    refused(SecretStr, SecretStr("x"))


def test_a_value_that_holds_itself_is_refused() -> None:
    loop: list[object] = []
    loop.append(loop)

    assert "itself" in str(refused(object, loop))
    assert "itself" in str(refused(list[Any], loop))


def test_errors_name_types_and_never_the_value() -> None:
    cases: list[tuple[object, object]] = [
        (int, SECRET),
        (object, (SECRET,)),
        (list[int], [SECRET]),
        (Animal, {"name": [SECRET]}),
        (datetime, SECRET),
        (bytes | str, SECRET[:80]),
        (Pet, {"kind": SECRET}),
    ]
    for annotation, value in cases:
        error = refused(annotation, value)

        assert "hunter2" not in str(error)
        assert error.__cause__ is None


def test_a_payload_at_the_limit_passes_and_one_byte_more_is_refused() -> None:
    fits = "x" * (LIMITS.value_bytes_max - 2)

    data = value_type(str).encode(fits, what="result")

    assert len(data) == LIMITS.value_bytes_max
    for act in (value_type(str).encode, value_type(str).record):
        with pytest.raises(PayloadTooLargeError) as caught:
            act(fits + "x", what="result")
        assert caught.value.size_bytes == LIMITS.value_bytes_max + 1


@pytest.mark.parametrize("wrap", [bytes, memoryview, msgspec.Raw])
def test_decode_takes_what_the_codec_holds(wrap: Any) -> None:
    assert value_type(list[int]).decode(wrap(b"[1,2]"), what="signal") == [1, 2]


def test_decode_refuses_with_the_path() -> None:
    for annotation, data, path in (
        (Basket, b'{"items":[{},3]}', "value.items[1]"),
        (list[Movie], b'[{"title":"a"}]', "value[0].year"),
        (int | list[Animal], b'[{"name":1}]', "value[0].name"),
        (int, b"{", ""),
        (int, b"", ""),
    ):
        with pytest.raises(InvalidValueError) as caught:
            value_type(annotation).decode(data, what="signal 'note'")
        assert caught.value.path == path
        assert str(caught.value).startswith("signal 'note'")


@pytest.mark.parametrize(
    ("annotation", "value", "path"),
    [
        (dict[str, int], {"k" * 600_000: "x"}, "value[a key of 600002 characters]"),
        (dict[str, dict[str, int]], {"a": {"k" * 81: "x"}}, "value.a[a key of 83 characters]"),
        (dict[str, int], {"k" * 80: "x"}, f"value.{'k' * 80}"),
    ],
)
def test_a_path_is_short_and_shows_a_key_whole_or_not_at_all(annotation: Any, value: object, path: str) -> None:
    with pytest.raises(InvalidValueError) as caught:
        value_type(annotation).accept(value, what="it")

    assert caught.value.path == path


def test_a_long_path_is_cut_between_two_steps() -> None:
    value: object = object()
    for _ in range(40):
        value = {"k" * 70: value}

    path = refused(object, value).path

    assert re.fullmatch(rf"result(\['{'k' * 70}'\]){{1,6}}…", path)


def test_decode_reads_fields_by_name_and_by_alias() -> None:
    by_alias = value_type(Aliased).decode(b'{"firstNumber":1,"in":2}', what="x")
    by_name = value_type(Aliased).decode(b'{"first":1,"second":2}', what="x")

    assert by_alias == by_name


def test_accept_converts_what_the_caller_passes_in() -> None:
    data = value_type(Line).accept({"cents": "3", "when": "2024-01-01T00:00:00"}, what="answer")

    assert value_type(Line).decode(data, what="answer") == Line(3, datetime(2024, 1, 1))


def test_accept_refuses_what_would_arrive_changed() -> None:
    for annotation, value in (
        (Animal, Dog(name="a")),
        (object, (1,)),
        (int, "x"),
        (datetime | str, "2024-01-01T00:00:00Z"),
    ):
        with pytest.raises(InvalidValueError):
            value_type(annotation).accept(value, what="answer")


def test_one_annotation_has_one_value_type_and_the_order_of_a_union_counts() -> None:
    assert value_type(list[int]) is value_type(list[int])
    assert value_type(int | str) is not value_type(str | int)


def test_an_annotation_that_pydantic_does_not_know_is_one_clear_error() -> None:
    class Socket:
        pass

    for annotation in (Socket, list[Socket], "Nowhere", list["Nowhere"]):  # type: ignore[name-defined]  # noqa: F821
        with pytest.raises(InvalidValueError) as caught:
            value_type(annotation)
        assert "\n" not in str(caught.value)
