"""What is refused at once, in words that say what was given and what is wanted."""

from __future__ import annotations

from typing import Any

import pytest

from relight import InvalidIdError, Keys, RefusedError, WorkflowContext, workflow
from relight.subjects.ids import name_of


async def without_context() -> None: ...


async def by_keyword(ctx: WorkflowContext, *, cents: int) -> None: ...


@pytest.mark.parametrize(
    ("function", "said"),
    [
        (without_context, r"takes no context; write `async def without_context\(ctx: WorkflowContext, …\)`"),
        (by_keyword, "takes 'cents' by keyword only; let it be positional"),
    ],
)
def test_a_workflow_that_no_run_could_call_is_refused_where_it_is_made(function: Any, said: str) -> None:
    with pytest.raises(TypeError, match=said):
        workflow(function)


def test_what_is_no_text_is_shown_as_it_is() -> None:
    with pytest.raises(InvalidIdError, match=r"^tag value 1 must be printable text"):
        name_of("tag value", 1)


def test_keys_without_a_key_say_what_is_missing() -> None:
    with pytest.raises(RefusedError, match=r"^no encryption key is given; pass at least one, of 32 random bytes$"):
        Keys({})
    with pytest.raises(RefusedError, match=r"^the current encryption key 'b' is not among them; pass one of a$"):
        Keys({"a": bytes(32)}, current="b")
