"""Reading through the real door."""

from __future__ import annotations

import asyncio

import pytest
from tests.integration.door_on_server import door
from tests.raw_nats import connected, publish_raw

from relight.actors.door import Delivery
from relight.config.server import EmbeddedServer
from relight.errors import UnavailableError
from relight.subjects.grammar import Subjects


async def test_five_thousand_messages_are_read_in_order_and_from_any_place(
    shared_server: EmbeddedServer, namespace: str
) -> None:
    subjects = Subjects(namespace)
    log, other = subjects.log("order-1"), subjects.log("order-2")
    async with await door(shared_server, namespace) as one:
        sequences: list[int] = []
        for number in range(5000):
            if number % 100 == 0:
                await one.publish(other, b"other")
            sequences.append(await one.publish(log, b"%d" % number, fence=sequences[-1] if sequences else 0))

        everything = await one.read(log, after=0, limit=10_000)
        some = await one.read(log, after=sequences[1233], limit=1500)

        assert [stored.sequence for stored in everything] == sequences
        assert [stored.data for stored in everything] == [b"%d" % number for number in range(5000)]
        assert [stored.fence for stored in everything] == [0, *sequences[:-1]]
        assert some == everything[1234:2734]
        assert {stored.subject for stored in everything} == {log}
        assert await one.count(log) == 5000


async def test_last_and_next_and_read_agree_about_a_message(shared_server: EmbeddedServer, namespace: str) -> None:
    log = Subjects(namespace).log("order-1")
    async with await door(shared_server, namespace) as one:
        before_ms = one.clock.now_ms()
        first = await one.publish(log, b"1", fence=0)
        second = await one.publish(log, b"\x00\xff", fence=first)

        last = await one.last(log)
        after_first = await one.next(log, after=first)
        (read,) = await one.read(log, after=first, limit=10)

        assert last == after_first == read
        assert read.fence == first
        assert read.data == b"\x00\xff"
        assert await one.next(log, after=second) is None
        assert abs(read.stored_at_ms - before_ms) < 5000


async def test_what_is_not_there_is_none_and_an_empty_payload_is_a_message(
    shared_server: EmbeddedServer, namespace: str
) -> None:
    subjects = Subjects(namespace)
    wake = subjects.wake("q", "order-1")
    async with await door(shared_server, namespace) as one:
        assert await one.last(wake) is None
        assert await one.read(wake, after=0, limit=10) == []
        assert await one.count(wake) == 0

        await one.publish(wake, b"")

        (stored,) = await one.read(wake, after=0, limit=10)
        assert stored == await one.last(wake)
        assert (stored.data, stored.fence) == (b"", None)


async def test_single_messages_are_read_from_the_leader(shared_server: EmbeddedServer, namespace: str) -> None:
    log = Subjects(namespace).log("order-1")
    async with await door(shared_server, namespace) as one, connected(shared_server.url) as observer:
        sequence = await one.publish(log, b"1", fence=0)
        reads = await observer.subscribe("$JS.API.*.GET.>")  # pyright: ignore[reportUnknownMemberType]  # nats-py's
        leaders = "$JS.API.STREAM.MSG.GET.>"
        asked_of_leaders = await observer.subscribe(leaders)  # pyright: ignore[reportUnknownMemberType]
        await observer.flush()

        await one.last(log)
        await one.next(log, after=0)
        await one.next(log, after=sequence)
        await one.last_of_each((log, log))
        await observer.flush()

        for _ in range(5):
            message = await asked_of_leaders.next_msg(timeout=5)
            assert message.subject.endswith(f"RELIGHT_{namespace}_RUN_0")
        assert reads.pending_msgs == 0


async def test_headers_that_look_like_the_server_s_deceive_nobody(
    shared_server: EmbeddedServer, namespace: str
) -> None:
    wake = Subjects(namespace).wake("q", "order-1")
    async with await door(shared_server, namespace) as one, connected(shared_server.url) as anybody:
        first = await one.publish(wake, b"1")
        forged = {
            "Nats-Stream": "ANOTHER",
            "Nats-Subject": "another",
            "Nats-Sequence": "7",
            "Nats-Time-Stamp": "1970-01-01T00:00:00Z",
            "Nats-Num-Pending": "0",
            "Nats-Last-Sequence": "6",
            "Nats-Expected-Last-Subject-Sequences": "8",
        }
        reply = await anybody.request(wake, b"2", timeout=10, headers=forged)
        assert b"error" not in reply.data, reply.data
        third = await one.publish(wake, b"3", fence=first + 1)

        read = await one.read(wake, after=0, limit=10)

        assert [(stored.sequence, stored.data, stored.fence) for stored in read] == [
            (first, b"1", None),
            (first + 1, b"2", None),
            (third, b"3", first + 1),
        ]
        assert read[-1] == await one.last(wake)
        assert {stored.subject for stored in read} == {wake}
        assert all(abs(stored.stored_at_ms - one.clock.now_ms()) < 60_000 for stored in read)


@pytest.mark.parametrize("shards", [1, 3])
async def test_subjects_are_listed_over_all_streams_up_to_the_limit(
    shared_server: EmbeddedServer, namespace: str, shards: int
) -> None:
    subjects = Subjects(namespace)
    expected = {subjects.log(f"order-{number}") for number in range(20)}
    async with await door(shared_server, namespace, shards=shards) as one:
        await asyncio.gather(*(one.publish(subject, b"1", fence=0) for subject in expected))

        everything = await one.subjects(f"relight.{namespace}.log.*.*", limit=100)

        assert set(everything) == expected
        assert len(everything) == 20
        assert len(await one.subjects(f"relight.{namespace}.log.*.*", limit=7)) == 7


async def test_readers_are_told_when_the_connection_is_lost(server: EmbeddedServer, namespace: str) -> None:
    log = Subjects(namespace).log("order-1")
    async with await door(server, namespace) as one:
        await one.publish(log, b"1", fence=0)
        await asyncio.to_thread(server.kill)

        for reading in (one.read(log, after=0, limit=1), one.last(log), one.count(log)):
            with pytest.raises(UnavailableError):
                await reading


@pytest.mark.parametrize(
    "headers",
    [
        b"NATS/1.0\r\nX: Nats-Expected-Last-Subject-Sequence:z\r\n\r\n",
        b"NATS/1.0\r\nX: Nats-Expected-Last-Subject-Sequence:0\r\n\r\n",
        b"NATS/1.0\r\nNats-Expected-Last-Subject-Sequence:0\r\nNats-Expected-Last-Subject-Sequence-Subject:empty\r\n\r\n",
        b"NATS/1.0\r\nA: b\nC: d\r\n\r\n",
        b"NATS/1.0 \xff\r\n\r\n",
        b"NATS",
        b"NATS/1.0\r\nNats-Sequence: 7\r\nNats-Last-Sequence: 0\r\n\r\n",
    ],
)
async def test_headers_that_somebody_has_made_up_are_no_fence_and_hold_nothing_up(
    shared_server: EmbeddedServer, namespace: str, headers: bytes
) -> None:
    wake = Subjects(namespace).wake("q", "order-1")
    deliveries: list[Delivery] = []
    async with await door(shared_server, namespace) as one:
        first = await one.publish(wake, b"1")
        await publish_raw(shared_server.url, wake, headers)
        third = await one.publish(wake, b"3")

        read = await one.read(wake, after=0, limit=10)
        assert [(stored.sequence, stored.fence) for stored in read] == [(first + at, None) for at in range(3)]
        assert read[1] == await one.next(wake, after=first)
        assert read[2] == await one.last(wake)
        await one.consume("wake", "q", deliveries.append, places=5)
        async with asyncio.timeout(20):
            while len(deliveries) < 3:
                await asyncio.sleep(0.01)
        assert [(delivery.sequence, delivery.fence) for delivery in deliveries] == [
            (stored.sequence, None) for stored in read
        ]
        assert deliveries[-1].sequence == third
