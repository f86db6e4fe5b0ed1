"""What time alone will bring a run forward, and when. Pure."""

from __future__ import annotations

from typing import NamedTuple, final

from relight.actors.run.state import RunState
from relight.config.limits import LIMITS
from relight.subjects.messages import NewCode, TimerDue

__all__ = ("STUCK", "Alarm", "Armed", "alarm_of")

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


@final
class Armed:
    """Which alarm of a run the server has.

    Attributes:
        due_ms: Of the one that this owner has armed; None: it has armed none.
    """

    __slots__ = ("_former_ms", "due_ms")

    def __init__(self) -> None:
        self.due_ms: int | None = None
        self._former_ms = 0

    def suppose(self, state: RunState) -> None:
        """The owner before may have armed one when the run stood so, or died before it could."""
        self._former_ms = state.next_due_ms() or 0

    def missing(self, state: RunState, at_ms: int) -> Alarm | None:
        """Return the alarm to arm; None if none is needed, or the one that is armed will do."""
        if state.is_paused and self.due_ms is not None:
            self.due_ms = 0  # It may come, and go, while the run is held: afterwards it is armed again.
        alarm = alarm_of(state, at_ms)
        if alarm is None or (alarm.timer != STUCK and alarm.due_ms == self.due_ms):
            return None
        return alarm

    def note(self, alarm: Alarm, now_ms: int) -> bool:
        """Note that this one is armed, and return whether another one is left that would wake the run in vain."""
        former_ms, self._former_ms, self.due_ms = self._former_ms, alarm.due_ms, alarm.due_ms
        return former_ms > now_ms and former_ms != alarm.due_ms
