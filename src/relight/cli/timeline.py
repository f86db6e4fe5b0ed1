"""A run's history as lines: when, who, what, which step, where in the code, and what came of it. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from relight.cli.output import Cell, shortened
from relight.cli.words import clock_time, due_time, kind_in_words, moment
from relight.cli.words import value as value_in_words
from relight.sdk._description import as_stored
from relight.subjects.codec import encode
from relight.subjects.records import Record

__all__ = ("COLUMNS", "WIDTHS", "Timeline", "document_of")

COLUMNS = ("time (UTC)", "worker", "what", "which", "place", "result")
WIDTHS = ((12, 12), (6, 16), (14, 19), (10, 18), (8, 14), (20, 60))
"""The least, for a terminal of 80 columns, and the greatest."""

_CHARACTERS_MAX = 60
_OUTCOMES = ("result", "data", "error", "arguments", "reason", "message", "cause", "problem", "by")
_STYLES = {
    "StepCompleted": "green",
    "RunCompleted": "bold green",
    "StepFailed": "red",
    "RunFailed": "bold red",
    "RunTimedOut": "bold red",
    "RunTerminated": "bold red",
    "StepAttemptFailed": "yellow",
    "Parked": "bold magenta",
    "Claimed": "cyan",
}


@dataclass
class Timeline:
    """Makes lines of records in their order: what waits and timers are called was said when they were made."""

    _names: dict[int, str] = field(default_factory=dict[int, str])
    _places: dict[str, str] = field(default_factory=dict[str, str])

    def row(self, at: datetime, worker: str, record: Record) -> tuple[Cell, ...]:
        """Return the cells of one record."""
        kind = type(record).__name__
        said = _fields(record)
        which = self._which(said)
        place = self._place(which, str(said.get("place", "")))
        style = _STYLES.get(kind, "dim" if kind.endswith(("Cancelled", "Heartbeat")) else "")
        return (
            (clock_time(at), "dim"),
            (worker, "dim"),
            (kind_in_words(kind), style),
            which,
            (_short_place(place), "dim"),
            shortened(_outcome(kind, said, at), _CHARACTERS_MAX),
        )

    def _place(self, which: str, place: str) -> str:
        if not which:
            return place
        return self._places.setdefault(which, place) if place else self._places.get(which, "")

    def _which(self, said: dict[str, Any]) -> str:
        if "step" in said:
            return str(said["step"])
        if "child" in said:
            child = str(said["child"])
            return self._names.setdefault(said["wait"], child) if "wait" in said else child
        if "timer" in said:
            return f"timer {said['timer']}"
        if "token" in said:
            return self._names.setdefault(said["wait"], "awakeable")
        number = said.get("wait", said.get("awakeable"))
        if "name" in said:
            name = str(said["name"])
            return name if number is None else self._names.setdefault(number, name)
        return "" if number is None else self._names.get(number, f"wait {number}")


def document_of(sequence: int, at: datetime, worker: str, epoch: int, record: Record) -> dict[str, object]:
    """Return what programs get of a record: everything that is stored, with its place in the history."""
    return {
        "sequence": sequence,
        "kind": type(record).__name__,
        "at": at.isoformat(),
        "worker": worker,
        "epoch": epoch,
        **{name: value for name, value in _fields(record).items() if name != "kind"},
    }


def _fields(record: Record) -> dict[str, Any]:
    said: dict[str, Any] = as_stored(encode(record))
    return said


def _outcome(kind: str, said: dict[str, Any], at: datetime) -> str:
    if kind == "RunStarted":
        arguments = ", ".join(value_in_words(one) for one in said.get("arguments", ()))
        signal = f" with signal {said['signal']['name']!r}" if said.get("signal") else ""
        return f"{said['workflow']}({arguments}){signal}"
    if kind == "TimerArmed":
        return f"due {due_time(moment(said['due_ms']), at)}"
    if kind == "StepAttemptFailed":
        again = f"; again {due_time(moment(said['retry_at_ms']), at)}" if said["retry_at_ms"] else ""
        return f"attempt {said['attempt']}: {_error(said['error'])}{again}"
    if kind == "Parked":
        return f"{said['reason']}: {said['message']}"
    if kind == "AwakeableCreated":
        return str(said["token"])
    if said.get("problem"):
        return f"again: the one before was refused: {said['problem']}"
    if kind in ("StepCompleted", "RunCompleted"):
        return value_in_words(said.get("result"))
    for name in _OUTCOMES:
        if said.get(name) not in (None, ""):
            return _error(said[name]) if name == "error" else _text(said[name])
    return ""


def _error(error: dict[str, Any]) -> str:
    return f"{error['type'].rpartition('.')[2]}: {error['message']}"


def _text(value: object) -> str:
    return value if isinstance(value, str) else value_in_words(value)


def _short_place(place: str) -> str:
    return place.rsplit("/", 1)[-1]
