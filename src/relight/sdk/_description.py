"""How a run stands, in words."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from types import MappingProxyType
from typing import TYPE_CHECKING, cast

from relight.actors.letters import Sight
from relight.actors.run.length import REMEDY, is_long
from relight.actors.run.state import OpenStep, OpenWait, RunState
from relight.sdk._durations import moment
from relight.subjects import records as r

if TYPE_CHECKING:
    from relight.sdk._run import Parked, RunStatus

__all__ = ("RunDescription", "describe")


@dataclass(frozen=True, kw_only=True)
class RunDescription:
    """How a run stands.

    Attributes:
        status: One of the closed list.
        parked: Why a person or a fix is needed.
        waits_for: In words, one for each open wait.
        suspended: Names of the open suspensions.
        details: What `ctx.set_details` was given last.
        since: When it last moved.
        attempt: Failed attempts of the steps under way, plus one.
        last_error: Of a step, of the run, or why it is parked.
        worker: That wrote its last turn; of a fork whose turns are all copied: none.
        history_records: Records in its history.
        history_bytes: Their size as stored.
        warnings: What a person should know although the run goes on.
        origin: The run of which it is a fork.
    """

    status: RunStatus
    parked: Parked | None
    waits_for: tuple[str, ...]
    suspended: tuple[str, ...]
    details: object
    since: datetime
    attempt: int
    last_error: str | None
    worker: str | None
    history_records: int
    history_bytes: int
    origin: str | None = None
    warnings: tuple[str, ...] = ()


def describe(sight: Sight, children: Mapping[str, str] = MappingProxyType({})) -> RunDescription:
    """Put into words how a run stands.

    Args:
        sight: Of the run.
        children: How those stand for which it waits, as far as somebody has looked.
    """
    state = sight.state
    parked = state.parked
    if parked is not None:
        error: str | None = f"{parked.reason}: {parked.message}"
    else:
        error = None if state.last_error is None else f"{state.last_error.type}: {state.last_error.message}"
    if isinstance(state.end, r.RunFailed | r.RunCancelled) and state.end.not_undone:
        error = f"{error}; not undone: {', '.join(state.end.not_undone)}"
    return RunDescription(
        status=cast("RunStatus", state.status if sight.tail is not None else "queued"),
        parked=None if parked is None else cast("Parked", parked.reason),
        waits_for=tuple(_waits_for(sight, children)),
        suspended=tuple(one.name for one in state.waits.values() if one.kind == "suspension"),
        details=None if state.details is None else json.loads(bytes(state.details)),
        since=moment(state.since_ms),
        attempt=1 + max((step.attempts for step in state.steps.values()), default=0),
        last_error=error,
        worker=None if sight.tail is None else sight.tail.owner or None,
        history_records=state.records if sight.tail is not None else 0,
        history_bytes=sight.bytes,
        origin=None if state.started is None else state.started.origin,
        warnings=(f"its history has {state.records} records; {REMEDY}",) if is_long(state) else (),
    )


def _waits_for(sight: Sight, children: Mapping[str, str]) -> list[str]:
    state = sight.state
    if state.end is not None:
        return []
    held = [_pause(sight.run, state.paused_at_ms)] if state.paused_at_ms is not None else []
    if state.is_delayed and state.started is not None:
        return [*held, f"its start at {_time(state.started.not_before_ms or 0)}"]
    if sight.tail is None:
        return [f"a worker of queue {state.started.queue!r}" if state.started is not None else "a worker"]
    if state.parked is not None:
        return [f"a person or a fix ({state.parked.reason}): {state.parked.message}", *held]
    said = held + [_wait(one, children) for one in state.waits.values()]
    said += [_step(one, state) for one in state.steps.values()]
    said += [f"timer {number}, due at {_time(due_ms)}" for number, due_ms in state.timers.items()]
    if sight.unread:
        said.append(f"{sight.unread} messages in its mailbox are unread")
    return said


def _pause(run: str, since_ms: int) -> str:
    return f"a person: paused since {_time(since_ms)}; `relight unpause {run}` or `run.unpause()` lets it go on"


def _wait(wait: OpenWait, children: Mapping[str, str]) -> str:
    since = f"since {_time(wait.since_ms)}"
    if wait.kind == "suspension":
        refused = f"; the last answer was refused: {wait.problem}" if wait.problem else ""
        return f"the answer to suspension {wait.name!r} {since}{refused}"
    if wait.kind == "child":
        status = f" ({children[wait.name]})" if wait.name in children else ""
        return f"the end of child {wait.name!r}{status} {since}"
    if wait.kind == "signal":
        return f"signal {wait.name!r} {since}"
    return f"the completion of awakeable {wait.name.rsplit('~', 1)[0]!r} {since}"


def _step(step: OpenStep, state: RunState) -> str:
    if step.retry_at_ms > state.at_ms and step.last_error is not None:
        error = f"{step.last_error.type}: {step.last_error.message}"
        return f"attempt {step.attempts + 1} of step {step.key} at {_time(step.retry_at_ms)}; the last one: {error}"
    return f"step {step.key}, attempt {step.attempts + 1}, since {_time(step.scheduled_at_ms)}"


def _time(milliseconds: int) -> str:
    return f"{moment(milliseconds):%Y-%m-%d %H:%M:%S} UTC"
