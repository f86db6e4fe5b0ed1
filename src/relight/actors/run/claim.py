"""What a take-over records before any code of the run is executed: that code may have ended who had it before."""

from __future__ import annotations

from relight.actors.run.last_turn import claimed_by, is_claim
from relight.actors.run.state import RunState
from relight.subjects import messages as m
from relight.subjects import records as r
from relight.subjects.turn import Turn

__all__ = ("claim", "is_decision")

_DIED = ("owner_gone", "owner_silent")


def claim(state: RunState, last: Turn, cause: str | None, *, delivered: int) -> r.Claimed | None:
    """Return the claim by which a run is taken over; None if its next turn says enough.

    Args:
        state: Its state.
        last: Its last turn.
        cause: Why it is taken over; None: this very worker owned it.
        delivered: How many times what came was delivered.
    """
    if state.is_quarantined:
        return None
    died = cause in _DIED if is_claim(last) else delivered > 1
    if (died or delivered > 1) and not (cause is None and claimed_by(last)):  # Else that is our own claim.
        return r.Claimed(cause or r.RESUMED, state.deaths + died)
    return _of_open_steps(state, cause)


def is_decision(wake: m.Wake | None) -> bool:
    """Whether a message, None if it is sealed, may have the code of a held run go on."""
    return wake is None or isinstance(wake, m.Retry | m.Resolve | m.Cancel | m.ParentOver | m.Unpause | m.NewCode)


def _of_open_steps(state: RunState, cause: str | None) -> r.Claimed | None:
    """Steps are launched only under a claim: another worker may have claimed the run a moment ago.

    Also one that waits for its next attempt: it may be due by now.
    """
    if state.is_held or not state.steps:
        return None
    if cause is None:
        return r.Claimed(r.RESUMED, state.deaths)
    return r.Claimed(cause, 0 if cause == "handed_over" else state.deaths + state.has_work)
