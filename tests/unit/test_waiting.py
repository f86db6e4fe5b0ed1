"""`describe()` says why a run waits: what for, since when, and who can bring it forward. One test for each sentence."""

from __future__ import annotations

import pytest
from msgspec import Raw

from relight.actors.letters import Sight
from relight.actors.run.state import RunState
from relight.sdk._description import describe
from relight.sdk._durations import moment
from relight.sdk._waiting import waits_for
from relight.subjects import records as r
from relight.subjects.turn import Turn

STARTED_MS = 1_767_225_600_000  # 2026-01-01 00:00:00 UTC
ERROR = r.Failure("shop.CardDeclined", "no cover")


def seen(
    *records: r.Record,
    owner: str = "host-7",
    unread: int = 0,
    has_unread_cancel: bool = False,
    started: r.RunStarted | None = None,
) -> Sight:
    """How a run stands whose records came one second after the other."""
    state = RunState()
    history = (started or r.RunStarted("order", "shop"), *records)
    for number, record in enumerate(history):
        state.apply(record, STARTED_MS + 1000 * number)
    turn = Turn(
        v=1, number=1, append="a.1", owner=owner, epoch=1, lease=0, at_ms=state.at_ms, previous="", records=history
    )
    return Sight(run="run", state=state, tail=turn, unread=unread, has_unread_cancel=has_unread_cancel, bytes=1)


def said(sight: Sight, **children: str) -> str:
    """The only thing that it waits for."""
    (sentence,) = waits_for(sight, children)
    return sentence


def test_a_run_that_has_ended_waits_for_nothing() -> None:
    assert waits_for(seen(r.SignalAwaited(1, "note"), r.RunTerminated()), {}) == ()


def test_code_that_waits_for_nothing_that_is_recorded() -> None:
    what = "its code waits for what only that code could set, like an event of its own or a future of a thread"
    assert said(seen()) == f"nothing that is recorded: {what}; `relight cancel run` stops it"

    limited = said(seen(started=r.RunStarted("order", "shop", timeout_ms=60_000)))
    assert limited.endswith("`relight cancel run` stops it; its time-out ends it at 2026-01-01 00:01:00 UTC")


def test_a_history_that_was_opened_a_moment_ago_waits_for_nothing_in_particular() -> None:
    continued = r.Continued(generation=2, started_at_ms=STARTED_MS, records=3)
    opening = (continued, r.RunStarted("order", "shop"))
    state = RunState()
    for record in opening:
        state.apply(record, STARTED_MS)
    turn = Turn(
        v=1, number=9, append="a.1", owner="w", epoch=1, lease=0, at_ms=STARTED_MS, previous="", records=opening
    )

    assert waits_for(Sight(run="run", state=state, tail=turn, unread=0, bytes=1), {}) == ()


def test_a_start_that_nobody_has_taken() -> None:
    state = RunState()
    state.apply(r.RunStarted("order", "shop"), STARTED_MS)

    sentence = said(Sight(run="run", state=state, tail=None, unread=0, has_unread_cancel=False, bytes=0))

    assert sentence == "a worker of queue 'shop' since 2026-01-01 00:00:00 UTC; it must have workflow 'order'"


def test_a_delayed_start() -> None:
    sentence = said(seen(started=r.RunStarted("order", "shop", not_before_ms=STARTED_MS + 60_000)))

    assert sentence == "its start at 2026-01-01 00:01:00 UTC; it begins by itself"


def test_a_signal() -> None:
    sentence = said(seen(r.SignalAwaited(1, "note")))

    assert sentence == "signal 'note' since 2026-01-01 00:00:01 UTC; anybody may send it by run.signal"


def test_a_suspension_and_why_the_last_answer_was_refused() -> None:
    first = said(seen(r.Suspended(1, "review")))
    again = said(seen(r.Suspended(1, "review", problem="not a number")))

    since = "the answer to suspension 'review' since 2026-01-01 00:00:01 UTC"
    assert first == f"{since}; whoever decides answers by run.resume"
    assert again == f"{since}; the last answer was refused: not a number; whoever decides answers by run.resume"


def test_an_awakeable_whose_secret_is_not_said() -> None:
    sentence = said(seen(r.AwakeableCreated(3, "run~3~secret")))

    since = "since 2026-01-01 00:00:01 UTC"
    assert sentence == f"the completion of awakeable 'run~3' {since}; whoever has its token completes it"


def test_a_request_that_nobody_has_made() -> None:
    sentence = said(seen(r.RequestAwaited(1, "add")))

    assert sentence == "request 'add' since 2026-01-01 00:00:01 UTC; anybody may ask by run.request"


def test_a_request_that_is_not_answered_yet() -> None:
    kept = said(seen(r.RequestReceived("add", "r-1", Raw(b"1"))))
    taken = said(seen(r.RequestReceived("add", "r-1", Raw(b"1")), r.RequestAwaited(1, "add")))

    asked = "the answer to request 'add' (r-1), open since 2026-01-01 00:00:01 UTC"
    assert kept == f"{asked}; its workflow has not come to it"
    assert taken == f"{asked}; its workflow has it"


def test_a_request_that_was_answered_is_not_waited_for() -> None:
    records = (r.RequestReceived("add", "r-1"), r.RequestAwaited(1, "add"), r.RequestReplied("r-1"))

    assert said(seen(*records)).startswith("nothing that is recorded")


def test_a_child_and_how_it_stands() -> None:
    records = (r.ChildScheduled("c", "pack", "shop", "cancel"), r.ChildAwaited(1, "c"))

    alone, waiting, parked = (
        said(seen(*records)),
        said(seen(*records), c="waiting"),
        said(seen(*records), c="parked: stuck"),
    )

    since = "since 2026-01-01 00:00:02 UTC"
    assert alone == f"the end of child 'c' {since}; the child wakes it"
    assert waiting == f"the end of child 'c' (waiting) {since}; the child wakes it"
    assert parked == f"the end of child 'c' (parked: stuck) {since}; a person or a fix must help the child"


def test_a_step_under_way() -> None:
    first = said(seen(r.StepScheduled("charge#1", "")))
    copied = said(seen(r.StepScheduled("charge#1", ""), owner=""))

    since = "step charge#1, attempt 1, since 2026-01-01 00:00:01 UTC"
    unsafe = said(seen(r.StepScheduled("charge#1", "", unsafe=True)))

    assert first == f"{since}; worker host-7 runs it, or the next one if it has died"
    assert unsafe == f"{since}; worker host-7 runs it; if it has died, a person says what became of it"
    assert copied == f"{since}; a worker of its queue takes it"


def test_a_retry_with_its_last_error_and_its_next_try() -> None:
    failed = r.StepAttemptFailed("charge#1", 2, ERROR, STARTED_MS + 90_000)

    sentence = said(seen(r.StepScheduled("charge#1", ""), failed))

    assert sentence == (
        "attempt 3 of step charge#1 at 2026-01-01 00:01:30 UTC; attempt 2 failed: shop.CardDeclined: no cover; "
        "the step waits since 2026-01-01 00:00:01 UTC and is tried again by itself"
    )


def test_a_timer() -> None:
    sentence = said(seen(r.TimerArmed(1, STARTED_MS + 3_600_000)))

    assert sentence == ("timer 1, due at 2026-01-01 01:00:00 UTC, since 2026-01-01 00:00:01 UTC; it goes on by itself")


def test_a_timer_that_was_cancelled_or_has_fired_is_not_waited_for() -> None:
    due_ms = STARTED_MS + 5000

    records = (r.TimerArmed(1, due_ms), r.TimerArmed(2, due_ms), r.TimerCancelled(1), r.TimerFired(2))

    assert said(seen(*records)).startswith("nothing that is recorded")


@pytest.mark.parametrize(
    ("reason", "who"),
    [
        ("stuck", "a worker with mended code goes on, or run.retry"),
        ("corrupt", "a person ends it by run.terminate"),
        ("unknown_outcome", "a person says what became of charge#1, by run.resolve"),
        (
            "retries_exhausted",
            "a person lets charge#1 be tried again by run.retry, or says its outcome by run.resolve",
        ),
        ("quarantined", "a person lets it go on by run.retry, after a fix"),
    ],
)
def test_a_parked_run_and_who_can_help_it(reason: str, who: str) -> None:
    sentence = said(seen(r.StepScheduled("charge#1", ""), r.Parked(reason, "why", "charge#1", "code")))

    assert sentence == f"a person or a fix ({reason}) since 2026-01-01 00:00:02 UTC: why; {who}"


@pytest.mark.parametrize(
    "later",
    [
        r.SignalReceived("note", r.NULL),
        r.AnswerReceived("ask", r.NULL),
        r.CancelRequested(""),
        r.StepCompleted("mail#1", r.NULL),
        r.Paused(),
    ],
)
def test_what_comes_later_does_not_change_since_when_a_run_is_parked(later: r.Record) -> None:
    open_steps = (r.StepScheduled("charge#1", ""), r.StepScheduled("mail#1", ""))
    sight = seen(*open_steps, r.Parked("quarantined", "why"), later)

    assert "(quarantined) since 2026-01-01 00:00:03 UTC" in waits_for(sight, {})[0]
    assert describe(sight).since == moment(STARTED_MS + 3_000)


@pytest.mark.parametrize("reason", ["stuck", "quarantined"])
def test_a_parked_run_that_was_cancelled_says_so(reason: str) -> None:
    sentence = said(seen(r.Parked(reason, "why", "", "code"), r.CancelRequested("")))

    assert sentence.endswith(
        "; it was cancelled, and waits for the code to clean up; `relight terminate run` ends it without"
    )


def test_since_when_it_goes_on_counts_anew() -> None:
    sight = seen(r.Parked("quarantined", "why"), r.SignalReceived("note", r.NULL), r.Unparked("retry"))

    assert describe(sight).since == moment(STARTED_MS + 3_000)


def test_a_pause_comes_first() -> None:
    held, signal = waits_for(seen(r.SignalAwaited(1, "note"), r.Paused()), {})

    assert (
        held == "a person: paused since 2026-01-01 00:00:02 UTC; `relight unpause run` or `run.unpause()` lets it go on"
    )
    assert signal.startswith("signal 'note'")


def test_unread_messages() -> None:
    assert said(seen(unread=1)) == "1 message in its mailbox is unread; a worker of its queue reads it"
    assert said(seen(unread=2)) == "2 messages in its mailbox are unread; a worker of its queue reads them"


def test_unread_messages_of_a_run_that_stays_with_its_version() -> None:
    sentence = said(seen(unread=2, started=r.RunStarted("order", "shop", version="1")))

    who = "a worker of queue 'shop' with version '1', or one that adopts it, reads them"
    assert sentence == f"2 messages in its mailbox are unread; {who}"


def test_an_unread_cancel_needs_the_code_and_a_terminate_does_not() -> None:
    begun = said(seen(unread=2, has_unread_cancel=True, started=r.RunStarted("order", "shop", version="1")))
    state = RunState()
    state.apply(r.RunStarted("order", "shop"), STARTED_MS)
    queued = waits_for(Sight(run="run", state=state, tail=None, unread=1, has_unread_cancel=True, bytes=0), {})

    why = "a cancel is among them, and waits for the code to clean up; `relight terminate run` ends it without"
    assert begun.endswith(f"reads them; {why}")
    assert queued[1] == (
        "1 message in its mailbox is unread; a worker of its queue reads it; "
        "it is a cancel, and waits for the code to clean up; `relight terminate run` ends it without"
    )


def test_a_cancel_of_a_run_that_is_stuck_needs_its_code() -> None:
    sentence = said(seen(r.Parked("stuck", "why", code="code"), r.CancelRequested("enough")))

    assert sentence.endswith(
        "a worker with mended code goes on, or run.retry; "
        "it was cancelled, and waits for the code to clean up; `relight terminate run` ends it without"
    )


def test_each_of_several() -> None:
    records = (r.SignalAwaited(1, "note"), r.TimerArmed(1, STARTED_MS + 5000), r.StepScheduled("charge#1", ""))

    assert [one.split(" ")[0] for one in waits_for(seen(*records), {})] == ["signal", "step", "timer"]
