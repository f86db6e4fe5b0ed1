"""Secrets by themselves: how they travel, what is known of them, and what the gate finds."""

from __future__ import annotations

import base64
import copy
import io
import json
import logging
import pickle
import re
from collections.abc import Callable
from contextlib import suppress
from urllib.parse import quote

import pytest
import structlog
from pydantic import BaseModel, TypeAdapter, field_serializer, field_validator

from relight import (
    InvalidValueError,
    NotDurableError,
    RefusedError,
    Retry,
    Secret,
    SecretExposedError,
    SecretNotFoundError,
    StepFailed,
    WorkflowContext,
    step,
    workflow,
)
from relight.cli.logging import configure_logging, redact_logging
from relight.sdk._any_value import encode_any
from relight.sdk._known_secrets import KNOWN_MAX, Secrets
from relight.sdk._values import value_type
from relight.testing import TestEnvironment

VALUE = 'pa"ss\\wörd\n-1'


class Login(BaseModel):
    user: str
    passwords: dict[str, Secret]


def knowing(value: str = VALUE, name: str = "db") -> Secrets:
    known = Secrets({name: value}.get)
    known.reveal(name)
    return known


def exposed(known: Secrets, data: bytes) -> SecretExposedError:
    with pytest.raises(SecretExposedError) as raised:
        known.check(data, what="the result", root="result")
    return raised.value


def test_a_secret_travels_by_its_name() -> None:
    login = Login(user="ann", passwords={"db": Secret("db/main")})

    data, decoded = value_type(Login).record(login, what="it")

    assert data == b'{"user":"ann","passwords":{"db":{"$relight.secret":"db/main"}}}'
    assert decoded == login
    assert encode_any({"key": [Secret("db")]}, what="it") == b'{"key":[{"$relight.secret":"db"}]}'
    assert TypeAdapter(Secret).validate_python({"$relight.secret": "db"}) == Secret("db")


def test_what_is_no_reference_is_no_secret() -> None:
    for data in (b'"db"', b'{"$relight.secret":1}', b'{"$relight.secret":"db","more":1}', b'{"$relight.secret":""}'):
        with pytest.raises(InvalidValueError):
            value_type(Secret).decode(data, what="it")


def test_a_secret_is_nothing_but_its_name() -> None:
    secret = Secret("db")

    assert repr(secret) == str(secret) == "Secret('db')"
    assert pickle.loads(pickle.dumps(secret)) == copy.deepcopy(secret) == secret
    assert {secret: 1}[Secret("db")] == 1


@pytest.mark.parametrize("name", ["", "a b", "ä", "-x", "x" * 129, "x\n", VALUE])
def test_a_name_that_can_be_none_is_refused_and_not_shown(name: str) -> None:
    with pytest.raises(InvalidValueError) as raised:
        Secret(name)

    assert not name or repr(name)[1:-1] not in str(raised.value)


def test_only_steps_reveal() -> None:
    with pytest.raises(RefusedError, match="only a step can reveal"):
        Secret("db").reveal()


async def test_a_workflow_that_reveals_is_refused() -> None:
    @workflow
    async def curious(ctx: WorkflowContext, secret: Secret) -> str:
        try:
            return secret.reveal()
        except NotDurableError as error:
            return str(error)

    async with TestEnvironment([curious], secrets={"db": VALUE}.get) as env:
        run = await env.start(curious, Secret("db"))

        assert "reveal it in the @step that needs it" in await run.result()


async def test_a_step_that_simply_runs_finds_secrets_in_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    @step
    async def length(secret: Secret) -> int:
        return len(secret.reveal())

    monkeypatch.setenv("RELIGHT_SECRET_DB_MAIN", VALUE)

    assert await length(Secret("db/main")) == len(VALUE)
    with pytest.raises(SecretNotFoundError, match="set RELIGHT_SECRET_OTHER"):
        await length(Secret("other"))


@pytest.mark.parametrize("value", ["1", "1234567", "  1234567  \n", 12345678])
def test_a_value_that_is_too_short_is_refused(value: str) -> None:
    with pytest.raises(InvalidValueError, match="secret 'pin'") as raised:
        Secrets({"pin": value}.get).reveal("pin")

    assert "1234567" not in str(raised.value)


def test_a_provider_may_say_that_there_is_none_by_a_lookup_error() -> None:
    empty: dict[str, str] = {}

    with pytest.raises(SecretNotFoundError, match="no secret 'db'"):
        Secrets(empty.__getitem__).reveal("db")


SUB_DELIMITERS = "!$&'()*+,;="

WAYS: dict[str, Callable[[str], object]] = {
    "plain": lambda value: value,
    "in a text": lambda value: f"postgres://ann:{value}@host",
    "in JSON": json.dumps,
    "in JSON in JSON": lambda value: json.dumps({"arguments": json.dumps({"password": value})}),
    "in UTF-8 JSON": lambda value: json.dumps({"password": value}, ensure_ascii=False),
    "as bytes": lambda value: f"user:{value}".encode(),
    "in base64": lambda value: base64.b64encode(f"user:{value}!".encode()).decode(),
    "in a URL": lambda value: quote(value, safe=""),
    "in a URL by default": lambda value: f"https://host/?key={quote(value)}",
    "in a URL in small letters": lambda value: re.sub("%..", lambda escape: escape[0].lower(), quote(value)),
    "before a host": lambda value: f"https://ann:{quote(value, safe=SUB_DELIMITERS)}@host",
    "in a query": lambda value: f"https://host/?key={quote(value, safe=SUB_DELIMITERS + ':@/?')}",
    "in hexadecimal in capitals": lambda value: value.encode().hex().upper(),
    "by repr of its bytes": lambda value: repr(f"user:{value}".encode()),
    "by repr of a text with quotes": lambda value: repr(f"""login("{value}", 'ann')"""),
    "by repr of bytes with quotes": lambda value: repr(f"""login("{value}", 'ann')""".encode()),
    "by ascii": ascii,
    "in hexadecimal": lambda value: value.encode().hex(),
    "by repr": repr,
    "in a model": lambda value: Login(user=value, passwords={}),
    "as a key": lambda value: {value: 1},
    "without its ends": lambda value: value.strip(),
    "nested": lambda value: [{"a": [value]}],
}


@pytest.mark.parametrize(
    "value",
    [
        VALUE,
        "sk-live-0123456789",
        "it's wJalr/UtnFEMI+K7MDENG/bPx=R@fi:?&$",
        " spaces at both ends\n",
        "-----BEGIN\nabc\n-----END\n",
    ],
)
@pytest.mark.parametrize("way", WAYS)
def test_a_known_value_is_found_in_whichever_way_it_is_written(way: str, value: str) -> None:
    error = exposed(knowing(value), encode_any(WAYS[way](value), what="it"))

    assert error.secret == "db"
    assert value not in str(error)
    assert repr(value)[1:-1] not in str(error)


def test_the_error_says_where() -> None:
    known = knowing()

    assert exposed(known, json.dumps({"a": [1, {"b c": VALUE}]}).encode()).path == "result.a[1]['b c']"
    assert exposed(known, json.dumps({"a": {VALUE: 1}}).encode()).path == "result.a (in a key)"


def test_digits_are_found_in_numbers() -> None:
    assert exposed(knowing("4111111111111111"), b'{"card":4111111111111111}').path == "result.card"


def test_a_line_of_a_key_is_found_and_how_keys_begin_is_not() -> None:
    known = knowing("-----BEGIN PRIVATE KEY-----\nMIIEvQIBADANBgkqhkiG\n-----END PRIVATE KEY-----\n")

    assert exposed(known, b'["  | MIIEvQIBADANBgkqhkiG"]').path == "result[0]"
    known.check(b'"-----BEGIN PRIVATE KEY-----"', what="the result", root="result")


async def test_a_key_that_is_a_secret_stands_in_no_error_about_the_value() -> None:
    long = "sk-" + "0123456789" * 10

    @step
    async def strange(secret: Secret) -> dict[str, object]:
        return {secret.reveal(): {1, 2}}

    @workflow
    async def calls(ctx: WorkflowContext, secret: Secret) -> str:
        try:
            await strange(secret)
        except StepFailed as error:
            return f"{error} {error.traceback}"
        return "passed"

    async with TestEnvironment([calls], secrets={"db": long}.get) as env:
        run = await env.start(calls, Secret("db"))

        said = await run.result()

        assert "secret 'db' stands in it" in said
        assert long[:20] not in said
        await env.replay(run)


class Token(BaseModel):
    text: str

    @field_validator("text")
    @classmethod
    def check(cls, text: str) -> str:
        raise ValueError(f"no token: {text}")

    @field_serializer("text")
    def write(self, text: str) -> str:
        raise ValueError(f"no token: {text}")


REFUSED: list[Callable[[str], object]] = [
    lambda revealed: value_type(object).record({revealed: object()}, what="it"),
    lambda revealed: value_type(dict[str, int]).accept({revealed: "x"}, what="it"),
    lambda revealed: value_type(Token).accept({"text": revealed}, what="it"),
    lambda revealed: encode_any(Token.model_construct(text=revealed), what="it"),
]


@pytest.mark.parametrize("refused", REFUSED)
async def test_no_part_of_a_long_secret_is_left_where_a_text_is_cut(refused: Callable[[str], object]) -> None:
    long = "sk-" + "0123456789" * 30

    @step(retry=Retry(attempts=1))
    async def refuses(secret: Secret) -> None:
        refused(secret.reveal())

    @workflow
    async def calls(ctx: WorkflowContext, secret: Secret) -> str:
        try:
            await refuses(secret)
        except StepFailed as error:
            return f"{error} {error.traceback}"
        return "passed"

    async with TestEnvironment([calls], secrets={"db": long}.get) as env:
        said = await (await env.start(calls, Secret("db"))).result()

    assert said.startswith("it")
    assert long[:10] not in said


async def test_a_step_that_hides_the_refusal_of_its_heartbeat_has_left_nothing() -> None:
    @step(retry=Retry(attempts=2, delay=0.01))
    def insists(secret: Secret) -> object:
        if step.info().attempt == 2:
            return step.last_heartbeat(object)
        with suppress(SecretExposedError):
            step.heartbeat({"at": [secret.reveal()]})
        raise OSError("once more")

    @workflow
    async def calls(ctx: WorkflowContext, secret: Secret) -> object:
        return await insists(secret)

    async with TestEnvironment([calls], secrets={"db": VALUE}.get) as env:
        run = await env.start(calls, Secret("db"))

        assert await run.result() is None


def test_all_lines_of_the_log_pass_through_the_redaction() -> None:
    lines = io.StringIO()
    root = logging.getLogger()
    before, level = root.handlers[:], root.level
    try:
        configure_logging(level="info", format="json", stream=lines)
        redact_logging(knowing("abcdefgh").redacted)

        logging.getLogger("theirs").error("it is %s", "abcdefgh")
        structlog.get_logger("ours").info("said", of={"password": "abcdefgh"})
    finally:
        root.handlers[:] = before
        root.setLevel(level)
        structlog.reset_defaults()

    assert lines.getvalue().count("[secret db]") == 2
    assert "abcdefgh" not in lines.getvalue()


def test_where_it_stands_is_said_in_few_words() -> None:
    data = json.dumps({"k" * 600_000: {"a": "hunter2-hunter2"}}).encode()

    assert exposed(knowing("hunter2-hunter2"), data).path == "result[a key of 600002 characters].a"


def test_what_only_looks_alike_passes() -> None:
    knowing().check(b'{"$relight.secret":"db","text":"password"}', what="the result", root="result")


def test_texts_are_redacted_the_longest_first() -> None:
    known = Secrets({"short": "abcdefgh", "long": "abcdefgh-and-more"}.get)
    known.reveal("short")
    known.reveal("long")

    said = known.redacted("abcdefgh-and-more, abcdefgh")

    assert said == "[secret long], [secret short]"


def test_log_lines_are_redacted_whatever_they_hold() -> None:
    line: dict[str, object] = {"event": f"with {VALUE}", "count": 1, "of": {"password": VALUE}}

    said = knowing().redacted_line(line)

    assert said == {"event": "with [secret db]", "count": 1, "of": "{'password': '[secret db]'}"}


def test_rotated_values_are_known_until_they_are_too_many() -> None:
    values = {"db": "value-number-0"}
    known = Secrets(values.get)
    for number in range(KNOWN_MAX + 1):
        values["db"] = f"value-number-{number}!"
        known.reveal("db")

    assert known.redacted("value-number-0!") == "value-number-0!"
    assert known.redacted(f"value-number-{KNOWN_MAX}!, value-number-1!") == "[secret db], [secret db]"


def test_the_one_that_was_revealed_least_recently_is_forgotten_first() -> None:
    values = {f"key-{number}": f"value-number-{number}!" for number in range(KNOWN_MAX + 1)}
    known = Secrets(values.get)
    for number in range(KNOWN_MAX):
        known.reveal(f"key-{number}")

    known.reveal("key-0")
    known.reveal(f"key-{KNOWN_MAX}")

    assert known.redacted("value-number-0!, value-number-1!") == "[secret key-0], value-number-1!"
