"""Publishing through the real door: fences, limits, lost connections."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import pytest
from tests.crash.apps_proxy import Proxy
from tests.integration.door_on_server import Inbox, door, eventually, quick_limits

from relight.actors.jetstream.client import Access
from relight.actors.jetstream.connection import Connection
from relight.actors.jetstream.door import JetStreamDoor
from relight.actors.jetstream.mux import Mux
from relight.config.server import EmbeddedServer
from relight.errors import FencedError, PayloadTooLargeError, UnavailableError
from relight.subjects.grammar import Subjects


async def test_a_fenced_publish_returns_its_sequence_and_a_stale_fence_is_refused(
    shared_server: EmbeddedServer, namespace: str
) -> None:
    log = Subjects(namespace).log("order-1")
    async with await door(shared_server, namespace) as one:
        first = await one.publish(log, b"1", fence=0)
        second = await one.publish(log, b"2", fence=first)

        with pytest.raises(FencedError):
            await one.publish(log, b"3", fence=first)

        assert (first, second) == (1, 2)
        assert [stored.data for stored in await one.read(log, after=0, limit=10)] == [b"1", b"2"]


async def test_of_two_writers_that_race_one_wins_each_turn(shared_server: EmbeddedServer, namespace: str) -> None:
    log = Subjects(namespace).log("order-1")

    async with await door(shared_server, namespace) as one, await door(shared_server, namespace) as other:
        sequence = 0
        for _ in range(50):
            outcomes = await asyncio.gather(
                one.publish(log, b"one", fence=sequence),
                other.publish(log, b"other", fence=sequence),
                return_exceptions=True,
            )
            winners = [outcome for outcome in outcomes if isinstance(outcome, int)]
            assert len(winners) == 1
            assert sum(isinstance(outcome, FencedError) for outcome in outcomes) == 1
            sequence = winners[0]

        assert await one.count(log) == 50


async def test_a_start_is_fenced_in_every_queue(shared_server: EmbeddedServer, namespace: str) -> None:
    subjects = Subjects(namespace)
    any_queue = subjects.start_any_queue("order-1")
    async with await door(shared_server, namespace) as one:
        await one.publish(subjects.start("q", "order-1"), b"{}", fence=0, fence_subject=any_queue)

        with pytest.raises(FencedError):
            await one.publish(subjects.start("other", "order-1"), b"{}", fence=0, fence_subject=any_queue)


async def test_the_largest_payload_passes_and_one_byte_more_is_refused(
    shared_server: EmbeddedServer, namespace: str
) -> None:
    wake = Subjects(namespace).wake("q", "order-1")
    async with await door(shared_server, namespace) as one:
        with pytest.raises(PayloadTooLargeError) as refused:
            await one.publish(wake, bytes(2 * 1024 * 1024), fence=0)
        limit = refused.value.limit_bytes

        await one.publish(wake, bytes(limit), fence=0)
        with pytest.raises(PayloadTooLargeError, match=str(limit)):
            await one.publish(wake, bytes(limit + 1), fence=0)

        stored = await one.last(wake)
        assert stored is not None
        assert stored.data == bytes(limit)


async def test_a_subject_that_no_stream_stores_is_unavailable(shared_server: EmbeddedServer, namespace: str) -> None:
    async with await door(shared_server, namespace) as one:
        with pytest.raises(UnavailableError, match="no stream takes"):
            await one.publish(f"elsewhere.{namespace}", b"1")


async def test_publishes_that_wait_fail_when_the_server_dies_and_work_again_when_it_is_back(
    server: EmbeddedServer, namespace: str
) -> None:
    subjects = Subjects(namespace)
    async with await door(server, namespace) as one:
        before = await one.publish(subjects.log("order-1"), b"1", fence=0)
        waiting = [asyncio.ensure_future(one.publish(subjects.wake("q", "r"), bytes(9000))) for _ in range(500)]
        await asyncio.sleep(0)

        await asyncio.to_thread(server.kill)
        async with asyncio.timeout(2):
            outcomes = await asyncio.gather(*waiting, return_exceptions=True)
        assert all(isinstance(outcome, int | UnavailableError) for outcome in outcomes)
        with pytest.raises(UnavailableError, match="no connection"):
            await one.publish(subjects.log("order-1"), b"2", fence=before)

        await asyncio.to_thread(server.start)
        await _until_published(one, subjects.log("order-1"), before)
        # Nothing was kept to be sent later: whoever published knows that it failed, and has perhaps done so again.
        acknowledged = sum(isinstance(outcome, int) for outcome in outcomes)
        assert acknowledged <= await one.count(subjects.wake("q", "r")) <= 500


async def test_a_publish_without_answer_is_unavailable_after_its_time_out(
    server: EmbeddedServer, namespace: str
) -> None:
    limits = quick_limits(publish_timeout_s=0.4)
    async with await door(server, namespace, limits=limits) as one, _silent(one, namespace) as silent:
        loop = asyncio.get_running_loop()
        began_s = loop.time()

        with pytest.raises(UnavailableError, match=r"no answer within 0\.4 s"):
            await one.publish(silent, b"1")

        assert 0.4 <= loop.time() - began_s < 2


async def test_more_publishes_than_may_wait_get_their_place_in_order(
    shared_server: EmbeddedServer, namespace: str
) -> None:
    wake = Subjects(namespace).wake("q", "order-1")
    limits = quick_limits(publishes_waiting_max=4)
    async with await door(shared_server, namespace, limits=limits) as one:
        sequences = await asyncio.gather(*(one.publish(wake, b"%d" % number) for number in range(100)))

        assert sequences == sorted(sequences)
        assert len(await one.read(wake, after=0, limit=1000)) == 100


async def test_no_more_publishes_are_under_way_than_may_wait(shared_server: EmbeddedServer, namespace: str) -> None:
    async with Proxy(shared_server.url) as proxy, asyncio.timeout(20):
        connection = await Connection.open(Access(servers=(proxy.url,)), name="test")
        mux = Mux(connection, quick_limits(publishes_waiting_max=4))
        (proxied,) = proxy.connections
        proxied.hold("server")
        asked = [asyncio.ensure_future(mux.ask("$JS.API.INFO", b"")) for _ in range(10)]
        await eventually(lambda: proxied.said.count(b"$JS.API.INFO") >= 4)
        await asyncio.sleep(0.05)  # What is one too many would be said by now.

        assert (mux.waiting, proxied.said.count(b"$JS.API.INFO")) == (4, 4)

        proxied.let_go()
        assert len(await asyncio.gather(*asked)) == 10
        await connection.close()


async def test_a_scheduled_message_comes_into_its_target_and_a_new_one_replaces_it(
    shared_server: EmbeddedServer, namespace: str
) -> None:
    subjects, inbox = Subjects(namespace), Inbox()
    wake, timer = subjects.wake("q", "order-1"), subjects.timer("order-1", "1")
    async with await door(shared_server, namespace) as one:
        await one.consume("wake", "q", inbox.receive, places=10)
        now_ms = one.clock.now_ms()

        await one.schedule(timer, b"late", target=wake, due_ms=now_ms + 3_600_000)
        await one.schedule(timer, b"soon", target=wake, due_ms=now_ms + 100)

        (delivery,) = await inbox.wait_for(1)
        assert (delivery.subject, delivery.data, delivery.fence) == (wake, b"soon", None)
        assert one.clock.now_ms() >= now_ms + 100
        assert await one.count(timer) == 0


async def test_entomb_replaces_the_journal_by_one_message_that_goes_away(
    shared_server: EmbeddedServer, namespace: str
) -> None:
    log = Subjects(namespace).log("order-1")
    async with await door(shared_server, namespace) as one:
        first = await one.publish(log, b"1", fence=0)
        second = await one.publish(log, b"2", fence=first)
        with pytest.raises(FencedError):
            await one.entomb(log, b"stale", fence=first, ttl_s=1)

        await one.entomb(log, b"gone", fence=second, ttl_s=1)

        assert [stored.data for stored in await one.read(log, after=0, limit=10)] == [b"gone"]

        async def is_gone() -> bool:
            return await one.last(log) is None

        await eventually(is_gone)


async def test_purge_below_leaves_the_message_of_that_sequence(shared_server: EmbeddedServer, namespace: str) -> None:
    subjects = Subjects(namespace)
    mine, other = subjects.wake("q", "order-1"), subjects.wake("q", "order-2")
    async with await door(shared_server, namespace) as one:
        sequences = [await one.publish(mine, b"%d" % number) for number in range(5)]
        await one.publish(other, b"kept")

        await one.purge(mine, below=sequences[3])
        left = [stored.sequence for stored in await one.read(mine, after=0, limit=10)]
        await one.purge(mine)

        assert left == sequences[3:]
        assert await one.count(mine) == 0
        assert await one.count(other) == 1


async def test_a_notice_reaches_a_watch_also_after_a_reconnect(server: EmbeddedServer, namespace: str) -> None:
    done = Subjects(namespace).done("client-1", secrets.token_hex(4))
    seen: list[tuple[str, bytes]] = []
    async with await door(server, namespace) as one, await door(server, namespace) as other:
        watch = await one.watch(done, lambda subject, data: seen.append((subject, data)))
        other.notify(done, b"1")
        await eventually(lambda: seen == [(done, b"1")])

        await asyncio.to_thread(server.stop)
        await asyncio.to_thread(server.start)

        def is_seen_again() -> bool:
            other.notify(done, b"2")
            return len(seen) > 1

        await eventually(is_seen_again)

        await watch.close()


@asynccontextmanager
async def _silent(one: JetStreamDoor, namespace: str) -> AsyncGenerator[str]:
    """A subject on which somebody listens and never answers."""
    subject = f"silent.{namespace}"
    watch = await one.watch(subject, lambda subject, data: None)
    yield subject
    await watch.close()


async def _until_published(one: JetStreamDoor, log: str, fence: int) -> int:
    async with asyncio.timeout(20):
        while True:
            try:
                return await one.publish(log, b"2", fence=fence)
            except UnavailableError:
                await asyncio.sleep(0.02)
