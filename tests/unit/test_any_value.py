"""Values that somebody reads by a type that their sender does not know."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
from pydantic import AliasGenerator, BaseModel, ConfigDict, Field, Json, computed_field
from pydantic.alias_generators import to_camel

from relight import InvalidValueError, PayloadTooLargeError, WorkflowContext, step, workflow
from relight.sdk._any_value import encode_any, encode_as_ever, encode_sent
from relight.sdk._values import value_type
from relight.testing import TestEnvironment


@dataclass(frozen=True)
class Upload:
    data: bytes


@dataclass
class Ratio:
    share: float


class Review(BaseModel):
    model_config = ConfigDict(alias_generator=AliasGenerator(serialization_alias=to_camel))
    given_by: str = "nobody"


class Counted(BaseModel):
    model_config = ConfigDict(extra="forbid")
    count: int

    @computed_field
    def twice(self) -> int:
        return 2 * self.count


class Nested(BaseModel):
    reviews: list[Review]


@dataclass
class Holder:
    review: Review


class Swapped(BaseModel):
    first: int = Field(1, serialization_alias="second")
    second: int = Field(2, serialization_alias="first")


class WithJson(BaseModel):
    numbers: Json[dict[str, int]]


class Excluding(BaseModel):
    note: str = Field(default="", exclude=True)


ENCODERS = (encode_any, encode_sent)


@pytest.mark.parametrize("encode", ENCODERS)
@pytest.mark.parametrize(
    ("annotation", "value"),
    [
        (Upload, Upload(b"abcd")),
        (list[Upload], [Upload(b"abcd")]),
        (dict[str, tuple[Upload, ...]], {"a": (Upload(b"abcd"),)}),
        (Review, Review(given_by="ann")),
        (list[Review], [Review(given_by="ann")]),
        (Nested, Nested(reviews=[Review(given_by="ann")])),
        (Holder, Holder(Review(given_by="ann"))),
        (Counted, Counted(count=1)),
        (Swapped, Swapped(first=10, second=20)),
        (WithJson, WithJson(numbers='{"a":1}')),  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # what it reads
        (bytes, b"\xff"),
        (float, math.inf),
    ],
)
def test_who_has_the_type_reads_what_was_sent(encode: Callable[..., bytes], annotation: Any, value: object) -> None:
    assert value_type(annotation).decode(encode(value, what="it"), what="it") == value


def nested(depth: int) -> object:
    value: object = []
    for _ in range(depth):
        value = [value]
    return value


@pytest.mark.parametrize(
    "value",
    [
        Excluding(note="x"),
        Ratio(math.nan),
        Upload(b"\xff"),
        nested(220),
        nested(2_000),
        10**5_000,
        {"a": object()},
        "\ud800",
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_would_not_be_read_as_it_is_is_refused_where_it_is_sent(value: object) -> None:
    with pytest.raises(InvalidValueError, match=r"^it"):
        encode_sent(value, what="it")


def test_what_is_too_large_is_refused_with_its_size() -> None:
    with pytest.raises(PayloadTooLargeError, match="it"):
        encode_sent(Review(given_by="a" * 100), what="it", bytes_max=100)


@pytest.mark.parametrize("value", [Excluding(note="x"), Ratio(math.nan), Upload(b"\xff"), nested(220)], ids=repr)
def test_what_a_workflow_leaves_is_written_as_far_as_it_can_be(value: object) -> None:
    assert encode_any(value, what="it")


def test_a_number_that_is_none_is_left_as_text_in_a_dataclass() -> None:
    assert encode_any(Ratio(math.nan), what="it") == b'{"share":"NaN"}'


@pytest.mark.parametrize("encode", [*ENCODERS, encode_as_ever])
def test_sets_are_in_order(encode: Callable[..., bytes]) -> None:
    assert encode({"a": set("cab")}, what="it") == b'{"a":["a","b","c"]}'


def test_what_digests_in_histories_are_of_is_written_as_ever() -> None:
    assert encode_as_ever([Review(given_by="ann"), {9, 10}], what="it") == b'[{"givenBy":"ann"},[9,10]]'


@workflow
async def shows(ctx: WorkflowContext, fields: dict[str, str]) -> dict[str, str]:
    return fields


@workflow
async def calls_by_name(ctx: WorkflowContext) -> dict[str, str]:
    return await ctx.call("shows", Review(given_by="ann"), type=dict[str, str])


async def test_so_are_the_arguments_of_a_child_that_is_started_by_name() -> None:
    async with TestEnvironment([shows, calls_by_name]) as env:
        assert await (await env.start(calls_by_name)).result() == {"givenBy": "ann"}


@step
async def reviews() -> Review:
    return Review(given_by="ann")


@workflow
async def takes(ctx: WorkflowContext, review: Review) -> str:
    return review.given_by


@workflow
async def hears_of_reviews(ctx: WorkflowContext) -> list[str]:
    awakeable = ctx.awakeable(type=Review)
    ctx.set_details(awakeable.token)
    heard = [await reviews(), await ctx.suspend("ask", type=Review), await ctx.wait_for_signal("tell", type=Review)]
    heard.append(await awakeable)
    async for asked in ctx.requests("return", type=Review):
        heard.append(asked.data)
        await asked.reply(asked.data)
        break
    return [one.given_by for one in heard]


async def test_a_model_arrives_whole_whichever_way_it_is_sent() -> None:
    ann, bob = Review(given_by="ann"), Review(given_by="bob")

    async with TestEnvironment([takes, hears_of_reviews]) as env:
        run = await env.start(hears_of_reviews)
        await env.until(run, suspended="ask")
        await run.resume("ask", ann)
        await run.signal("tell", ann)
        await env.client.complete(str((await run.describe()).details), ann)
        replied = await run.request("return", ann, type=Review)

        assert replied == ann
        assert await run.result() == ["ann"] * 5
        assert (await (await env.client.start("takes", bob, type=str)).result()) == "bob"
        await env.replay(run)


async def test_what_a_fork_is_given_arrives_whole() -> None:
    @workflow
    async def asks(ctx: WorkflowContext) -> str:
        return (await reviews()).given_by

    async with TestEnvironment([asks]) as env:
        run = await env.start(asks)
        assert await run.result() == "ann"

        fork = await run.fork(after="reviews#1", replace={"reviews#1": Review(given_by="bob")})

        assert await fork.result() == "bob"


async def test_details_with_a_number_that_python_does_not_read_are_shown() -> None:
    @workflow
    async def leaves(ctx: WorkflowContext) -> None:
        ctx.set_details({"digits": 10**5_000, "rest": 5})
        await ctx.suspend("go")

    async with TestEnvironment([leaves]) as env:
        run = await env.start(leaves)
        await env.until(run, suspended="go")

        assert (await run.describe()).details == {"digits": f"1{'0' * 5_000}", "rest": 5}
