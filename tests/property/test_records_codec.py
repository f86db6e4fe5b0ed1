"""The codec: what is written is read again, and what a later version adds is tolerated and kept where it is stored."""

from __future__ import annotations

import json

from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import Raw

from relight.subjects import records as r
from relight.subjects.codec import decode_turn, encode
from relight.subjects.turn import VERSION, Turn, hash_of

TEXT = st.text(max_size=20)
IDS = st.text("abcÄ-_19", min_size=1, max_size=10)
IDS_OR_NONE = st.just("") | IDS
RAW = st.sampled_from([b"null", b"1", b'"x"', b'{"a":[1,2]}', b"[]", b'"\\u00e9"']).map(Raw)
FAILURES = st.builds(r.Failure, type=TEXT, message=TEXT, bases=st.tuples(TEXT), traceback=TEXT)
NUMBERS = st.integers(0, 2**53)

RECORDS: st.SearchStrategy[r.Record] = st.one_of(
    st.builds(
        r.RunStarted, workflow=TEXT, queue=IDS, arguments=st.tuples(RAW), digest=TEXT, seed=TEXT, client=IDS_OR_NONE,
        timeout_ms=st.none() | NUMBERS, deadline_ms=st.none() | NUMBERS,
        not_before_ms=st.none() | NUMBERS, parent=st.none() | IDS,
        tags=st.dictionaries(TEXT, TEXT, max_size=2), headers=st.dictionaries(TEXT, TEXT, max_size=2),
    ),
    st.builds(r.StepCompleted, step=TEXT, result=RAW, attempt=NUMBERS, by=TEXT),
    st.builds(r.StepFailed, step=TEXT, error=FAILURES, attempt=NUMBERS, by=TEXT),
    st.builds(r.TimerFired, timer=NUMBERS),
    st.builds(r.SignalReceived, name=TEXT, data=RAW, id=TEXT),
    st.builds(r.AnswerReceived, name=TEXT, data=RAW),
    st.builds(r.AwakeableCompleted, awakeable=NUMBERS, data=RAW),
    st.builds(r.AwakeableFailed, awakeable=NUMBERS, reason=TEXT),
    st.builds(r.CancelRequested, reason=TEXT),
    st.builds(r.Claimed, cause=TEXT, deaths=NUMBERS),
    st.builds(r.StepStarted, step=TEXT, attempt=NUMBERS),
    st.builds(r.StepAttemptFailed, step=TEXT, attempt=NUMBERS, error=FAILURES, retry_at_ms=NUMBERS),
    st.builds(r.StepHeartbeat, step=TEXT, details=RAW),
    st.builds(r.StepRerun, step=TEXT),
    st.builds(r.Parked, reason=TEXT, message=TEXT, step=TEXT, code=TEXT),
    st.builds(r.Unparked, by=TEXT),
    st.builds(r.Paused),
    st.builds(r.Unpaused, by=TEXT),
    st.builds(r.RunTerminated, reason=TEXT),
    st.builds(r.RunTimedOut),
    st.builds(r.StepScheduled, step=TEXT, digest=TEXT, place=TEXT, unsafe=st.booleans()),
    st.builds(r.StepCancelled, step=TEXT),
    st.builds(r.TimerArmed, timer=NUMBERS, due_ms=NUMBERS, place=TEXT),
    st.builds(r.TimerCancelled, timer=NUMBERS),
    st.builds(r.Suspended, wait=NUMBERS, name=TEXT, data=RAW, place=TEXT, problem=TEXT),
    st.builds(r.SignalAwaited, wait=NUMBERS, name=TEXT, place=TEXT),
    st.builds(r.RequestReceived, name=TEXT, id=TEXT, data=RAW, client=IDS_OR_NONE),
    st.builds(r.RequestAwaited, wait=NUMBERS, name=TEXT, place=TEXT),
    st.builds(r.RequestReplied, id=TEXT, result=RAW, client=IDS_OR_NONE),
    st.builds(r.RequestRejected, id=TEXT, reason=TEXT, path=TEXT, client=IDS_OR_NONE),
    st.builds(r.WaitCancelled, wait=NUMBERS),
    st.builds(r.AwakeableCreated, wait=NUMBERS, token=TEXT, place=TEXT),
    st.builds(r.DetailsSet, data=RAW),
    st.builds(r.CompensationRegistered, step=TEXT, digest=TEXT, place=TEXT),
    st.builds(r.RunCompleted, result=RAW),
    st.builds(r.RunFailed, error=FAILURES, not_undone=st.dictionaries(TEXT, TEXT, max_size=2)),
    st.builds(r.RunCancelled, reason=TEXT, not_undone=st.dictionaries(TEXT, TEXT, max_size=2)),
)  # fmt: skip

TURNS = st.builds(
    Turn, v=st.just(VERSION), number=NUMBERS, append=TEXT, owner=IDS_OR_NONE, epoch=NUMBERS, lease=NUMBERS,
    at_ms=NUMBERS, previous=TEXT, records=st.lists(RECORDS, min_size=1, max_size=5).map(tuple), cursor=NUMBERS,
)  # fmt: skip


@given(TURNS)
@settings(max_examples=150, deadline=None)
def test_a_turn_comes_back_as_it_was(turn: Turn) -> None:
    data = encode(turn)

    read = decode_turn(data)

    assert isinstance(read, Turn)
    assert encode(read) == data
    assert [type(one) for one in read.records] == [type(one) for one in turn.records]


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
