"""Delays between attempts stay within their bounds."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from relight import Retry, RetryAfter
from relight.sdk._execution import _delay_s  # pyright: ignore[reportPrivateUsage]  # a pure leaf
from relight.sdk._step import Policy


@given(
    delay=st.floats(0, 1_000), factor=st.floats(1, 10), most=st.floats(0, 1_000), jitter=st.floats(0, 1),
    attempt=st.integers(1, 10_000),
)  # fmt: skip
def test_a_delay_is_never_longer_than_its_bound_and_jitter(
    delay: float, factor: float, most: float, jitter: float, attempt: int
) -> None:
    policy = Policy(retry=Retry(delay=delay, factor=factor, delay_max=most, jitter=jitter))

    actual = _delay_s(OSError(), policy, attempt)

    assert 0 <= actual <= most * (1 + jitter) + 1e-9
    assert actual >= min(delay, most) * (1 - jitter) - 1e-9


@given(delay=st.floats(0, 10_000))
def test_what_the_step_asks_for_is_what_it_gets(delay: float) -> None:
    assert _delay_s(RetryAfter(delay), Policy(), 1) == delay
