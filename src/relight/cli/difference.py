"""Where two runs part, and what differs: results, errors, times. Pure: a function of two histories.

Only what the workflow's code saw and asked for is compared in order; who ran it, when, and after how many attempts
parts no runs. Tokens, and the ids of what was sent, are every run's own, and children's names are compared without
the id of the run in them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import zip_longest
from typing import Any, NamedTuple, get_args

from relight.sdk._description import as_stored
from relight.subjects import records as r
from relight.subjects.codec import encode

__all__ = ("Difference", "Entry", "Parting", "RunsCompared", "compared")

_COMPARED = frozenset((*r.FACTS, *get_args(r.Request)))
_UNCOMPARED = frozenset(("place", "by", "due_ms", "attempt", "traceback", "headers", "token", "id", "client"))
_OF_A_START = ("workflow", "arguments")
_OF_A_CONTINUATION = ("generation", "calls", "suspensions")
_ABSENT = "absent"
_OPEN = "open"


class Entry(NamedTuple):
    """A record with its place in a history: `sequence` counts from 1."""

    sequence: int
    at_ms: int
    record: r.Record


class Parting(NamedTuple):
    """The first records that are not the same; None where one history has ended."""

    left: Entry | None
    right: Entry | None


class Difference(NamedTuple):
    """One thing that came out differently, or took another time. Values are as JSON has them."""

    what: str
    field: str
    left: Any
    right: Any


@dataclass(frozen=True, kw_only=True)
class RunsCompared:
    """What two histories have in common.

    Attributes:
        shared: Records that are the same, from the start on, among those that are compared.
        parting: None if nothing parts them.
        differences: Arguments, results, errors, attempts, ends.
        times: How long what both have done took, in seconds.
    """

    shared: int
    parting: Parting | None
    differences: tuple[Difference, ...]
    times: tuple[Difference, ...]


@dataclass
class _Thing:
    """A step, a signal, an answer, a child or the run itself: what came of it, and when."""

    since_ms: int
    said: dict[str, Any] = field(default_factory=dict[str, Any])
    until_ms: int | None = None

    @property
    def seconds(self) -> float | None:
        return None if self.until_ms is None else (self.until_ms - self.since_ms) / 1000


def compared(left: Sequence[Entry], right: Sequence[Entry], *, names: tuple[str, str]) -> RunsCompared:
    """Compare two histories; `names` are the ids of their runs."""
    pairs = zip_longest(_of_the_code(left), _of_the_code(right))
    shared, parting = 0, None
    for one, other in pairs:
        if one is None or other is None or _content(one.record, names[0]) != _content(other.record, names[1]):
            parting = Parting(one, other)
            break
        shared += 1
    things = _things(left, names[0]), _things(right, names[1])
    return RunsCompared(
        shared=shared, parting=parting, differences=tuple(_differences(*things)), times=tuple(_times(*things))
    )


def _of_the_code(history: Sequence[Entry]) -> Iterator[Entry]:
    return (one for one in history if type(one.record) in _COMPARED)


def _content(record: r.Record, run: str) -> object:
    fields = _fields(record)
    if isinstance(record, r.RunStarted):
        return [fields.get(name) for name in _OF_A_START]
    if isinstance(record, r.Continued):
        return [fields.get(name) for name in _OF_A_CONTINUATION]
    return type(record).__name__, _without(fields, run)


def _without(value: Any, run: str) -> Any:
    """Return the value without what differs between any two runs."""
    if not isinstance(value, dict):
        return value
    said: dict[str, Any] = value  # pyright: ignore[reportUnknownVariableType]  # JSON
    return {
        name: one.removeprefix(run) if name == "child" else _without(one, run) if name in ("error", "end") else one
        for name, one in said.items()
        if name not in _UNCOMPARED
    }


def _things(history: Sequence[Entry], run: str) -> dict[str, _Thing]:
    things: dict[str, _Thing] = {}
    seen: Counter[str] = Counter()
    for _, at_ms, record in history:
        match record:
            case r.RunStarted(workflow=workflow):
                arguments = _fields(record).get("arguments", [])
                things["run"] = _Thing(at_ms, {"workflow": workflow, "arguments": arguments, "end": _OPEN})
            case r.StepScheduled(step=step, digest=digest):
                things[f"step {step}"] = _Thing(at_ms, {"arguments": digest, "outcome": _OPEN})
            case r.StepCompleted(step=step, attempt=attempt) | r.StepFailed(step=step, attempt=attempt):
                _end(things, f"step {step}", at_ms, outcome=_outcome(record), attempt=attempt)
            case r.StepCancelled(step=step):
                _end(things, f"step {step}", at_ms, outcome="cancelled")
            case r.ChildScheduled(child=child, workflow=workflow):
                things[f"child {child.removeprefix(run)}"] = _Thing(at_ms, {"workflow": workflow, "end": _OPEN})
            case r.ChildEnded(child=child, end=end):
                _end(things, f"child {child.removeprefix(run)}", at_ms, end=_outcome(end))
            case r.SignalReceived(name=name) | r.AnswerReceived(name=name):
                kind = "signal" if isinstance(record, r.SignalReceived) else "answer"
                seen[kind + name] += 1
                things[f"{kind} {name}#{seen[kind + name]}"] = _Thing(at_ms, {"data": _fields(record).get("data")})
            case r.RunCompleted() | r.RunFailed() | r.RunCancelled() | r.RunTimedOut() | r.RunTerminated():
                _end(things, "run", at_ms, end=_outcome(record))
            case _:
                pass
    return things


def _end(things: dict[str, _Thing], name: str, at_ms: int, **said: Any) -> None:
    thing = things.setdefault(name, _Thing(at_ms))
    thing.until_ms = at_ms
    thing.said.update(said)


def _outcome(record: r.Record) -> Any:
    """Return how something ended: the kind, and the result or the error."""
    fields = _fields(record)
    if "error" in fields:
        return {"error": f"{fields['error']['type']}: {fields['error']['message']}"}
    if isinstance(record, r.StepCompleted | r.RunCompleted):
        return {"result": fields.get("result")}
    return {type(record).__name__: fields.get("reason", "")}


def _differences(left: dict[str, _Thing], right: dict[str, _Thing]) -> Iterator[Difference]:
    for what in dict.fromkeys((*left, *right)):
        one, other = left.get(what), right.get(what)
        if one is None or other is None:
            yield Difference(what, "presence", _presence(one), _presence(other))
            continue
        for name in dict.fromkeys((*one.said, *other.said)):
            if one.said.get(name) != other.said.get(name):
                yield Difference(what, name, one.said.get(name), other.said.get(name))


def _presence(thing: _Thing | None) -> Any:
    if thing is None:
        return _ABSENT
    return next((thing.said[name] for name in ("outcome", "end", "data") if name in thing.said), _OPEN)


def _times(left: dict[str, _Thing], right: dict[str, _Thing]) -> Iterator[Difference]:
    for what, one in left.items():
        other = right.get(what)
        if other is not None and one.seconds is not None and other.seconds is not None:
            yield Difference(what, "seconds", one.seconds, other.seconds)


def _fields(record: r.Record) -> dict[str, Any]:
    said: dict[str, Any] = as_stored(encode(record))
    return said
