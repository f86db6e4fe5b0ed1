"""Properties of the pure core: folding is total over what the core itself makes, and repeats change nothing."""

from __future__ import annotations

from copy import deepcopy

from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import Raw

from relight.actors.run.inbox import due, receive
from relight.actors.run.state import RunState
from relight.subjects import messages as m
from relight.subjects import records as r

NAMES = st.sampled_from(["a", "b"])
STEPS = st.sampled_from(["one#1", "two#1"])
DATA = st.sampled_from([Raw(b"null"), Raw(b"1"), Raw(b'"x"')])
IDS = st.sampled_from(["", "i-1", "i-2"])

WAKES: st.SearchStrategy[m.Wake] = st.one_of(
    st.builds(m.Signal, name=NAMES, data=DATA, id=IDS),
    st.builds(m.Answer, name=NAMES, data=DATA),
    st.builds(m.AnswerAwakeable, token=NAMES, data=DATA),
    st.builds(m.FailAwakeable, token=NAMES, reason=st.just("no")),
    st.builds(m.Request, name=NAMES, id=NAMES),
    st.builds(m.Cancel, reason=st.just("enough")),
    st.builds(m.Terminate, reason=st.just("now")),
    st.builds(m.Pause),
    st.builds(m.Unpause),
    st.builds(m.Retry),
    st.builds(m.Resolve, step=STEPS, result=st.none() | DATA, error=st.none() | st.just("bad"), rerun=st.booleans()),
    st.builds(m.NewCode, code=st.sampled_from(["old", "new"])),
    st.builds(m.TimerDue, timer=st.just(0), due_ms=st.integers(0, 10_000)),
    st.builds(m.Relit, owner=NAMES, epoch=st.integers(1, 3)),
)

REQUESTS: st.SearchStrategy[r.Record] = st.one_of(
    st.builds(r.StepScheduled, step=STEPS, digest=st.just(""), unsafe=st.booleans()),
    st.builds(r.TimerArmed, timer=st.integers(1, 3), due_ms=st.integers(0, 10_000)),
    st.builds(r.Suspended, wait=st.integers(1, 3), name=NAMES),
    st.builds(r.SignalAwaited, wait=st.integers(4, 6), name=NAMES),
    st.builds(r.RequestAwaited, wait=st.integers(10, 12), name=NAMES),
    st.builds(r.RequestReplied, id=NAMES),
    st.builds(r.RequestRejected, id=NAMES, reason=st.just("no")),
    st.builds(r.AwakeableCreated, wait=st.integers(7, 9), token=NAMES),
    st.builds(r.WaitCancelled, wait=st.integers(1, 9)),
    st.builds(r.TimerCancelled, timer=st.integers(1, 3)),
    st.builds(r.StepCancelled, step=STEPS),
    st.builds(
        r.Parked, reason=st.sampled_from(["stuck", "unknown_outcome", "retries_exhausted", "quarantined"]),
        message=st.just(""), step=STEPS, code=st.just("old"),
    ),
    st.builds(r.Claimed, cause=st.just("owner_gone"), deaths=st.integers(0, 3)),
    st.builds(r.RunCompleted),
)  # fmt: skip

HAPPENINGS = st.lists(st.one_of(WAKES, REQUESTS), max_size=40)


def played(happenings: list[m.Wake | r.Record]) -> RunState:
    state = RunState()
    state.apply(r.RunStarted("w", "q"), 0)
    for at_ms, one in enumerate(happenings, 1):
        if state.end is not None:
            break
        for record in receive(state, one, code="new") if isinstance(one, m.Wake) else (one,):
            state.apply(record, at_ms)
        for fired in due(state, at_ms):
            state.apply(fired, at_ms)
    return state


@given(HAPPENINGS)
@settings(max_examples=150, deadline=None)
def test_whatever_comes_in_whatever_order_the_state_can_be_folded(happenings: list[m.Wake | r.Record]) -> None:
    state = played(happenings)

    assert state.status in {
        "queued", "running", "waiting", "paused", "parked",
        "completed", "failed", "cancelled", "terminated", "timed_out",
    }  # fmt: skip


@given(HAPPENINGS, WAKES)
@settings(max_examples=150, deadline=None)
def test_a_repeated_message_changes_nothing_unless_more_of_its_kind_count(
    happenings: list[m.Wake | r.Record], wake: m.Wake
) -> None:
    state = played(happenings)
    for record in receive(state, wake, code="new"):
        state.apply(record, 1_000)

    again = receive(state, wake, code="new")

    if not _counts_again(state, wake):
        assert again == ()


def _counts_again(state: RunState, wake: m.Wake) -> bool:
    """A signal without an id; an answer if another wait of its name is open (the fence keeps repetitions out)."""
    if isinstance(wake, m.Answer):
        return state.open_suspension(wake.name) is not None
    if isinstance(wake, m.AnswerAwakeable | m.FailAwakeable):
        return state.awakeable(wake.token) is not None
    return isinstance(wake, m.Signal) and not wake.id


@given(HAPPENINGS, WAKES)
@settings(max_examples=120, deadline=None)
def test_receiving_is_pure(happenings: list[m.Wake | r.Record], wake: m.Wake) -> None:
    state = played(happenings)
    before = deepcopy(state)

    first, second = receive(state, wake, code="new"), receive(state, wake, code="new")

    assert first == second
    assert state == before


@given(HAPPENINGS, WAKES)
@settings(max_examples=120, deadline=None)
def test_a_run_that_has_ended_takes_nothing(happenings: list[m.Wake | r.Record], wake: m.Wake) -> None:
    state = played([*happenings, r.RunCompleted()])

    assert receive(state, wake, code="new") == ()
    assert state.next_due_ms() is None or state.end is not None
