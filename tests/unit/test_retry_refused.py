"""What is no retry is refused where it is written, with the value and the remedy."""

from __future__ import annotations

import re
from typing import Any

import pytest

from relight import InvalidValueError, Retry, step


def test_a_retry_out_of_range_is_refused_with_value_and_remedy() -> None:
    with pytest.raises(
        InvalidValueError, match=r"Retry.attempts: 0 is no whole number, or less than 1; pass 1 or more"
    ):
        Retry(attempts=0)
    with pytest.raises(InvalidValueError, match=r"Retry.delay: -1.0 s is out of range; pass 0 seconds to 100 years"):
        Retry(delay=-1)
    with pytest.raises(InvalidValueError, match=r"Retry.factor: 0.5 is out of range; pass 1 to 1,000"):
        Retry(factor=0.5)
    with pytest.raises(InvalidValueError, match=r"Retry.jitter: 2 is no share; pass 0 to 1"):
        Retry(jitter=2)


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"attempts": 1.5}, "Retry.attempts: 1.5"),
        ({"attempts": True}, "Retry.attempts: True"),
        ({"factor": "2"}, "Retry.factor: '2'"),
        ({"jitter": None}, "Retry.jitter: None"),
        ({"never": ValueError}, "Retry.never: <class 'ValueError'>"),
        ({"never": ("OSError",)}, "Retry.never: ('OSError',)"),
    ],
)
def test_a_retry_of_other_types_is_refused(options: dict[str, Any], named: str) -> None:
    """Found out by the first failure, it would leave a step that nobody ends."""
    with pytest.raises(InvalidValueError, match=re.escape(named)):
        Retry(**options)


@pytest.mark.parametrize("retry", [3, None])
def test_what_is_no_retry_is_refused(retry: Any) -> None:
    async def charge() -> None:
        return

    with pytest.raises(InvalidValueError, match=f"retry: {retry} is no Retry; pass one"):
        step(retry=retry)(charge)
