"""What a pause means for the state of a run."""

from __future__ import annotations

from relight.actors.run.cause import Mailbox, cause
from relight.actors.run.state import fold
from relight.subjects import records as r


def test_a_paused_run_whose_step_was_interrupted_waits_for_a_person_and_not_for_an_owner() -> None:
    begun = (r.RunStarted("w", "q"), r.StepScheduled("one#1", ""))

    running, paused, unpaused = (
        fold([(1, (*begun, *more))]) for more in ((), (r.Paused(),), (r.Paused(), r.Unpaused("person")))
    )

    assert [one.status for one in (running, paused, unpaused)] == ["running", "paused", "running"]
    assert [one.has_work for one in (running, paused, unpaused)] == [True, False, True]
    assert [cause(one, Mailbox()) for one in (running, paused, unpaused)] == [None, "person", None]


def test_only_the_time_out_of_the_run_is_due_while_it_is_paused() -> None:
    begun = (r.RunStarted("w", "q", timeout_ms=1_000), r.TimerArmed(1, 500))

    paused = fold([(1, (*begun, r.Paused()))])

    assert paused.next_due_ms() == 1_001
