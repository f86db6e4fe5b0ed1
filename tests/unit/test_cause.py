"""What will wake a run: a table over all that a run may wait for."""

from __future__ import annotations

from typing import get_args

import pytest

from relight.actors.run.cause import Cause, Mailbox, cause
from relight.actors.run.state import RunState, fold
from relight.subjects import records as r

BEGUN = r.RunStarted("w", "q")
LATER = r.RunStarted("w", "q", not_before_ms=500)
LIMITED = r.RunStarted("w", "q", timeout_ms=900)
STEP = r.StepScheduled("one#1", "")
RETRIED = r.StepAttemptFailed("one#1", 1, r.Failure("E", "no"), 500)
CHILD = r.ChildScheduled("c", "w", "q", "cancel")
CHILD_AWAITED = r.ChildAwaited(1, "c")
PARKED = r.Parked("stuck", "no")

NOTHING = Mailbox()
UNREAD = Mailbox(unread=[7, 8], pending=[8])
LEASED = Mailbox(pending=[3])
SCHEDULED = Mailbox(scheduled_ms=[500])
LATE_SCHEDULED = Mailbox(scheduled_ms=[900])


def state(*records: r.Record) -> RunState:
    return fold([(1, records)])


CASES: list[tuple[str, RunState, Mailbox, Cause | None]] = [
    ("ended", state(BEGUN, r.RunCompleted()), NOTHING, "ended"),
    ("ended, whatever is on its way", state(BEGUN, r.RunTerminated()), UNREAD, "ended"),
    ("ended while it was parked", state(BEGUN, PARKED, r.RunTimedOut()), NOTHING, "ended"),
    ("a message under delivery", state(BEGUN), UNREAD, "message"),
    ("a message for a parked run", state(BEGUN, PARKED), UNREAD, "message"),
    ("a start under delivery", state(), LEASED, "lease"),
    ("a step under way", state(BEGUN, STEP), LEASED, "lease"),
    (
        "a step under way, and what is unread lost its delivery",
        state(BEGUN, STEP),
        Mailbox(unread=[7], pending=[3]),
        "lease",
    ),
    ("what is unread lost its delivery", state(BEGUN, r.SignalAwaited(1, "go")), Mailbox(unread=[7]), "answer"),
    ("a start whose delivery is lost", state(), NOTHING, None),
    ("a step of which nobody takes care", state(BEGUN, STEP), NOTHING, None),
    ("a step of which nobody takes care, beside a timer", state(BEGUN, STEP, r.TimerArmed(1, 500)), SCHEDULED, None),
    ("a step of which nobody takes care, beside a wait", state(BEGUN, STEP, r.SignalAwaited(1, "go")), NOTHING, None),
    ("parked", state(BEGUN, PARKED), NOTHING, "person"),
    ("parked with an open step", state(BEGUN, STEP, PARKED), NOTHING, "person"),
    ("parked with a timer", state(BEGUN, r.TimerArmed(1, 500), PARKED), NOTHING, "person"),
    ("parked because its history was lost", state(r.Parked("corrupt", "no")), NOTHING, "person"),
    ("paused", state(BEGUN, r.Paused()), NOTHING, "person"),
    ("paused with an open step", state(BEGUN, STEP, r.Paused()), NOTHING, "person"),
    ("paused while it waits for a signal", state(BEGUN, r.SignalAwaited(1, "go"), r.Paused()), NOTHING, "person"),
    ("goes on after a pause", state(BEGUN, STEP, r.Paused(), r.Unpaused("person")), NOTHING, None),
    ("a timer", state(BEGUN, r.TimerArmed(1, 500)), SCHEDULED, "timer"),
    ("the earlier of two timers", state(BEGUN, r.TimerArmed(1, 900), r.TimerArmed(2, 500)), SCHEDULED, "timer"),
    ("only the later of two timers", state(BEGUN, r.TimerArmed(1, 900), r.TimerArmed(2, 500)), LATE_SCHEDULED, None),
    ("a timer that was not armed", state(BEGUN, r.TimerArmed(1, 500)), NOTHING, None),
    (
        "a timer that was not armed, beside a wait",
        state(BEGUN, r.TimerArmed(1, 500), r.SignalAwaited(1, "go")),
        NOTHING,
        None,
    ),
    ("an alarm and nothing that it is for", state(BEGUN), SCHEDULED, None),
    ("a retry", state(BEGUN, STEP, RETRIED), SCHEDULED, "timer"),
    ("a retry that was not armed", state(BEGUN, STEP, RETRIED), NOTHING, None),
    ("delayed", state(LATER), SCHEDULED, "timer"),
    ("delayed, and not armed", state(LATER), NOTHING, None),
    ("its own time-out", state(LIMITED, r.SignalAwaited(1, "go")), Mailbox(scheduled_ms=[901]), "timer"),
    ("a signal", state(BEGUN, r.SignalAwaited(1, "go")), NOTHING, "answer"),
    ("a request", state(BEGUN, r.RequestAwaited(1, "double")), NOTHING, "answer"),
    ("a suspension", state(BEGUN, r.Suspended(1, "approve")), NOTHING, "answer"),
    ("an awakeable", state(BEGUN, r.AwakeableCreated(1, "token")), NOTHING, "answer"),
    ("a child", state(BEGUN, CHILD, CHILD_AWAITED), NOTHING, "child"),
    ("a child and a signal", state(BEGUN, CHILD, CHILD_AWAITED, r.SignalAwaited(2, "go")), NOTHING, "answer"),
    ("a child and a timer", state(BEGUN, CHILD, CHILD_AWAITED, r.TimerArmed(1, 500)), SCHEDULED, "timer"),
    ("a child that nobody awaits", state(BEGUN, CHILD), NOTHING, None),
    ("a child that has ended", state(BEGUN, CHILD, CHILD_AWAITED, r.ChildEnded("c", r.RunCompleted())), NOTHING, None),
    ("nothing at all", state(BEGUN), NOTHING, None),
]


@pytest.mark.parametrize(("history", "mailbox", "expected"), [one[1:] for one in CASES], ids=[one[0] for one in CASES])
def test_the_cause_of_a_run_is_what_will_bring_it_forward_next(
    history: RunState, mailbox: Mailbox, expected: Cause | None
) -> None:
    assert cause(history, mailbox) == expected


def test_the_table_has_every_cause() -> None:
    assert {one[3] for one in CASES} == {*get_args(Cause), None}
