"""What a take-over records before any code of the run is executed: that code may have ended who had it before."""

from __future__ import annotations

from relight.actors.run.inbox import is_let_go, is_stuck_on_other_code
from relight.actors.run.last_turn import is_claim
from relight.actors.run.state import RunState
from relight.subjects import messages as m
from relight.subjects import records as r
from relight.subjects.turn import Turn

__all__ = ("claim", "claim_again", "code_is_due", "is_for_code")

_DIED = ("owner_gone", "owner_silent")


def claim(state: RunState, cause: str | None) -> r.Claimed | None:
    """Return the claim of a run that has open steps; `cause` is None if this very worker owned it.

    A step that waits for its next attempt may be due by now. And another worker may have claimed it a moment ago.
    """
    if state.is_held or not state.steps:
        return None
    if cause is None:
        return r.Claimed(r.RESUMED, state.deaths)
    return r.Claimed(cause, 0 if cause in ("handed_over", "forked") else state.deaths + state.has_work)


def claim_again(state: RunState, last: Turn, cause: str | None, *, delivered: int) -> r.Claimed | None:
    """Return the claim of a run whose code is to be executed for what others may have had; None if nobody has.

    Args:
        state: Its state.
        last: Its last turn.
        cause: Why it is taken over; None: this very worker owned it.
        delivered: How many times what came was delivered.
    """
    if not is_claim(last):
        died = delivered > 1
    elif cause is None:
        return None  # That is our own claim.
    else:
        died = cause in _DIED
    return r.Claimed(cause or r.RESUMED, state.deaths + died) if died or delivered > 1 else None


def code_is_due(state: RunState, at_ms: int, code: str) -> bool:
    """Whether the code has something to do although nobody has sent anything."""
    if is_let_go(state) or is_stuck_on_other_code(state, code):
        return True
    if state.is_held:
        return False
    due_ms = state.next_due_ms()
    return _has_not_begun(state) or (due_ms is not None and due_ms <= at_ms)


def _has_not_begun(state: RunState) -> bool:
    """Whether what the code asks for next is not known yet: it waits for nothing, or is a copy that was but claimed."""
    if not (state.steps or state.timers or state.waits):
        return True
    started = state.started
    return started is not None and state.records - state.deaths <= started.origin_records


def is_for_code(state: RunState, wake: m.Wake | None) -> bool:
    """Whether the code may do something because of a message, None if it is sealed; leases and alarms are doorbells."""
    if state.is_held:
        return wake is None or isinstance(wake, m.Retry | m.Resolve | m.Cancel | m.ParentOver | m.Unpause | m.NewCode)
    return not isinstance(wake, m.Relit | m.TimerDue)
