"""Whoever may publish may put any text into a message: none of it becomes more than one token of a subject."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import Raw
from msgspec.structs import replace

from relight.actors.jetstream.announcements import Announcement, decode_announcement, encode_announcement
from relight.errors import ProtocolError
from relight.subjects import messages as m
from relight.subjects import records as r
from relight.subjects.codec import (
    decode_ask,
    decode_ask_every_worker,
    decode_start,
    decode_turn,
    decode_wake,
    decode_worker_says,
    encode,
)
from relight.subjects.grammar import Subjects
from relight.subjects.ids import is_token
from relight.subjects.turn import VERSION, Turn

HOSTILE = " .*>\t\r\n\0\x1f\x7f\x85\u2028$"
ENDED = r.RunCompleted()
TOKEN = "$JS.ACK.RELIGHT_space_RUN_0.wake-default.1.1.1.1.0"

Decode = Callable[[bytes], object]


STARTED = m.Start(VERSION, r.RunStarted("work", "default"))
ASKED = m.AskOwner("worker", "run", Subjects("space").wake("default", "run"), 1, TOKEN, 1, Raw(b"null"))


def started(**fields: str) -> bytes:
    return encode(replace(STARTED, run=replace(STARTED.run, **fields)))


def turn(*records: r.Record, owner: str = "worker") -> bytes:
    return encode(Turn(VERSION, 1, "worker.1", owner, 1, 1, 1, "", records or (r.Paused(),)))


def asked(**fields: str) -> bytes:
    return encode(replace(ASKED, **fields))


FIELDS: dict[str, tuple[Decode, Callable[[str], bytes]]] = {
    "RunStarted.queue": (decode_start, lambda text: started(queue=text)),
    "RunStarted.client": (decode_start, lambda text: started(client=text)),
    "RunStarted.parent": (decode_start, lambda text: started(parent=text)),
    "RunStarted.parent_queue": (decode_start, lambda text: started(parent_queue=text)),
    "Request.client": (decode_wake, lambda text: encode(m.Request("name", "id", client=text))),
    "ChildOver.child": (decode_wake, lambda text: encode(m.ChildOver(text, ENDED))),
    "Turn.owner": (decode_turn, lambda text: turn(owner=text)),
    "RequestReceived.client": (decode_turn, lambda text: turn(r.RequestReceived("name", "id", client=text))),
    "RequestReplied.client": (decode_turn, lambda text: turn(r.RequestReplied("id", client=text))),
    "RequestRejected.client": (decode_turn, lambda text: turn(r.RequestRejected("id", "reason", client=text))),
    "ChildScheduled.child": (decode_turn, lambda text: turn(r.ChildScheduled(text, "work", "default", "wait"))),
    "ChildScheduled.queue": (decode_turn, lambda text: turn(r.ChildScheduled("child", "work", text, "wait"))),
    "ChildAwaited.child": (decode_turn, lambda text: turn(r.ChildAwaited(1, text))),
    "ChildEnded.child": (decode_turn, lambda text: turn(r.ChildEnded(text, ENDED))),
    "AskOwner.run": (decode_ask, lambda text: asked(run=text)),
    "WorkerSays.worker": (decode_worker_says, lambda text: encode(m.WorkerSays(text))),
    "Announcement.worker": (decode_announcement, lambda text: encode_announcement(Announcement(text))),
}
SUBJECTS: dict[str, tuple[Decode, Callable[[str], bytes]]] = {
    "AskOwner.subject": (decode_ask, lambda text: asked(subject=text)),
    "AskOwner.token": (decode_ask, lambda text: asked(token=text)),
    "AskEveryWorker.subject": (
        decode_ask_every_worker,
        lambda text: encode(m.AskEveryWorker("worker", workflow="work", subject=text)),
    ),
}
CONSUMERS: dict[str, tuple[Decode, Callable[[str], bytes]]] = {
    "Announcement.held": (
        decode_announcement,
        lambda text: encode_announcement(Announcement("worker", held={text: [1]})),
    ),
    "Announcement.ended": (
        decode_announcement,
        lambda text: encode_announcement(Announcement("worker", ended={text: [1]})),
    ),
}

hostile = st.text(st.one_of(st.characters(codec="utf-8"), st.sampled_from(HOSTILE)), min_size=1)


@pytest.mark.parametrize(("decode", "message"), FIELDS.values(), ids=FIELDS)
@given(text=hostile)
@settings(max_examples=60, deadline=None)
def test_what_can_be_no_token_makes_a_message_unreadable(
    decode: Decode, message: Callable[[str], bytes], text: str
) -> None:
    if is_token(text):
        decode(message(text))
    else:
        with pytest.raises(ProtocolError):
            decode(message(text))


@pytest.mark.parametrize(("decode", "message"), SUBJECTS.values(), ids=SUBJECTS)
@given(text=hostile)
@settings(max_examples=60, deadline=None)
def test_what_is_no_subject_makes_a_question_unreadable(
    decode: Decode, message: Callable[[str], bytes], text: str
) -> None:
    with pytest.raises(ProtocolError):
        decode(message(text))


@pytest.mark.parametrize(("decode", "message"), CONSUMERS.values(), ids=CONSUMERS)
@pytest.mark.parametrize("text", ["", "a b", "a\r\nPUB evil 0\r\n", "a.*", "a.>", "a\x00b"])
def test_what_names_no_consumer_makes_an_announcement_unreadable(
    decode: Decode, message: Callable[[str], bytes], text: str
) -> None:
    with pytest.raises(ProtocolError):
        decode(message(text))


@pytest.mark.parametrize("name", ["client", "parent_queue"])
def test_what_is_not_there_is_no_hostile_id(name: str) -> None:
    start = json.loads(started()) | {"run": json.loads(started())["run"] | {name: ""}}

    assert decode_start(json.dumps(start).encode())


@given(text=st.text(st.sampled_from("0123456789abcdefABXZ_x+- \n\u0661"), max_size=40))
@settings(max_examples=200, deadline=None)
def test_what_is_no_seed_makes_a_start_unreadable(text: str) -> None:
    if set(text) <= set("0123456789abcdef"):
        decode_start(started(seed=text))
    else:
        with pytest.raises(ProtocolError):
            decode_start(started(seed=text))


@pytest.mark.parametrize("time", [2**53 + 1, -(2**53) - 1, 10**400])
def test_a_time_with_which_nobody_could_calculate_makes_a_message_unreadable(time: int) -> None:
    later = json.loads(turn()) | {"at_ms": time}
    start = json.loads(started()) | {"run": json.loads(started())["run"] | {"deadline_ms": time}}

    for decode, message in ((decode_turn, later), (decode_start, start)):
        with pytest.raises(ProtocolError):
            decode(json.dumps(message).encode())
