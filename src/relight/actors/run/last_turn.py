"""What the last turn of a history says by itself, so that the others need not be read."""

from __future__ import annotations

from relight.subjects import records as r
from relight.subjects.turn import Turn

__all__ = ("has_open_step", "is_claim", "seems_to_rest", "was_left")


def is_claim(last: Turn) -> bool:
    """Whether the last owner has done nothing yet, as far as others can see."""
    return bool(last.records) and isinstance(last.records[-1], r.Claimed)


def was_left(last: Turn) -> bool:
    """Whether its owner, told to stop, has left the run."""
    record = last.records[-1] if last.records else None
    return isinstance(record, r.Claimed) and record.cause == r.LEFT


def seems_to_rest(tail: Turn) -> bool:
    """Whether the last thing that its code did is to wait for somebody: mostly nothing else is under way then."""
    waits = (r.Suspended, r.SignalAwaited, r.RequestAwaited, r.ChildAwaited, r.AwakeableCreated, r.TimerArmed)
    return bool(tail.records) and isinstance(tail.records[-1], waits)


def has_open_step(tail: Turn) -> bool:
    """Whether the last turn says by itself that its owner works: then the history need not be read to see that."""
    steps = set[str]()
    for record in tail.records:
        if isinstance(record, r.StepScheduled | r.StepStarted):
            steps.add(record.step)
        elif isinstance(record, r.StepCompleted | r.StepFailed | r.StepCancelled):
            steps.discard(record.step)
    return bool(steps)
