"""What the server's refusal of a publish becomes: for each error code the class on which callers act."""

from __future__ import annotations

import json

import pytest

from relight.actors.jetstream.publisher import _refused  # pyright: ignore[reportPrivateUsage]
from relight.errors import FencedError, PayloadTooLargeError, UnavailableError


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        (10071, FencedError),  # The last sequence of the subject is another one.
        (10164, FencedError),  # The same, said of a filter.
        (10054, PayloadTooLargeError),
        (10077, UnavailableError),  # The limit of messages is reached; it may be raised.
        (10008, UnavailableError),  # The system is temporarily unavailable.
    ],
)
def test_a_refusal_becomes_the_error_on_which_callers_act(code: int, expected: type[Exception]) -> None:
    answer = json.dumps({"error": {"code": 400, "err_code": code, "description": "as the server says"}}).encode()

    error = _refused("relight.default.log.1.order-1", answer, 0, 100)

    assert type(error) is expected
    assert "as the server says" in str(error)


def test_an_answer_that_cannot_be_read_says_nothing_of_what_was_stored() -> None:
    assert type(_refused("log", b'{"error": 7', 0, 0)) is UnavailableError
