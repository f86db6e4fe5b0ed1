"""What the last turn of a history says by itself, so that the others need not be read."""

from __future__ import annotations

from typing import get_args

from relight.subjects import records as r
from relight.subjects.turn import Turn

__all__ = (
    "claimed_by",
    "has_open_step",
    "has_request",
    "is_claim",
    "is_quarantine",
    "seems_to_rest",
    "was_left",
)

_REQUESTS = get_args(r.Request)


def is_claim(last: Turn) -> bool:
    """Whether its owner has claimed the run from another, and done nothing since, as far as others can see."""
    cause = claimed_by(last)
    return cause is not None and cause != r.RESUMED


def claimed_by(last: Turn) -> str | None:
    """The cause of the claim that stands last; None if something else does."""
    record = last.records[-1] if last.records else None
    return record.cause if isinstance(record, r.Claimed) else None


def was_left(last: Turn) -> bool:
    """Whether its owner, told to stop, has left the run."""
    return claimed_by(last) == r.LEFT


def is_quarantine(last: Turn | None) -> bool:
    """Whether nothing came since the run was quarantined."""
    record = last.records[-1] if last is not None and last.records else None
    return isinstance(record, r.Parked) and record.reason == "quarantined"


def has_request(last: Turn) -> bool:
    """Whether code was executed for it: where it is withheld, there is none."""
    return any(isinstance(one, _REQUESTS) for one in last.records)


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
