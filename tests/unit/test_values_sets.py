"""Sets, whose order differs from process to process, are written in one order wherever they stand."""

from __future__ import annotations

from collections import OrderedDict, defaultdict

import pytest
from pydantic import BaseModel, ConfigDict, Field, field_serializer
from tests.unit.test_values import Line, refused

from relight.sdk._values import value_type


@pytest.mark.parametrize(
    ("annotation", "value", "path"),
    [
        (object, {object()}, "result{…}"),
        (set[str], {"caf\udce9"}, "result{…}"),
        (dict[str, frozenset[str]], {"a": frozenset({"b", "caf\udce9"})}, "result['a']{…}"),
        (Line, Line(5, tags=frozenset({"caf\udce9"})), "result.tags{…}"),
        (frozenset[frozenset[str]], frozenset({frozenset({"caf\udce9"})}), "result{…}{…}"),
    ],
)
def test_a_set_whose_members_no_json_can_hold_is_refused_like_any_other_value(
    annotation: object, value: object, path: str
) -> None:
    assert refused(annotation, value).path == path


def test_a_set_in_a_field_that_is_left_out_may_hold_anything() -> None:
    class Pool(BaseModel):
        model_config = ConfigDict(arbitrary_types_allowed=True)
        size: int
        idle: set[object] = Field(default=set(), exclude=True)

    assert value_type(Pool).encode(Pool(size=1, idle={object()}), what="it") == b'{"size":1}'


def test_sets_of_numbers_stay_there_as_they_were_in_old_histories() -> None:
    words = defaultdict(set, a={10, 9})

    assert value_type(defaultdict[str, set[int]]).encode(words, what="it") == b'{"a":[9,10]}'
    assert value_type(dict[str, set[int]]).encode(dict(words), what="it") == b'{"a":[10,9]}'


def test_the_class_and_what_else_it_holds_stay_for_serializers_of_ones_own() -> None:
    class Words(OrderedDict[str, set[str]]):
        unit = ""

    class Page(BaseModel):
        model_config = ConfigDict(arbitrary_types_allowed=True)
        words: Words

        @field_serializer("words")
        def shown(self, words: Words) -> object:
            return [words.unit, *words.items()]

    words = Words(b={"x"}, a={"y"})
    words.unit = "lines"
    words.move_to_end("b")

    assert value_type(Page).encode(Page(words=words), what="it") == b'{"words":["lines",["a",["y"]],["b",["x"]]]}'
