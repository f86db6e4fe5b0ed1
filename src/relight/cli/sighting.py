"""How one run stands, for people and for programs, and which commands would bring it forward. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any, final

from msgspec import Raw

from relight.cli.output import Cell, shortened, status_style
from relight.cli.words import age, command, moment, size
from relight.cli.words import value as value_in_words
from relight.sdk._description import as_stored, describe
from relight.subjects import records as r
from relight.subjects.envelope import PLACEHOLDER
from relight.subjects.references import reference_in

if TYPE_CHECKING:
    from relight.actors.letters import Sight
    from relight.actors.run.state import OpenWait, RunState

__all__ = ("Sighting", "summary", "summary_of_unreadable")

_VALUE_CHARACTERS_MAX = 2_000
_SEALED = "what users put in is not shown: its key is not here (RELIGHT_ENCRYPTION_KEYS), or was destroyed"


def summary(sight: Sight, *, now_ms: int) -> tuple[dict[str, object], tuple[Cell, ...]]:
    """Return what a list says of a run: for programs, and as cells."""
    description, started = describe(sight), sight.state.started
    workflow = "" if started is None else started.workflow
    document: dict[str, object] = {
        "run": sight.run,
        "workflow": workflow,
        "queue": "" if started is None else started.queue,
        "status": description.status,
        "parked": description.parked,
        "since": description.since.isoformat(),
        "waits_for": list(description.waits_for),
    }
    waits = "; ".join(description.waits_for)
    if not waits and description.status != "completed":
        waits = description.last_error or ""
    since = f"{age(now_ms - round(description.since.timestamp() * 1000))} ago"
    status: Cell = (description.status, status_style(description.status))
    return document, (sight.run, workflow, status, (since, "dim"), shortened(waits, 200))


def summary_of_unreadable(run: str, workflow: str, queue: str, why: str) -> tuple[dict[str, object], tuple[Cell, ...]]:
    """Return what a list says of a run that can't be read; its status is none of those that runs have."""
    status = "unreadable"
    document: dict[str, object] = {
        "run": run,
        "workflow": workflow,
        "queue": queue,
        "status": status,
        "parked": None,
        "since": None,
        "waits_for": [],
        "problem": why,
    }
    return document, (run, workflow, (status, status_style(status)), "", shortened(why, 200))


@final
class Sighting:
    """One look at one run."""

    def __init__(self, sight: Sight, children: Mapping[str, str], *, now_ms: int) -> None:
        self.sight = sight
        self.description = describe(sight, children)
        self._now_ms = now_ms

    def document(self) -> dict[str, object]:
        """Everything, for programs."""
        state, seen = self.sight.state, self.description
        started = state.started
        return {
            "run": self.sight.run,
            "workflow": "" if started is None else started.workflow,
            "queue": "" if started is None else started.queue,
            "version": started.version or None if started is not None else None,
            "origin": seen.origin,
            "tags": {} if started is None else started.tags,
            "status": seen.status,
            "parked": seen.parked,
            "waits_for": list(seen.waits_for),
            "started_at": moment(state.started_at_ms).isoformat(),
            "since": seen.since.isoformat(),
            "attempt": seen.attempt,
            "details": seen.details,
            "reason": _reason(state) or None,
            "last_error": seen.last_error,
            "traceback": _traceback(state) or None,
            "worker": seen.worker,
            "result": _value(state.end.result) if isinstance(state.end, r.RunCompleted) else None,
            "steps": [
                {"step": one.key, "attempt": one.attempts + 1, "since": moment(one.scheduled_at_ms).isoformat()}
                for one in state.steps.values()
            ],
            "timers": [{"timer": n, "due": moment(due_ms).isoformat()} for n, due_ms in state.timers.items()],
            "waits": [_wait(one) for one in state.waits.values()],
            "warnings": list(seen.warnings),
            "history_records": seen.history_records,
            "history_bytes": seen.history_bytes,
            "unread": self.sight.unread,
            "commands": self.commands(),
        }

    def pairs(self) -> list[tuple[str, Cell]]:
        """Names and values, for people; what does not apply is left out."""
        state, seen = self.sight.state, self.description
        pairs: list[tuple[str, Cell]] = []
        if state.started is not None:
            stays = f", stays with version {state.started.version}" if state.started.version else ""
            pairs.append(("workflow", f"{state.started.workflow}, queue {state.started.queue}{stays}"))
            pairs += [("tag", f"{name} = {value}") for name, value in state.started.tags.items()]
        if seen.origin is not None:
            pairs.append(("fork of", seen.origin))
        pairs.append(("started", self._when(moment(state.started_at_ms))))
        pairs.append(("since", self._when(seen.since)))
        pairs += [("waits for", (one, status_style(seen.status))) for one in seen.waits_for]
        pairs += [(f"{one.kind} data", _json(_value(one.data))) for one in state.waits.values() if one.data is not None]
        if seen.details is not None:
            pairs.append(("details", _json(seen.details)))
        if isinstance(state.end, r.RunCompleted):
            pairs.append(("result", _result(state.end.result)))
        if reason := _reason(state):
            pairs.append(("reason", reason))
        if seen.last_error is not None and seen.parked is None:
            is_over = seen.status == "completed"  # In spite of it.
            pairs.append(
                ("earlier error", (seen.last_error, "dim")) if is_over else ("last error", (seen.last_error, "red"))
            )
        if traceback := _traceback(state):
            pairs.append(("traceback", (traceback.rstrip(), "dim")))
        if seen.worker is not None:
            pairs.append(("worker", seen.worker))
        pairs.append(("history", self._sizes()))
        if self.sight.tail is not None and self.sight.tail.sealed:
            pairs.append(("sealed", _SEALED))
        pairs += [("warning", (one, "yellow")) for one in seen.warnings]
        return [*pairs, *(("to go on", (one, "bold")) for one in self.commands())]

    def commands(self) -> list[str]:
        """Return the commands that would bring the run forward now."""
        state, run = self.sight.state, self.sight.run
        if state.end is not None:
            return []
        if state.parked is not None:
            return _for_parked(run, state.parked)
        if state.is_paused:
            return [command("unpause", run)]
        return [one for wait in state.waits.values() for one in _for_wait(run, wait)]

    def _when(self, at: datetime) -> str:
        return f"{at:%Y-%m-%d %H:%M:%S} UTC, {age(self._now_ms - round(at.timestamp() * 1000))} ago"

    def _sizes(self) -> str:
        seen, unread = self.description, self.sight.unread
        more = f", {unread} unread in the mailbox" if unread else ""
        return f"{seen.history_records} records, {size(seen.history_bytes)}{more}"


def _reason(state: RunState) -> str:
    """Return why somebody has ended a run, if he said so."""
    return state.end.reason if isinstance(state.end, r.RunCancelled | r.RunTerminated) else ""


def _traceback(state: RunState) -> str:
    """Return where a run has failed, or where a step did that is to be tried again."""
    if isinstance(state.end, r.RunFailed):
        return state.end.error.traceback
    failed = [one.last_error for one in state.steps.values() if one.last_error is not None]
    return failed[-1].traceback if failed and state.end is None else ""


def _for_parked(run: str, parked: r.Parked) -> list[str]:
    if parked.reason == "unknown_outcome" and parked.step:
        return [
            command("resolve", run, parked.step, options=("--result", "JSON")),
            command("resolve", run, parked.step, options=("--error", "TEXT")),
            command("resolve", run, parked.step, options=("--rerun",)),
        ]
    if parked.reason == "retries_exhausted" and parked.step:
        return [command("retry", run), command("resolve", run, parked.step, options=("--result", "JSON"))]
    if parked.reason == "corrupt":
        return [command("terminate", run)]
    if parked.reason == PLACEHOLDER:
        return []  # Sealed by an earlier Relight: it may be a step that must not run again unasked.
    return [command("retry", run)]


def _for_wait(run: str, wait: OpenWait) -> list[str]:
    if wait.kind == "suspension":
        return [command("resume", run, wait.name, "JSON")]
    if wait.kind == "signal":
        return [command("signal", run, wait.name, "JSON")]
    if wait.kind == "request":
        return [command("request", run, wait.name, "JSON")]
    if wait.kind == "child":
        return [command("show", wait.name)]
    return [command("complete", wait.name, "JSON")]


def _wait(wait: OpenWait) -> dict[str, object]:
    return {
        "kind": wait.kind,
        "name": wait.name,
        "since": moment(wait.since_ms).isoformat(),
        "data": None if wait.data is None else _value(wait.data),
        "problem": wait.problem,
    }


def _value(data: Raw | None) -> Any:
    return None if data is None else as_stored(bytes(data))


def _result(result: Raw) -> str:
    stored = _value(result)
    return _json(stored) if reference_in(result) is None else value_in_words(stored)


def _json(value: object) -> str:
    text = json.dumps(value, ensure_ascii=False, indent=2)
    if "\n" in text and len(text) < 80:
        text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= _VALUE_CHARACTERS_MAX else f"{text[:_VALUE_CHARACTERS_MAX]}…"
