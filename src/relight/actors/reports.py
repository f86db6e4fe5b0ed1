"""What a worker logs of the runs that it drives: what went wrong, once it is recorded.

Only names and types: messages and values are in the history, where codecs seal them.
"""

from __future__ import annotations

from collections.abc import Sequence

import structlog

from relight.actors.run.length import REMEDY, is_long
from relight.actors.run.state import RunState
from relight.config.limits import LIMITS
from relight.subjects import records as r
from relight.subjects.records import Record

__all__ = ("report",)

_REPORTED: frozenset[type] = frozenset({r.StepAttemptFailed, r.StepFailed, r.Parked, r.RunFailed, r.RunTimedOut})

log = structlog.get_logger("relight")


def report(run: str, records: Sequence[Record], state: RunState) -> None:
    """Log those of a run's new records that somebody may want to look into, and that its history has become long."""
    if is_long(state) and state.records - len(records) < LIMITS.history_records_warn:
        log.warning("history_long", run=run, records=state.records, remedy=REMEDY)
    if _REPORTED.isdisjoint(map(type, records)):
        return
    for record in records:
        if type(record) in _REPORTED:
            _report(log.bind(run=run), record, f"relight show {run}")


def _report(bound: structlog.stdlib.BoundLogger, record: Record, remedy: str) -> None:
    match record:
        case r.StepAttemptFailed():
            bound.info("step_attempt_failed", step=record.step, attempt=record.attempt, error=record.error.type)
        case r.StepFailed():
            bound.warning("step_failed", step=record.step, error=record.error.type, remedy=remedy)
        case r.Parked(reason="stuck", code=""):
            pass  # It was let go on.
        case r.Parked():
            named = {"step": record.step} if record.step else {}
            bound.warning("run_parked", reason=record.reason, **named, remedy=remedy)
        case r.RunFailed():
            bound.warning("run_failed", error=record.error.type, remedy=remedy)
        case _:
            bound.warning("run_timed_out", remedy=remedy)
