"""How a run stands, in words."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, cast

from relight.actors.letters import Sight
from relight.actors.run.length import REMEDY, is_long
from relight.sdk._durations import moment
from relight.sdk._waiting import waits_for
from relight.subjects import records as r

if TYPE_CHECKING:
    from relight.sdk._run import Parked, RunStatus

__all__ = ("RunDescription", "as_stored", "describe")


@dataclass(frozen=True, kw_only=True)
class RunDescription:
    """How a run stands.

    Attributes:
        status: One of the closed list.
        parked: Why a person or a fix is needed.
        waits_for: In words, one for each open wait: what for, since when, and who can bring it forward.
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
        status=cast("RunStatus", sight.status),
        parked=None if parked is None else cast("Parked", parked.reason),
        waits_for=waits_for(sight, children),
        suspended=tuple(one.name for one in state.waits.values() if one.kind == "suspension"),
        details=None if state.details is None else as_stored(bytes(state.details)),
        since=moment(state.since_ms),
        attempt=1 + max((step.attempts for step in state.steps.values()), default=0),
        last_error=error,
        worker=None if sight.tail is None else sight.tail.owner or None,
        history_records=state.records if sight.tail is not None else 0,
        history_bytes=sight.bytes,
        origin=None if state.started is None else state.started.origin,
        warnings=_warnings(sight),
    )


def _warnings(sight: Sight) -> tuple[str, ...]:
    if sight.problem:
        return (f"its history is damaged, and only its last turn is shown: {sight.problem}",)
    return (f"its history has {sight.state.records} records; {REMEDY}",) if is_long(sight.state) else ()


def as_stored(data: bytes) -> Any:
    """Return the JSON that a message has brought; a number that Python does not read stays the text that it is."""
    return json.loads(data.decode(errors="replace"), parse_int=_int, parse_float=_float)


def _int(digits: str) -> int | str:
    try:
        return int(digits)
    except ValueError:
        return digits  # More digits than Python reads.


def _float(digits: str) -> float | str:
    number = float(digits)
    return number if math.isfinite(number) else digits
