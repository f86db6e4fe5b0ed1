"""What will wake a run. Every unfinished run has a cause; a run without one is a defect of ours."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Literal

from relight.actors.run.state import RunState

__all__ = ("Cause", "Mailbox", "cause")

Cause = Literal["ended", "message", "lease", "timer", "child", "answer", "person"]
"""`ended` needs none. `message`: an unread message is under delivery. `lease`: the owner's delivery is pending.
`timer`: the server will send one. `child`: a child will tell its end. `answer`: somebody outside has to answer.
`person`: the run is parked or paused."""


@dataclass(frozen=True, kw_only=True)
class Mailbox:
    """What the server holds for a run.

    Attributes:
        unread: Stream sequences of mailbox messages above the run's cursor.
        pending: Stream sequences of starts and wakes that are not acknowledged.
        scheduled_ms: When the run's scheduled messages are due.
    """

    unread: Collection[int] = field(default_factory=tuple)
    pending: Collection[int] = field(default_factory=tuple)
    scheduled_ms: Collection[int] = field(default_factory=tuple)


def cause(history: RunState, mailbox: Mailbox) -> Cause | None:
    """Return what will bring the run forward next, or None if nothing will."""
    if history.end is not None:
        return "ended"
    if any(sequence in mailbox.pending for sequence in mailbox.unread):
        return "message"
    if mailbox.pending:
        return "lease"
    if history.parked is not None or history.is_paused:
        return "person"
    if history.started is None or history.has_work:
        return None
    due_ms = history.next_due_ms()
    if due_ms is not None:
        return "timer" if due_ms in mailbox.scheduled_ms else None
    if any(wait.kind != "child" for wait in history.waits.values()):
        return "answer"
    return "child" if history.waits else None
