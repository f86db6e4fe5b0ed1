"""Durations and times as users give them, and as Relight keeps them."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta
from typing import TypeAlias

from relight.config.limits import LIMITS
from relight.errors import InvalidValueError

__all__ = ("Duration", "due_ms", "moment", "moment_ms", "seconds")

Duration: TypeAlias = timedelta | float
"""A `timedelta`, or seconds. One alias for every time-out, delay and window of the API."""

_SECONDS_MAX = 100 * 365 * 86_400.0
_FIRST_MS = datetime.min.replace(tzinfo=UTC).timestamp() * 1000
_LAST_MS = datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC).timestamp() * 1000


def seconds(what: str, duration: Duration) -> float:
    """Return a duration in seconds.

    Raises:
        InvalidValueError: It is no duration, negative, not finite, or longer than 100 years.
    """
    if isinstance(duration, timedelta):
        value = duration.total_seconds()
    elif isinstance(duration, int | float) and not isinstance(duration, bool):  # pyright: ignore[reportUnnecessaryIsInstance]  # what users may pass
        value = float(duration)
    else:
        raise InvalidValueError(what, "", f"{type(duration).__name__} is no duration", "pass a timedelta or seconds")
    if not (math.isfinite(value) and 0 <= value <= _SECONDS_MAX):
        raise InvalidValueError(what, "", f"{value} s is out of range", "pass 0 seconds to 100 years")
    return value


def moment_ms(what: str, time: datetime) -> int:
    """Return an aware datetime as milliseconds since 1970. Raises `InvalidValueError` for a naive one."""
    if time.tzinfo is None:
        raise InvalidValueError(what, "", "the datetime has no time zone", "pass an aware datetime")
    return math.ceil(time.timestamp() * 1000)


def due_ms(what: str, time: datetime) -> int:
    """Return `moment_ms` of a time at which something is to happen.

    Raises:
        InvalidValueError: It is naive, or later than `limits.due_ms_max`.
    """
    milliseconds = moment_ms(what, time)
    if milliseconds > LIMITS.due_ms_max:
        limit = f"{moment(LIMITS.due_ms_max):%Y}"
        raise InvalidValueError(what, "", f"{time} is out of range", f"pass a time before {limit}")
    return milliseconds


def moment(milliseconds: float) -> datetime:
    """Return milliseconds since 1970 as an aware datetime in UTC; the first or last one that there is beyond it."""
    return datetime.fromtimestamp(max(_FIRST_MS, min(milliseconds, _LAST_MS)) / 1000, UTC)
