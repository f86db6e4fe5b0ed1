"""Times, sizes, kinds and commands as a person reads them. Pure."""

from __future__ import annotations

import json
import re
import shlex
from datetime import datetime

from msgspec import Raw

from relight.sdk._durations import moment as sdk_moment
from relight.subjects.references import reference_in

__all__ = ("age", "clock_time", "command", "due_time", "kind_in_words", "moment", "size", "value")

_SPANS = (("d", 86_400), ("h", 3_600), ("min", 60))


def command(verb: str, *names: str, options: tuple[str, ...] = ()) -> str:
    """Return a command of ours that can be pasted into a shell, whatever the names begin with."""
    if any(one.startswith("-") for one in names):
        return shlex.join(("relight", verb, *options, "--", *names))
    return shlex.join(("relight", verb, *names, *options))


def moment(milliseconds: int) -> datetime:
    """Return the UTC time of milliseconds since 1970; the first or last one that there is beyond it."""
    return sdk_moment(milliseconds)


def age(milliseconds: int) -> str:
    """Return a span in its largest unit, for example `3 min`."""
    seconds = max(0, milliseconds) / 1000
    for unit, length in _SPANS:
        if seconds >= length:
            return f"{seconds / length:.0f} {unit}"
    return f"{seconds:.0f} s"


def clock_time(at: datetime) -> str:
    """Return the time of day in UTC, to the millisecond."""
    return f"{at:%H:%M:%S}.{at.microsecond // 1000:03d}"


def due_time(due: datetime, at: datetime) -> str:
    """Return when something that was said `at` a time is due: with the date if that is another day."""
    return clock_time(due) if due.date() == at.date() else f"{due:%Y-%m-%d} {clock_time(due)}"


def size(octets: int) -> str:
    """Return a number of bytes."""
    if octets < 1024:
        return f"{octets} B"
    return f"{octets / 1024:.1f} KiB" if octets < 1024 * 1024 else f"{octets / 1024 / 1024:.1f} MiB"


def value(stored: object) -> str:
    """Return the JSON of a value as it stands in a record; what is stored apart is said to be."""
    text = json.dumps(stored, ensure_ascii=False)
    reference = reference_in(Raw(text.encode("utf-8", "replace")))
    return text if reference is None else f"{size(reference.bytes)}, stored apart as {reference.digest}"


def kind_in_words(kind: str) -> str:
    """Return `step completed` of `StepCompleted`."""
    return re.sub(r"(?<!^)(?=[A-Z])", " ", kind).lower()
