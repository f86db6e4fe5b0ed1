"""The codec: what is written is read again, and what a later version adds is tolerated and kept where it is stored."""

from __future__ import annotations

import json
import typing

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import Raw

from relight.subjects import messages as m
from relight.subjects import records as r
from relight.subjects.codec import decode_start, decode_turn, decode_wake, encode
from relight.subjects.turn import GENESIS, VERSION, Turn, hash_of

T = typing.TypeVar("T")

TEXT = st.text(max_size=20)
IDS = st.text("abcÄ-_19", min_size=1, max_size=10)
IDS_OR_NONE = st.just("") | IDS
RAW = st.sampled_from([b"null", b"1", b'"x"', b'{"a":[1,2]}', b"[]", b'"\\u00e9"']).map(Raw)
FAILURES = st.builds(r.Failure, type=TEXT, message=TEXT, bases=st.tuples(TEXT), traceback=TEXT)
NUMBERS = st.integers(0, 2**53)
NAMED = st.dictionaries(TEXT, TEXT, max_size=2)

SEEDS = st.text("0123456789abcdef")
SIGNALS = st.builds(r.SignalReceived, name=TEXT, data=RAW, id=TEXT, headers=NAMED)
STARTS = st.builds(
    r.RunStarted, workflow=TEXT, queue=IDS, arguments=st.tuples(RAW), digest=TEXT, seed=SEEDS, client=IDS_OR_NONE,
    timeout_ms=st.none() | NUMBERS, deadline_ms=st.none() | NUMBERS, not_before_ms=st.none() | NUMBERS,
    parent=st.none() | IDS, parent_queue=IDS_OR_NONE, asked_ms=NUMBERS, signal=st.none() | SIGNALS,
    tags=NAMED, headers=NAMED, unchecked=st.booleans(), version=TEXT, origin=st.none() | TEXT,
    origin_records=NUMBERS, origin_hash=TEXT,
)  # fmt: skip
CHILDREN = st.builds(r.ChildScheduled, child=IDS, workflow=TEXT, queue=IDS, close=TEXT, place=TEXT)
REPLIED = st.builds(r.RequestReplied, id=TEXT, result=RAW, client=IDS_OR_NONE)
REJECTED = st.builds(r.RequestRejected, id=TEXT, reason=TEXT, path=TEXT, client=IDS_OR_NONE)
ENDS: dict[type[r.Record], st.SearchStrategy[r.End]] = {
    r.RunCompleted: st.builds(r.RunCompleted, result=RAW),
    r.RunFailed: st.builds(r.RunFailed, error=FAILURES, not_undone=NAMED),
    r.RunCancelled: st.builds(r.RunCancelled, reason=TEXT, not_undone=NAMED),
    r.RunTimedOut: st.builds(r.RunTimedOut),
    r.RunTerminated: st.builds(r.RunTerminated, reason=TEXT),
}
END = st.one_of(*ENDS.values())


def some(strategy: st.SearchStrategy[T]) -> st.SearchStrategy[tuple[T, ...]]:
    return st.lists(strategy, max_size=2).map(tuple)


RECORDS: dict[type[r.Record], st.SearchStrategy[r.Record]] = {
    r.RunStarted: STARTS,
    r.Continued: st.builds(
        r.Continued, generation=NUMBERS, started_at_ms=NUMBERS, records=NUMBERS, calls=NUMBERS, signal_ids=some(TEXT),
        suspensions=some(TEXT), children=some(CHILDREN), request_ids=some(TEXT), answers=some(REPLIED | REJECTED),
    ),
    r.StepCompleted: st.builds(r.StepCompleted, step=TEXT, result=RAW, attempt=NUMBERS, by=TEXT),
    r.StepFailed: st.builds(r.StepFailed, step=TEXT, error=FAILURES, attempt=NUMBERS, by=TEXT),
    r.TimerFired: st.builds(r.TimerFired, timer=NUMBERS),
    r.SignalReceived: SIGNALS,
    r.AnswerReceived: st.builds(r.AnswerReceived, name=TEXT, data=RAW, headers=NAMED),
    r.AwakeableCompleted: st.builds(r.AwakeableCompleted, awakeable=NUMBERS, data=RAW),
    r.AwakeableFailed: st.builds(r.AwakeableFailed, awakeable=NUMBERS, reason=TEXT),
    r.CancelRequested: st.builds(r.CancelRequested, reason=TEXT),
    r.Claimed: st.builds(r.Claimed, cause=TEXT, deaths=NUMBERS),
    r.StepStarted: st.builds(r.StepStarted, step=TEXT, attempt=NUMBERS),
    r.StepAttemptFailed: st.builds(
        r.StepAttemptFailed, step=TEXT, attempt=NUMBERS, error=FAILURES, retry_at_ms=NUMBERS
    ),
    r.StepHeartbeat: st.builds(r.StepHeartbeat, step=TEXT, details=RAW),
    r.StepRerun: st.builds(r.StepRerun, step=TEXT),
    r.Parked: st.builds(r.Parked, reason=TEXT, message=TEXT, step=TEXT, code=TEXT),
    r.Unparked: st.builds(r.Unparked, by=TEXT),
    r.Paused: st.builds(r.Paused),
    r.Unpaused: st.builds(r.Unpaused, by=TEXT),
    r.StepScheduled: st.builds(r.StepScheduled, step=TEXT, digest=TEXT, place=TEXT, unsafe=st.booleans()),
    r.StepCancelled: st.builds(r.StepCancelled, step=TEXT),
    r.TimerArmed: st.builds(r.TimerArmed, timer=NUMBERS, due_ms=NUMBERS, place=TEXT),
    r.TimerCancelled: st.builds(r.TimerCancelled, timer=NUMBERS),
    r.Suspended: st.builds(r.Suspended, wait=NUMBERS, name=TEXT, data=RAW, place=TEXT, problem=TEXT),
    r.SignalAwaited: st.builds(r.SignalAwaited, wait=NUMBERS, name=TEXT, place=TEXT, problem=TEXT),
    r.RequestReceived: st.builds(r.RequestReceived, name=TEXT, id=TEXT, data=RAW, client=IDS_OR_NONE, headers=NAMED),
    r.RequestAwaited: st.builds(r.RequestAwaited, wait=NUMBERS, name=TEXT, place=TEXT),
    r.RequestReplied: REPLIED,
    r.RequestRejected: REJECTED,
    r.WaitCancelled: st.builds(r.WaitCancelled, wait=NUMBERS),
    r.AwakeableCreated: st.builds(r.AwakeableCreated, wait=NUMBERS, token=TEXT, place=TEXT),
    r.DetailsSet: st.builds(r.DetailsSet, data=RAW),
    r.ChildScheduled: CHILDREN,
    r.ChildAwaited: st.builds(r.ChildAwaited, wait=NUMBERS, child=IDS, place=TEXT),
    r.ChildEnded: st.builds(r.ChildEnded, child=IDS, end=END),
    r.PatchMarked: st.builds(r.PatchMarked, change=TEXT),
    r.CompensationRegistered: st.builds(r.CompensationRegistered, step=TEXT, digest=TEXT, place=TEXT),
    **ENDS,
}  # fmt: skip

WAKES: dict[type[m.Wake], st.SearchStrategy[m.Wake]] = {
    m.Signal: st.builds(m.Signal, name=TEXT, data=RAW, id=TEXT, headers=NAMED),
    m.Request: st.builds(m.Request, name=TEXT, id=TEXT, data=RAW, client=IDS_OR_NONE, headers=NAMED),
    m.Answer: st.builds(m.Answer, name=TEXT, data=RAW, headers=NAMED),
    m.AnswerAwakeable: st.builds(m.AnswerAwakeable, token=TEXT, data=RAW),
    m.FailAwakeable: st.builds(m.FailAwakeable, token=TEXT, reason=TEXT),
    m.TimerDue: st.builds(m.TimerDue, timer=NUMBERS, due_ms=NUMBERS),
    m.Cancel: st.builds(m.Cancel, reason=TEXT),
    m.Terminate: st.builds(m.Terminate, reason=TEXT),
    m.ChildOver: st.builds(m.ChildOver, child=IDS, end=END),
    m.ParentOver: st.builds(m.ParentOver, parent=TEXT, terminates=st.booleans(), reason=TEXT),
    m.Pause: st.builds(m.Pause),
    m.Unpause: st.builds(m.Unpause),
    m.Retry: st.builds(m.Retry),
    m.Resolve: st.builds(m.Resolve, step=TEXT, result=RAW, error=st.none() | TEXT, rerun=st.booleans()),
    m.NewCode: st.builds(m.NewCode, code=TEXT),
    m.Relit: st.builds(m.Relit, owner=TEXT, epoch=NUMBERS),
}

TURNS = st.builds(
    Turn, v=st.just(VERSION), number=NUMBERS, append=TEXT, owner=IDS_OR_NONE, epoch=NUMBERS, lease=NUMBERS,
    at_ms=NUMBERS, previous=TEXT, records=st.lists(st.one_of(*RECORDS.values()), min_size=1, max_size=5).map(tuple),
    cursor=NUMBERS, family=st.booleans(), values=st.booleans(), sealed=TEXT,
)  # fmt: skip


def test_there_are_examples_of_every_kind() -> None:
    assert set(RECORDS) == set(typing.get_args(r.Record))
    assert set(WAKES) == set(typing.get_args(m.Wake))


@given(TURNS)
@settings(max_examples=150, deadline=None)
def test_a_turn_comes_back_as_it_was(turn: Turn) -> None:
    data = encode(turn)

    read = decode_turn(data)

    assert read == turn
    assert encode(read) == data


@pytest.mark.parametrize("kind", RECORDS)
@given(data=st.data())
@settings(max_examples=25, deadline=None)
def test_a_record_of_each_kind_comes_back_as_it_was(kind: type[r.Record], data: st.DataObject) -> None:
    turn = Turn(VERSION, 1, "append", "worker", 1, 1, 0, GENESIS, records=(data.draw(RECORDS[kind]),))

    assert decode_turn(encode(turn)) == turn


@given(st.builds(m.Start, v=st.just(VERSION), run=STARTS, sealed=TEXT))
@settings(max_examples=100, deadline=None)
def test_a_start_comes_back_as_it_was(start: m.Start) -> None:
    assert decode_start(encode(start)) == start


@pytest.mark.parametrize("kind", WAKES)
@given(data=st.data())
@settings(max_examples=25, deadline=None)
def test_a_mailbox_message_comes_back_as_it_was(kind: type[m.Wake], data: st.DataObject) -> None:
    wake = data.draw(WAKES[kind])

    assert decode_wake(encode(wake)) == wake


@given(TURNS, st.dictionaries(st.text("xyz", min_size=3, max_size=6), st.integers(), min_size=1, max_size=3))
@settings(max_examples=100, deadline=None)
def test_fields_of_a_later_version_are_tolerated_and_stay_in_the_stored_bytes(
    turn: Turn, added: dict[str, int]
) -> None:
    later = json.loads(encode(turn)) | added
    later["records"] = [one | added for one in later.get("records", [])]
    stored = json.dumps(later).encode()

    read = decode_turn(stored)

    assert isinstance(read, Turn)
    assert len(read.records) == len(turn.records)
    # The chain is over the stored bytes, so what this version does not know is not lost by it.
    assert hash_of(stored) != hash_of(encode(read))
