"""What whoever awaits a run gets of its end: the result, or the error that says how it ended."""

from __future__ import annotations

from typing import TypeVar

from relight.errors import RunCancelled, RunFailed, RunTerminated, RunTimedOut
from relight.sdk._values import ValueType
from relight.subjects import records as r

__all__ = ("outcome_of",)

R = TypeVar("R")


def outcome_of(run: str, end: r.Record, type: ValueType[R]) -> R:
    """Return the result of a run, or raise `RunFailed`, `RunCancelled`, `RunTerminated` or `RunTimedOut`."""
    match end:
        case r.RunCompleted(result=result):
            return type.decode(result, what=f"the result of run {run!r}")
        case r.RunFailed(error=error, not_undone=not_undone):
            raise RunFailed(
                error.message,
                error_type=error.type,
                traceback=error.traceback,
                bases=error.bases,
                not_undone=not_undone,
            )
        case r.RunCancelled(reason=reason, not_undone=not_undone):
            raise RunCancelled(reason or f"run {run!r} was cancelled", not_undone=not_undone)
        case r.RunTerminated(reason=reason):
            raise RunTerminated(reason or f"run {run!r} was terminated")
        case _:
            raise RunTimedOut(f"run {run!r} did not end within its time-out")
