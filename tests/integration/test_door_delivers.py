"""Deliveries through the real door: places, order, and pulls that end without a word."""

from __future__ import annotations

import asyncio
import time
from collections import Counter

import pytest
import uvloop
from structlog.testing import capture_logs
from tests.crash.apps_proxy import Proxy
from tests.integration.door_on_server import Inbox, door, eventually, quick_limits

from relight.actors.door import Delivery
from relight.actors.jetstream.client import Access
from relight.actors.jetstream.door import DoorOptions, JetStreamDoor
from relight.config.server import EmbeddedServer
from relight.subjects.grammar import Subjects
from relight.subjects.ids import slot_of


async def test_a_delivery_tells_its_fence_sequence_and_count(shared_server: EmbeddedServer, namespace: str) -> None:
    subjects, inbox = Subjects(namespace), Inbox()
    wake = subjects.wake("q", "order-1")
    async with await door(shared_server, namespace) as one:
        await one.consume("wake", "q", inbox.receive, places=5)
        sequence = await one.publish(wake, b"", fence=0)

        (first,) = await inbox.wait_for(1)
        one.nak(first)
        second = (await inbox.wait_for(2))[1]
        one.nak(second, delay_s=0.3)
        third = (await inbox.wait_for(3))[2]

        assert (first.subject, first.data, first.fence, first.sequence) == (wake, b"", 0, sequence)
        assert [first.delivered, second.delivered, third.delivered] == [1, 2, 3]


async def test_a_consumer_that_can_not_be_made_now_is_made_soon(server: EmbeddedServer, namespace: str) -> None:
    subjects, inbox = Subjects(namespace), Inbox()
    async with await door(server, namespace) as one:
        await one.publish(subjects.wake("q", "run"), b"1")
        await asyncio.to_thread(server.stop)
        restarting = asyncio.create_task(asyncio.to_thread(server.start))

        await one.consume("wake", "q", inbox.receive, places=5)

        await inbox.wait_for(1)
        await restarting


async def test_what_is_acknowledged_does_not_come_again(server: EmbeddedServer, namespace: str) -> None:
    subjects, inbox = Subjects(namespace), Inbox()
    limits = quick_limits(ack_wait_s=0.5)
    async with await door(server, namespace, limits=limits) as one:
        await one.publish(subjects.wake("q", "acked"), b"1")
        await one.publish(subjects.wake("q", "forgotten"), b"1")
        await one.consume("wake", "q", inbox.receive, places=50)
        first, second = await inbox.wait_for(2)

        one.ack(first)
        await inbox.wait_for(4)

        assert Counter(delivery.subject for delivery in inbox.deliveries[2:]) == {second.subject: 2}


async def test_starts_and_wakes_of_other_queues_do_not_come(shared_server: EmbeddedServer, namespace: str) -> None:
    subjects, starts, wakes = Subjects(namespace), Inbox(), Inbox()
    async with await door(shared_server, namespace) as one:
        await one.consume("start", "q", starts.receive, places=9)
        await one.consume("wake", "q", wakes.receive, places=9)

        for queue in ("other", "q"):
            await one.publish(subjects.start(queue, queue), b"start")
            await one.publish(subjects.wake(queue, queue), b"wake")

        assert [one.data for one in await starts.wait_for(1)] == [b"start"]
        assert [one.data for one in await wakes.wait_for(1)] == [b"wake"]


@pytest.mark.parametrize(("shards", "places"), [(1, 1), (1, 10), (4, 2), (4, 10), (4, 64)])
async def test_never_more_is_delivered_than_there_are_places(
    shared_server: EmbeddedServer, namespace: str, shards: int, places: int
) -> None:
    subjects, inbox = Subjects(namespace), Inbox()
    async with await door(shared_server, namespace, shards=shards) as one, asyncio.timeout(60):
        await _publish_starts(one, subjects, 100)
        consumption = await one.consume("start", "q", inbox.receive, places=places)
        given = places

        while given < 100:
            await inbox.wait_for(given)
            await one.purge(subjects.timers("any"))  # A round trip, in which more could come.
            assert len(inbox.deliveries) == given
            more = min(1 + given // 4, 100 - given)
            given += more
            consumption.add_places(more)

        await inbox.wait_for(100)
        assert len({delivery.subject for delivery in inbox.deliveries}) == 100


async def test_with_fewer_places_than_streams_every_stream_has_its_turn(
    shared_server: EmbeddedServer, namespace: str
) -> None:
    subjects, inbox = Subjects(namespace), Inbox()
    async with await door(shared_server, namespace, shards=4) as one, asyncio.timeout(60):
        consumption = await one.consume("start", "q", inbox.receive, places=1)
        for slot in range(4):
            await one.publish(subjects.start("q", _run_in_slot(slot)), b"{}")

        for count in range(1, 5):
            await inbox.wait_for(count)
            assert len(inbox.deliveries) == count
            one.ack(inbox.deliveries[-1])
            consumption.add_places(1)

        assert {slot_of(one.subject.rsplit(".", 1)[1]) % 4 for one in inbox.deliveries} == {0, 1, 2, 3}


async def test_places_at_other_streams_are_taken_back_for_what_comes_again(
    shared_server: EmbeddedServer, namespace: str
) -> None:
    """Whoever dies may leave more in one stream than others have asked for there."""
    subjects, dying, surviving = Subjects(namespace), Inbox(), Inbox()
    async with await door(shared_server, namespace, shards=4) as one, await door(shared_server, namespace) as other:
        consumption = await one.consume("start", "q", dying.receive, places=100)
        for run in [run for run in map(str, range(200)) if slot_of(run) % 4 == 1][:12]:
            await one.publish(subjects.start("q", run), b"{}")
        left = list(await dying.wait_for(12))
        await consumption.close()
        await other.consume("start", "q", surviving.receive, places=12)

        async with asyncio.timeout(1):  # A pull that finds nothing gives its places back after 3 s.
            for delivery in left:
                one.nak(delivery)
            await surviving.wait_for(12)


async def test_a_stream_that_gave_its_places_back_delivers_what_nobody_had(
    shared_server: EmbeddedServer, namespace: str
) -> None:
    subjects, inbox = Subjects(namespace), Inbox()
    async with await door(shared_server, namespace, shards=4) as one, asyncio.timeout(60):
        await asyncio.gather(*(one.publish(subjects.start("q", str(run)), b"{}") for run in range(60)))
        consumption = await one.consume("start", "q", inbox.receive, places=2)

        for count in range(1, 61):
            one.ack((await inbox.wait_for(count))[count - 1])
            consumption.add_places(1)

        # The server itself now and then counts one twice that it was about to send when the places were given back.
        assert Counter(delivery.delivered for delivery in inbox.deliveries)[1] > 50


async def test_a_restart_of_the_server_while_a_pull_is_open_loses_nothing(
    server: EmbeddedServer, namespace: str
) -> None:
    subjects, inbox = Subjects(namespace), Inbox()
    async with await door(server, namespace) as one, asyncio.timeout(60):
        await one.consume("wake", "q", inbox.receive, places=10)
        await one.publish(subjects.wake("q", "before"), b"1")
        one.ack((await inbox.wait_for(1))[0])

        await asyncio.to_thread(server.kill)
        await asyncio.to_thread(server.start)

        async with await door(server, namespace) as other:
            await other.publish(subjects.wake("q", "after"), b"2")
        await eventually(lambda: any(one.data == b"2" for one in inbox.deliveries))


async def test_a_pull_goes_on_when_its_consumer_was_removed(server: EmbeddedServer, namespace: str) -> None:
    subjects, inbox = Subjects(namespace), Inbox()
    # The server says that it ends the pull. Who heeds only its silence notices after more than ten seconds.
    async with await door(server, namespace) as one, asyncio.timeout(9):
        await one.consume("wake", "q", inbox.receive, places=10)
        await one.publish(subjects.wake("q", "before"), b"1")
        await inbox.wait_for(1)  # A pull that has not reached its consumer yet is ended without a word.

        await one.api.need(f"CONSUMER.DELETE.RELIGHT_{namespace}_RUN_0.wake-q", object)
        await one.publish(subjects.wake("q", "after"), b"2")

        assert [one.data for one in await inbox.wait_for(3)] == [b"1", b"1", b"2"]


async def test_a_pull_whose_end_was_not_heard_goes_on_when_its_heartbeats_are_missed(
    server: EmbeddedServer, namespace: str
) -> None:
    subjects, inbox = Subjects(namespace), Inbox()
    async with Proxy(server.url) as proxy, await through(proxy, namespace, shards=2) as one, asyncio.timeout(20):
        await one.consume("wake", "q", inbox.receive, places=10)
        proxy.connections[0].loses_statuses = True

        for shard in range(2):
            await one.api.need(f"CONSUMER.DELETE.RELIGHT_{namespace}_RUN_{shard}.wake-q", object)
        for run in ("after-1", "after-2", "after-3"):
            await one.publish(subjects.wake("q", run), b"2")

        await inbox.wait_for(3)


def test_a_pull_goes_on_when_this_worker_stood_still_while_it_read(
    shared_server: EmbeddedServer, namespace: str
) -> None:
    """On uvloop a timer that is due then runs before the rest is read."""

    async def stand_still() -> None:
        subjects, inbox = Subjects(namespace), Inbox()

        def receive(delivery: Delivery) -> None:
            inbox.receive(delivery)
            time.sleep(2)  # Of several streams each is looked at twice a second.

        async with await door(shared_server, namespace, shards=2) as one, await door(shared_server, namespace) as other:
            await one.consume("start", "q", receive, places=10)
            await other.publish(subjects.start("q", "first"), b"{}")
            await inbox.wait_for(1)
            await other.publish(subjects.start("q", "second"), b"{}")
            await inbox.wait_for(2)

    with capture_logs() as lines:
        uvloop.run(stand_still())
    assert [line for line in lines if line["event"] == "pull_restarted"] == []


async def test_a_closed_consumption_takes_nothing_from_the_others(
    shared_server: EmbeddedServer, namespace: str
) -> None:
    subjects, closed, others = Subjects(namespace), Inbox(), Inbox()
    async with await door(shared_server, namespace) as one, await door(shared_server, namespace) as other:
        consumption = await one.consume("start", "q", closed.receive, places=100)
        await consumption.close()

        await other.consume("start", "q", others.receive, places=100)
        await _publish_starts(one, subjects, 50)

        await others.wait_for(50)
        assert closed.deliveries == []


async def test_a_slow_trickle_of_places_costs_few_requests(shared_server: EmbeddedServer, namespace: str) -> None:
    subjects, inbox = Subjects(namespace), Inbox()
    stream = f"RELIGHT_{namespace}_RUN_0"
    async with await door(shared_server, namespace) as one:
        consumption = await one.consume("wake", "q", inbox.receive, places=256)
        requests: list[bytes] = []
        async with await door(shared_server, namespace) as other:
            await other.watch(f"$JS.API.CONSUMER.MSG.NEXT.{stream}.wake-q", lambda _, data: requests.append(data))
            for number in range(1000):
                await one.publish(subjects.wake("q", "r"), b"1")
                one.ack((await inbox.wait_for(number + 1))[number])
                consumption.add_places(1)

        assert len(requests) < 1000 / 100


async def _publish_starts(one: JetStreamDoor, subjects: Subjects, count: int) -> None:
    await asyncio.gather(*(one.publish(subjects.start("q", f"r{number}"), b"{}") for number in range(count)))


def _run_in_slot(slot: int) -> str:
    return next(run for run in map(str, range(10_000)) if slot_of(run) == slot)


async def through(proxy: Proxy, namespace: str, *, shards: int) -> JetStreamDoor:
    access = Access(servers=(proxy.url,))
    return await JetStreamDoor.open(DoorOptions(namespace=namespace, access=access, name="test", shards=shards))
