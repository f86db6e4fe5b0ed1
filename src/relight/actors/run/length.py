"""How long a history may become: each replay reads it whole, so one that grows for ever must be continued as new."""

from __future__ import annotations

from relight.actors.run.state import RunState
from relight.config.limits import LIMITS

__all__ = ("REMEDY", "is_long", "is_too_long")

REMEDY = "let the workflow call ctx.continue_as_new(…) now and then"


def is_long(state: RunState) -> bool:
    """Whether people are to be warned."""
    return state.records >= LIMITS.history_records_warn


def is_too_long(state: RunState) -> bool:
    """Whether the run is to be parked. One that was let go on, by a person or by other code, may add a few records."""
    if state.records < LIMITS.history_records_max or state.end is not None or state.parked is not None:
        return False
    return state.records >= state.records_unparked + LIMITS.history_records_more
