"""Redelivery: with a living owner nobody else runs a step; without one, the run is claimed and goes on."""

from __future__ import annotations

import asyncio
import signal
import time
from pathlib import Path

import pytest
from tests.crash.apps import blocks, gated, quick, sleeps
from tests.crash.apps_fleet import Fleet
from tests.crash.apps_proxy import Proxy
from tests.raw_nats import connected

from relight.actors.jetstream.announcements import LeaseName, token_of
from relight.config.server import EmbeddedServer
from relight.subjects import records as r


async def lease_of(fleet: Fleet, run: str) -> str:
    """The token under which a run's start is acknowledged."""
    turn = (await fleet.turned(run, 1))[-1]
    return token_of(LeaseName(f"RELIGHT_{fleet.namespace}_RUN_0.start-default", turn.lease))


async def free_start(fleet: Fleet, run: str) -> None:
    """Have a start delivered again at once, as a survivor does with what nobody says to hold."""
    start = await fleet.relight.door.last(fleet.relight.subjects.start_any_queue(run))
    assert start is not None
    lease = LeaseName(f"RELIGHT_{fleet.namespace}_RUN_0.start-default", start.sequence)
    last = (await fleet.consumer("start")).delivered.consumer_seq
    await say(fleet, token_of(lease, delivery=last), b"-NAK")


async def say(fleet: Fleet, token: str, word: bytes) -> None:
    async with connected(fleet.urls) as connection:
        await connection.publish(token, word)
        await connection.flush()


async def pull_waits(fleet: Fleet) -> None:
    """Return when somebody has asked for a start and got none."""
    async with asyncio.timeout(20):
        while not (await fleet.consumer("start")).num_waiting:
            await asyncio.sleep(0.005)


async def delivered(fleet: Fleet, count: int) -> None:
    """Return when the start consumer has made so many deliveries in all."""
    async with asyncio.timeout(20):
        while (await fleet.consumer("start")).delivered.consumer_seq < count:
            await asyncio.sleep(0.005)


async def is_delivered_or_changed(fleet: Fleet, count: int) -> bool:
    """Return when the start was delivered so many times, or, False, its owner has changed it for a fresh lease.

    It does when the start reached it through another worker; what is acknowledged comes no more.
    """
    async with asyncio.timeout(20):
        while True:
            seen = await fleet.consumer("start")
            if seen.delivered.consumer_seq >= count:
                return True
            if not seen.num_ack_pending:
                return False
            await asyncio.sleep(0.005)


async def test_the_owner_keeps_the_run_when_somebody_naks_its_lease(
    shared_server: EmbeddedServer, namespace: str, tmp_path: Path
) -> None:
    async with Fleet(shared_server, namespace, tmp_path) as fleet:
        await asyncio.gather(*(fleet.worker("gated") for _ in range(3)))
        run = await fleet.relight.start(gated, fleet.text)
        await fleet.soon("gate")
        token = await lease_of(fleet, run.id)

        for number in range(2, 12):
            await say(fleet, token, b"-NAK")
            await delivered(fleet, number)
        fleet.open_the_gate()

        assert await run.result(timeout=20) == "open"
        await fleet.no_lease_left()
        assert [one.step for one in fleet.executions()] == ["one", "gate", "two"]
        turns = await fleet.journal(run.id)
        assert {(turn.owner, turn.epoch) for turn in turns} == {(turns[0].owner, 1)}


async def test_the_owner_keeps_the_run_when_somebody_acks_its_lease(
    shared_server: EmbeddedServer, namespace: str, tmp_path: Path
) -> None:
    async with Fleet(shared_server, namespace, tmp_path) as fleet:
        await asyncio.gather(fleet.worker("gated"), fleet.worker("gated"))
        run = await fleet.relight.start(gated, fleet.text)
        await fleet.soon("gate")

        await say(fleet, await lease_of(fleet, run.id), b"+ACK")
        fleet.open_the_gate()

        assert await run.result(timeout=20) == "open"
        await fleet.no_lease_left()
        assert [one.step for one in fleet.executions()] == ["one", "gate", "two"]
        assert {turn.epoch for turn in await fleet.journal(run.id)} == {1}


_ASKED_IN_VAIN_S = 0.8
"""More than it takes others to ask around and, wrongly, to begin; far less than a start is new."""


@pytest.mark.parametrize("is_heard", [True, False], ids=["heard", "not heard for a moment"])
async def test_a_start_that_comes_again_before_its_first_turn_stays_with_the_worker_that_has_it(
    shared_server: EmbeddedServer, namespace: str, tmp_path: Path, is_heard: bool
) -> None:
    async with Proxy(shared_server.url) as proxy, Fleet(shared_server, namespace, tmp_path) as fleet:
        owner = await fleet.worker("gated", url=proxy.url, concurrency=1)
        proxy.part("main").hold_after(f"HPUB relight.{namespace}.log.".encode(), "client")
        run = await fleet.relight.start(gated, fleet.text)
        await asyncio.wait_for(proxy.part("main").was_triggered.wait(), 20)
        await fleet.worker("gated")
        if not is_heard:
            proxy.part("keeper").hold("client")

        await free_start(fleet, run.id)
        await delivered(fleet, 2)
        await asyncio.sleep(_ASKED_IN_VAIN_S)
        proxy.part("main").let_go()
        proxy.part("keeper").let_go()
        fleet.open_the_gate()

        assert await run.result(timeout=20) == "open"
        await fleet.no_lease_left()
        assert {one.process for one in fleet.executions()} == {owner.pid}
        assert [one.step for one in fleet.executions()] == ["one", "gate", "two"]
        assert {turn.owner for turn in await fleet.journal(run.id)} == {owner.id}


async def test_a_start_that_a_blocked_worker_has_not_read_yet_is_begun_by_nobody_else(
    server: EmbeddedServer, namespace: str, tmp_path: Path
) -> None:
    async with Fleet(server, namespace, tmp_path) as fleet:
        owner = await fleet.worker("blocks", "gated", concurrency=2)
        await fleet.relight.start(blocks, fleet.text)
        await fleet.soon("blocked")
        run = await fleet.relight.start(gated, fleet.text)
        await delivered(fleet, 2)

        await fleet.worker("blocks", "gated")
        await free_start(fleet, run.id)
        await delivered(fleet, 3)
        await asyncio.sleep(_ASKED_IN_VAIN_S)
        fleet.open_the_gate()

        assert await run.result(timeout=20) == "open"
        assert [one.step for one in fleet.executions(run=run.id)] == ["one", "gate", "two"]
        assert {turn.owner for turn in await fleet.journal(run.id)} == {owner.id}


async def test_a_start_that_a_stopped_worker_has_not_read_yet_is_begun_by_nobody_else(
    server: EmbeddedServer, namespace: str, tmp_path: Path
) -> None:
    async with Fleet(server, namespace, tmp_path) as fleet:
        owner = await fleet.worker("gated", "quick", concurrency=1)
        await pull_waits(fleet)
        # It has read by then up to where the stream went when its pull began: what is stored from now on is new to it.
        await (await fleet.relight.start(quick, fleet.text)).result(timeout=20)
        await pull_waits(fleet)
        owner.signal(signal.SIGSTOP)
        run = await fleet.relight.start(gated, fleet.text)
        await delivered(fleet, 2)

        await fleet.worker("gated")
        await free_start(fleet, run.id)
        await delivered(fleet, 3)
        await asyncio.sleep(_ASKED_IN_VAIN_S)
        assert fleet.executions(run=run.id) == []
        owner.signal(signal.SIGCONT)
        await fleet.soon("gate")
        fleet.open_the_gate()

        assert await run.result(timeout=20) == "open"
        assert [one.step for one in fleet.executions(run=run.id)] == ["one", "gate", "two"]
        assert {turn.owner for turn in await fleet.journal(run.id)} == {owner.id}


async def test_the_owner_keeps_the_run_when_its_connections_blinked(
    shared_server: EmbeddedServer, namespace: str, tmp_path: Path
) -> None:
    async with Proxy(shared_server.url) as proxy, Fleet(shared_server, namespace, tmp_path) as fleet:
        owner = await fleet.worker("gated", url=proxy.url)
        run = await fleet.relight.start(gated, fleet.text)
        await fleet.soon("gate")
        token = await lease_of(fleet, run.id)
        await fleet.worker("gated")

        proxy.cut()
        async with asyncio.timeout(20):
            await proxy.connected(f"{owner.id}/main", f"{owner.id}/keeper")
            await proxy.has_said("keeper", f"SUB {fleet.relight.subjects.owner(owner.id)} ")  # Else nobody answers.
        for number in range(2, 5):
            await say(fleet, token, b"-NAK")
            if not await is_delivered_or_changed(fleet, number):
                break
        fleet.open_the_gate()

        assert await run.result(timeout=20) == "open"
        await fleet.no_lease_left()
        assert [one.step for one in fleet.executions()] == ["one", "gate", "two"]
        assert {turn.owner for turn in await fleet.journal(run.id)} == {owner.id}


async def test_a_run_whose_owner_is_gone_is_claimed_under_the_next_epoch_and_replayed(
    server: EmbeddedServer, namespace: str, tmp_path: Path
) -> None:
    async with Fleet(server, namespace, tmp_path, sees_deaths=True) as fleet:
        owner = await fleet.worker("gated")
        run = await fleet.relight.start(gated, fleet.text)
        await fleet.soon("gate")
        await fleet.turned(run.id, 1)
        other = await fleet.worker("gated")

        died = time.time()
        await owner.kill()
        again = await fleet.soon("gate", 2)
        fleet.open_the_gate()

        assert await run.result(timeout=20) == "open"
        await fleet.no_lease_left()
        # Far below the acknowledgement time-out of ten seconds.
        assert again[1].at - died < 2
        assert [(one.step, one.process) for one in fleet.executions()] == [
            ("one", owner.pid),
            ("gate", owner.pid),
            ("gate", other.pid),
            ("two", other.pid),
        ]
        turns = await fleet.journal(run.id)
        assert [turn.epoch for turn in turns] == sorted({1: 1, 2: 2}[turn.epoch] for turn in turns)
        claims = [one for turn in turns for one in turn.records if isinstance(one, r.Claimed)]
        assert [(one.cause, one.deaths) for one in claims] == [("owner_gone", 1)]


async def test_the_last_turns_outbox_is_repeated_by_the_next_owner(
    server: EmbeddedServer, namespace: str, tmp_path: Path
) -> None:
    async with Proxy(server.url) as proxy, Fleet(server, namespace, tmp_path, sees_deaths=True) as fleet:
        owner = await fleet.worker("sleeps", url=proxy.url)
        proxy.part("main").hold_after(b"Nats-Schedule", "client")
        run = await fleet.relight.start(sleeps, fleet.text, 2.0)
        await asyncio.wait_for(proxy.part("main").was_triggered.wait(), 20)
        await fleet.worker("sleeps")

        owner.signal(signal.SIGKILL)

        # By a lease that was freed and by the timer, and not by a lease that has lapsed.
        assert await run.result(timeout=6) == 2
        await fleet.no_lease_left()
        assert [one.step for one in fleet.executions()] == ["one", "two"]
        await fleet.journal(run.id)
