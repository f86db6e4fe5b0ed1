"""`docs/protocol.md` says what the code does: its examples decode, and its tables are the code's."""

from __future__ import annotations

import re
import types
import typing
from collections.abc import Callable
from hashlib import blake2b
from typing import Any

import msgspec
import pytest
from tests.sabotage import ROOT

from relight.actors.jetstream.announcements import Announcement, decode_announcement, encode_announcement
from relight.actors.run import replay
from relight.config.limits import LIMITS
from relight.sdk._values import digest
from relight.subjects import messages, records, turn
from relight.subjects.codec import (
    decode_ask,
    decode_ask_every_worker,
    decode_start,
    decode_stored_wake,
    decode_turn,
    decode_wake,
    decode_worker_says,
    encode,
)
from relight.subjects.grammar import Subjects
from relight.subjects.ids import slot_of

PAGE = (ROOT / "docs/protocol.md").read_text()
RECORDS: tuple[type[msgspec.Struct], ...] = typing.get_args(records.Record)
MESSAGES: tuple[type[msgspec.Struct], ...] = typing.get_args(messages.Wake)
OTHERS: tuple[type[msgspec.Struct], ...] = (
    messages.Start,
    messages.Sealed,
    turn.Turn,
    turn.Tombstone,
    messages.AskOwner,
    messages.AskEveryWorker,
    messages.WorkerSays,
    Announcement,
)

_record = msgspec.json.Decoder(records.Record)
DECODERS: dict[str, Callable[[bytes], object]] = {
    "Start": decode_start,
    "Turn": decode_turn,
    "Tombstone": decode_turn,
    "Record": _record.decode,
    "Message": decode_wake,
    "Sealed": decode_stored_wake,
    "AskOwner": decode_ask,
    "AskEveryWorker": decode_ask_every_worker,
    "WorkerSays": decode_worker_says,
    "Announcement": decode_announcement,
}


def examples() -> list[tuple[str, str]]:
    """Kind and line of each JSON example."""
    blocks = re.findall(r"^```json (\w+)\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    return [(kind, line) for kind, block in blocks for line in block.splitlines()]


def fields_in_words(kind: type[msgspec.Struct]) -> str:
    """The fields of a message as the page writes them."""
    hints = typing.get_type_hints(kind)
    fields = [
        f"`{one.name}: {type_in_words(hints[one.name])}{default_in_words(one)}`" for one in msgspec.structs.fields(kind)
    ]
    return ", ".join(fields) or "none"


def type_in_words(hint: Any) -> str:
    simple = {
        msgspec.Raw: "value",
        str: "string",
        bool: "boolean",
        int: "integer",
        records.Failure: "failure",
        records.RunStarted: "RunStarted",
        records.SignalReceived: "SignalReceived",
        records.ChildScheduled: "ChildScheduled",
    }
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (tuple, list):
        return f"list of {type_in_words(arguments[0])}"
    if origin is dict:
        return f"map of {type_in_words(arguments[1])}"
    if origin in (types.UnionType, typing.Union):
        rest = [one for one in arguments if one is not type(None)]
        return f"{type_in_words(rest[0])}?" if len(rest) == 1 else "record"
    return simple[hint]


def default_in_words(field: msgspec.structs.FieldInfo) -> str:
    if field.required:
        return ""
    default = field.default if field.default is not msgspec.NODEFAULT else field.default_factory()
    return "" if default is None else f" = {msgspec.json.encode(default).decode()}"


@pytest.mark.parametrize(("kind", "line"), examples())
def test_an_example_is_what_the_codec_writes(kind: str, line: str) -> None:
    decoded = DECODERS[kind](line.encode())

    assert type(decoded).__name__ == kind or kind in ("Record", "Message")
    written = encode_announcement(decoded) if isinstance(decoded, Announcement) else encode(decoded)
    assert msgspec.json.decode(written) == msgspec.json.decode(line)


def test_every_record_and_message_has_an_example() -> None:
    shown = {type(DECODERS[kind](line.encode())) for kind, line in examples()}

    assert shown == {*RECORDS, *MESSAGES, *OTHERS}


@pytest.mark.parametrize("kind", [*RECORDS, *MESSAGES, *OTHERS], ids=str)
def test_the_tables_have_the_fields_of_the_code(kind: type[msgspec.Struct]) -> None:
    assert f"\n| `{kind.__name__}` | {fields_in_words(kind)} |" in PAGE


def test_a_failure_has_the_fields_of_the_code() -> None:
    assert fields_in_words(records.Failure) in PAGE


def test_nothing_is_listed_that_does_not_exist() -> None:
    listed = set(re.findall(r"^\| `([A-Z]\w+)` \|", PAGE, re.MULTILINE))
    compared = set(re.findall(r"`([A-Z]\w+)`", PAGE[PAGE.index("| request | compared |") : PAGE.index("Places, due")]))

    assert listed - {kind.__name__ for kind in (*RECORDS, *MESSAGES, *OTHERS)} <= compared
    requests: tuple[type[msgspec.Struct], ...] = typing.get_args(records.Request)
    assert compared == {kind.__name__ for kind in requests}
    assert compared == {kind.__name__ for kind in replay._REQUESTS}  # pyright: ignore[reportPrivateUsage]


def test_the_slots_and_digests_are_those_of_the_code() -> None:
    slots = dict(re.findall(r"^\| `([^`]+)` \| (\d+) \|$", PAGE[: PAGE.index("## 2.")], re.MULTILINE))

    assert slots == {run: str(slot_of(run)) for run in ("a", "order-42", "größe", "run")}
    assert digest([b"process_order", b'{"id":"order-42"}']) in PAGE
    assert digest([b'"c"', b"1"]) in PAGE
    assert digest([]) in PAGE
    seed = b"00112233445566778899aabbccddeeff"
    assert f"order-42~3~{blake2b(b'awakeable 3', key=seed, digest_size=16).hexdigest()}" in PAGE


def test_the_subjects_are_those_of_the_grammar() -> None:
    subjects = Subjects("NS")
    stored = {
        "start": subjects.start("<queue>", "<run>"),
        "wake": subjects.wake("<queue>", "<run>"),
        "log": subjects.log("<run>"),
        "timer": subjects.timer("<run>", "<timer>"),
        "owner": subjects.owner("<worker>"),
        "done": subjects.done("<client>", "<run>"),
    }
    slot = f".{slot_of('<run>')}."
    for subject in stored.values():
        assert f"| `{subject.replace(slot, '.<slot>.').replace('.NS.', '.<ns>.')}` |" in PAGE
    assert f"| `{subjects.announcements().replace('.NS.', '.<ns>.')}` |" in PAGE


@pytest.mark.parametrize(
    "said",
    [
        f"`ack_wait` {LIMITS.ack_wait_s:g} s",
        f"every {LIMITS.renew_s:g} s while it is held",
        f"{LIMITS.payload_bytes_max:,} bytes each",
        f"if that is larger than {LIMITS.notice_bytes_max:,} bytes",
        f"larger than {LIMITS.turn_bytes_max:,} bytes",
        f"1 to {LIMITS.id_characters_max} characters",
        f"{LIMITS.mailbox_messages_max:,} unread messages",
        f"at most {LIMITS.mailbox_batch} or",
        f"within {LIMITS.ask_s * 1000:g} ms",
        f"does not answer within {LIMITS.ask_s * 1000:g} ms",
        f"which of up to {LIMITS.runs_asked_max:,} runs",
        f"a delay of {LIMITS.nak_delay_s:g} s, doubling with each delivery up to {LIMITS.nak_delay_max_s:g} s",
        f"or after {LIMITS.claim_s * 1000:g} ms",
        f"within {LIMITS.mailbox_look_s * 1000:g} ms of the first append",
        f"after {LIMITS.append_retry_s * 1000:g} ms doubling to {LIMITS.append_retry_max_s:g} s",
        f"`Nats-TTL: {LIMITS.tombstone_s}s`",
        f"`Nats-TTL: {LIMITS.tombstone_s + 60}s`",
        f"due {LIMITS.stuck_recheck_s:,} s later",
        f"at most {LIMITS.stuck_wakes_per_s:g} a second",
        f"more than {LIMITS.announce_s * 1000:g} ms",
        f"of which {LIMITS.mailbox_purge:,} messages were consumed",
        f"held for {LIMITS.lease_s_max:,.0f} s is changed",
        f"no due time within {LIMITS.retry_local_s:g} s",
    ],
)
def test_the_bounds_are_those_of_the_limits(said: str) -> None:
    assert said in " ".join(PAGE.split())
