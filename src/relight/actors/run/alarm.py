"""What time alone will bring a run forward, and when. Pure."""

from __future__ import annotations

from typing import NamedTuple

from relight.actors.run.state import RunState
from relight.config.limits import LIMITS
from relight.subjects.messages import NewCode, TimerDue

__all__ = ("STUCK", "Alarm", "alarm_of")

STUCK = "stuck"
"""In place of a due time: by this name the alarms of stuck runs are found."""


class Alarm(NamedTuple):
    """What the server is to put into a run's mailbox at `due_ms`. `timer` names it among the run's timers."""

    due_ms: int
    timer: str
    message: NewCode | TimerDue


def alarm_of(state: RunState, at_ms: int) -> Alarm | None:
    """Return the alarm that a run needs when its owner lets it go at `at_ms`; None if it waits for others only."""
    if state.parked is not None and state.parked.reason == "stuck":
        recheck_ms, deadline_ms = at_ms + LIMITS.stuck_recheck_s * 1000, state.run_deadline_ms
        if deadline_ms is not None and deadline_ms < recheck_ms:
            return Alarm(deadline_ms, STUCK, TimerDue(timer=0, due_ms=deadline_ms))
        return Alarm(recheck_ms, STUCK, NewCode(code=state.parked.code))
    due_ms = state.next_due_ms()
    return None if due_ms is None else Alarm(due_ms, str(due_ms), TimerDue(timer=0, due_ms=due_ms))
