"""First delivery of a start, and messages that come before it: one owner, nothing lost, no step twice, no hot loop."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from msgspec import Raw
from nats.aio.msg import Msg
from tests.crash.apps import collects, gated, quick
from tests.crash.apps_fleet import Fleet
from tests.crash.apps_proxy import Proxy
from tests.raw_nats import connected, store

from relight import RunCancelled, RunNotFoundError
from relight.config.server import EmbeddedServer
from relight.subjects.codec import encode
from relight.subjects.messages import Signal


async def test_each_of_many_starts_has_one_owner_and_no_step_runs_twice(
    shared_server: EmbeddedServer, namespace: str, tmp_path: Path
) -> None:
    async with Fleet(shared_server, namespace, tmp_path) as fleet:
        await asyncio.gather(fleet.worker("quick"), fleet.worker("quick"))

        runs = [await fleet.relight.start(quick, fleet.text) for _ in range(30)]
        results = await asyncio.gather(*(run.result(timeout=20) for run in runs))

        await fleet.no_lease_left()
        assert results == [6] * 30
        for run in runs:
            assert [one.step for one in fleet.executions(run=run.id)] == ["one", "two", "three"]
            assert {turn.epoch for turn in await fleet.journal(run.id)} == {1}


async def test_signals_before_the_first_turn_are_all_consumed_in_order(
    shared_server: EmbeddedServer, namespace: str, tmp_path: Path
) -> None:
    async with Fleet(shared_server, namespace, tmp_path) as fleet:
        run = await fleet.relight.start(collects, fleet.text, 5)
        for number in range(5):
            await run.signal("number", number)

        await asyncio.gather(fleet.worker("collects"), fleet.worker("collects"))

        assert await run.result(timeout=20) == [0, 1, 2, 3, 4]
        await fleet.no_lease_left()
        assert len(fleet.executions("one")) == 1
        await fleet.journal(run.id)


async def test_a_cancel_before_the_first_turn_counts(
    shared_server: EmbeddedServer, namespace: str, tmp_path: Path
) -> None:
    async with Fleet(shared_server, namespace, tmp_path) as fleet:
        run = await fleet.relight.start(gated, fleet.text)
        await run.cancel(reason="changed my mind")

        await fleet.worker("gated")

        with pytest.raises(RunCancelled, match="changed my mind"):
            await run.result(timeout=20)
        await fleet.no_lease_left()
        assert len(fleet.executions("gate")) <= 1
        await fleet.journal(run.id)


async def test_a_signal_before_the_start_exists_is_refused(
    shared_server: EmbeddedServer, namespace: str, tmp_path: Path
) -> None:
    async with Fleet(shared_server, namespace, tmp_path) as fleet:
        with pytest.raises(RunNotFoundError):
            await fleet.relight.get_run("not-yet").signal("number", 1)

        assert await fleet.relight.door.count(fleet.relight.subjects.wake("default", "not-yet")) == 0


async def test_a_wake_without_start_and_journal_is_dropped_and_deleted(
    shared_server: EmbeddedServer, namespace: str, tmp_path: Path
) -> None:
    async with Fleet(shared_server, namespace, tmp_path) as fleet, connected(shared_server.url) as connection:
        await fleet.worker("collects")
        mailbox = fleet.relight.subjects.wake("default", "nobody")

        await store(connection, mailbox, encode(Signal(name="number", data=Raw(b"1"))))
        await fleet.no_lease_left()

        assert await fleet.relight.door.count(mailbox) == 0


async def test_what_is_sent_after_the_start_survives_the_deletion_of_a_wake_that_came_before_it(
    shared_server: EmbeddedServer, namespace: str, tmp_path: Path
) -> None:
    async with Fleet(shared_server, namespace, tmp_path) as fleet, connected(shared_server.url) as connection:
        subjects = fleet.relight.subjects
        async with Proxy(shared_server.url) as proxy:
            await fleet.worker("collects", url=proxy.url)
            proxy.part("main").hold_after(b".STREAM.PURGE.", "client")
            await store(connection, subjects.wake("default", "early"), encode(Signal(name="number", data=Raw(b"1"))))
            await asyncio.wait_for(proxy.part("main").was_triggered.wait(), 20)

            run = await fleet.relight.start(collects, fleet.text, 1, id="early")
            await run.signal("number", 2)
            proxy.part("main").let_go()

            assert await run.result(timeout=20) == [2]


async def test_a_start_that_queues_behind_a_full_worker_costs_no_messages(
    shared_server: EmbeddedServer, namespace: str, tmp_path: Path
) -> None:
    async with Fleet(shared_server, namespace, tmp_path) as fleet, connected(shared_server.url) as connection:
        await fleet.worker("gated", "collects", concurrency=1)
        busy = await fleet.relight.start(gated, fleet.text)
        await fleet.soon("gate")
        queued = await fleet.relight.start(collects, fleet.text, 1)
        await queued.signal("number", 7)
        await fleet.turned(busy.id, 1)
        async with asyncio.timeout(20):
            while (await fleet.consumer("wake")).ack_floor.consumer_seq == 0:
                await asyncio.sleep(0.01)
        before = await fleet.consumer("start"), await fleet.consumer("wake")
        seen: list[str] = []

        async def listen(message: Msg) -> None:
            seen.append(message.subject)

        await connection.subscribe("$JS.API.>", cb=listen)  # pyright: ignore[reportUnknownMemberType]
        await asyncio.sleep(2.0)  # What is proven is that nothing happens in this time.
        sent = tuple(seen)
        after = await fleet.consumer("start"), await fleet.consumer("wake")

        assert len(sent) <= 1, sent  # The look for messages that came before the first turn.
        assert [one.delivered for one in after] == [one.delivered for one in before]
        fleet.open_the_gate()
        assert await queued.result(timeout=20) == [7]
        assert await busy.result(timeout=20) == "open"
        await fleet.no_lease_left()
