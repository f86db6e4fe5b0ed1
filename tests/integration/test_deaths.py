"""A worker is killed, and its leases are with a survivor milliseconds later. Real server, real processes."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import secrets
import signal
import statistics
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
from nats.aio.client import Client
from nats.aio.msg import Msg
from tests.integration.keeper_worker import Orders, WorkerProcess, fill, make_consumer
from tests.raw_nats import connected

from relight.actors.jetstream.announced import rank
from relight.actors.jetstream.announcements import Announcement, decode_announcement, encode_announcement
from relight.actors.jetstream.keeper_connection import subscribe
from relight.config.server import EmbeddedServer
from relight.subjects.grammar import Subjects


class Ground:
    """A stream, a consumer, and an ear for announcements: what the workers of one test share."""

    def __init__(self, server: EmbeddedServer, namespace: str, directory: Path) -> None:
        self.server = server
        self.namespace = namespace
        self.directory = directory
        self.client = Client()
        self.stream = f"S{secrets.token_hex(4)}"
        self.said: list[Announcement] = []

    async def prepare(self) -> None:
        await self.client.connect(self.server.url)
        await make_consumer(self.client, self.stream, ack_wait_s=60)
        await subscribe(self.client, Subjects(self.namespace).announcements(), self._hear)

    async def publish(self, count: int) -> None:
        await fill(self.client, self.stream, count)

    def worker(self, name: str, *, announce_s: float = 0.005) -> WorkerProcess:
        orders = Orders(
            url=self.server.url,
            system_url=self.server.system_url,
            namespace=self.namespace,
            worker=name,
            stream=self.stream,
            consumer="c",
            announce_s=announce_s,
        )
        return WorkerProcess(orders, self.directory / f"{name}.log")

    async def until(self, condition: Callable[[], bool], *, seconds: float = 10.0) -> None:
        async with asyncio.timeout(seconds):
            while not condition():
                await asyncio.sleep(0.002)

    async def until_all_free(self, *workers: str) -> None:
        """Return when each of these has said that it frees the leases of the dead."""
        await self.until(lambda: set(workers) <= {one.worker for one in self.said if one.frees})

    async def until_announced(self, worker: str, count: int) -> None:
        await self.until(lambda: len(self.announced(worker)) >= count)

    async def announced_lease(self, name: str, worker: WorkerProcess) -> int:
        """Have this worker take a message, and return its sequence when it has announced that it holds it."""
        worker.order(pull=1)
        sequence = int(worker.line()["sequence"])
        await self.until_announced(name, 1)
        return sequence

    def announced(self, worker: str) -> set[int]:
        return {
            sequence
            for one in self.said
            if one.worker == worker
            for sequences in one.held.values()
            for sequence in sequences
        }

    def freed_by(self, dead: str) -> list[str]:
        return [one.worker for one in self.said if one.freed == dead]

    async def _hear(self, message: Msg) -> None:
        self.said.append(decode_announcement(message.data))


@pytest.fixture
async def ground(shared_server: EmbeddedServer, namespace: str, tmp_path: Path) -> AsyncIterator[Ground]:
    ground = Ground(shared_server, namespace, tmp_path)
    await ground.prepare()
    yield ground
    await ground.client.close()


async def test_an_announced_lease_of_a_killed_worker_reaches_a_survivor_in_milliseconds(ground: Ground) -> None:
    taken_over_ms: list[float] = []
    with ground.worker("survivor") as survivor:
        for attempt in range(7):
            with ground.worker(f"victim{attempt}") as victim:
                await ground.until_all_free("survivor", f"victim{attempt}")
                await ground.publish(1)
                victim.order(pull=1)
                sequence = victim.line()["sequence"]
                survivor.order(pull=1)
                await ground.until_announced(f"victim{attempt}", 1)

                killed_at = time.monotonic()
                victim.signal(signal.SIGKILL)
                redelivery = await asyncio.to_thread(survivor.line)

                assert (redelivery["sequence"], redelivery["delivered"]) == (sequence, 2)
                taken_over_ms.append((redelivery["at"] - killed_at) * 1000)

    print(f"redelivered after {[round(one, 1) for one in taken_over_ms]} ms")
    assert statistics.median(taken_over_ms) < 50


async def test_leases_that_were_never_announced_are_swept_free(ground: Ground) -> None:
    with ground.worker("survivor") as survivor, ground.worker("victim") as victim:
        await ground.until_all_free("survivor", "victim")
        await ground.publish(300)
        victim.order(pull=1)
        survivor.order(pull=100)
        held_by_victim = {victim.line()["sequence"]}
        held = {one["sequence"] for one in survivor.lines(100)}
        await ground.until_announced("victim", 1)
        victim.order(pull=199, holds=False)
        lost = held_by_victim | {one["sequence"] for one in victim.lines(199)}
        survivor.order(pull=300)

        killed_at = time.monotonic()
        victim.signal(signal.SIGKILL)
        async with asyncio.timeout(20):
            redelivered = await asyncio.to_thread(lambda: list(survivor.lines(200)))

        assert {one["sequence"] for one in redelivered} == lost
        assert held.isdisjoint(lost)
        print(f"all 200 redelivered {(redelivered[-1]['at'] - killed_at) * 1000:.0f} ms after the kill")


async def test_what_the_dead_had_announced_and_acknowledged_since_does_not_stand_for_what_it_held(
    ground: Ground,
) -> None:
    with ground.worker("survivor") as survivor, ground.worker("victim") as victim:
        await ground.until_all_free("survivor", "victim")
        await ground.publish(150)
        victim.order(pull=100)
        sequences = [one["sequence"] for one in victim.lines(100)]
        await ground.until_announced("victim", 100)
        victim.order(acknowledge=90)
        victim.line()
        victim.order(pull=50, holds=False)
        lost = {*sequences[:10], *(one["sequence"] for one in victim.lines(50))}
        survivor.order(pull=300)

        victim.signal(signal.SIGKILL)
        async with asyncio.timeout(20):
            redelivered = await asyncio.to_thread(lambda: list(survivor.lines(60)))

        assert {one["sequence"] for one in redelivered} == lost


async def test_what_the_dead_said_last_is_not_counted_for_a_living_one_when_it_comes_late(ground: Ground) -> None:
    with ground.worker("survivor") as survivor, ground.worker("victim") as victim:
        await ground.until_all_free("survivor", "victim")
        await ground.publish(2)
        announced = await ground.announced_lease("victim", victim)
        victim.order(pull=1, holds=False)
        young = int(victim.line()["sequence"])
        survivor.order(pull=2)

        victim.signal(signal.SIGKILL)
        await ground.until(lambda: bool(ground.freed_by("victim")))
        late = Announcement("victim", frees=True, held={f"{ground.stream}.c": [young]})
        await ground.client.publish(Subjects(ground.namespace).announcements(), encode_announcement(late))
        async with asyncio.timeout(5):
            redelivered = await asyncio.to_thread(lambda: list(survivor.lines(2)))

        assert {one["sequence"] for one in redelivered} == {announced, young}


async def test_who_is_asked_for_leases_of_one_consumer_tells_all_that_it_holds(ground: Ground) -> None:
    """Another asker may wait for his answer at this moment, and would take this one for it."""
    with ground.worker("asked") as asked:
        await ground.until_all_free("asked")
        await ground.publish(1)
        asked.order(pull=1)
        sequence = asked.line()["sequence"]
        ground.said.clear()

        question = Announcement("asker", wants=("S.other",))
        await ground.client.publish(Subjects(ground.namespace).announcements(), encode_announcement(question))
        await ground.until(lambda: any(one.whole for one in ground.said))

        assert [one.held for one in ground.said if one.whole] == [{f"{ground.stream}.c": [sequence]}]


async def test_one_of_three_survivors_frees_and_the_others_leave_it_to_him(ground: Ground) -> None:
    names = ("ada", "bob", "eve")
    freed: list[list[str]] = []
    with contextlib.ExitStack() as stack:
        for name in names:
            stack.enter_context(ground.worker(name))
        for victim in ("victim1", "victim2", "victim3"):
            freed.append(await freed_after_death(ground, victim, names))

    # Who is kept from running for 20 ms misses his turn, and the next one acts too, rightly: so not each time.
    expected = [[first_survivor(names, victim)] for victim in ("victim1", "victim2", "victim3")]
    assert any(one == first for one, first in zip(freed, expected, strict=True))


async def freed_after_death(ground: Ground, name: str, survivors: tuple[str, ...]) -> list[str]:
    with ground.worker(name) as victim:
        await ground.until_all_free(*survivors, name)
        await ground.publish(50)
        victim.order(pull=50)
        list(victim.lines(50))
        await ground.until_announced(name, 50)
        victim.signal(signal.SIGKILL)
        await ground.until(lambda: bool(ground.freed_by(name)))
        await asyncio.sleep(0.15)  # The turns of the others pass, unused.
    return ground.freed_by(name)


async def test_the_next_survivor_frees_when_the_first_one_is_stopped(ground: Ground) -> None:
    names = ("ada", "bob")  # Of three the last would act as well, rightly, if the second missed his turn by 20 ms.
    first = first_survivor(names, "victim")
    second = next(name for name in names if name != first)
    with contextlib.ExitStack() as stack:
        survivors = {name: stack.enter_context(ground.worker(name)) for name in names}
        victim = stack.enter_context(ground.worker("victim"))
        await ground.until_all_free(*names, "victim")
        await ground.publish(5)
        victim.order(pull=5)
        list(victim.lines(5))
        await ground.until_announced("victim", 5)
        survivors[second].order(pull=5)

        survivors[first].signal(signal.SIGSTOP)
        victim.signal(signal.SIGKILL)
        redelivered = await asyncio.to_thread(lambda: list(survivors[second].lines(5)))

        await ground.until(lambda: bool(ground.freed_by("victim")))

        assert {one["delivered"] for one in redelivered} == {2}
        assert ground.freed_by("victim")[0] == second


async def test_the_blink_of_one_connection_is_no_death(ground: Ground) -> None:
    with ground.worker("survivor"), ground.worker("blinker") as blinker:
        await ground.until_all_free("survivor", "blinker")
        await ground.publish(1)
        blinker.order(pull=1)
        blinker.line()
        await ground.until_announced("blinker", 1)

        blinker.order(blink="main")
        blinker.line()
        blinker.order(pull=1)
        await ground.publish(1)
        redelivered = blinker.line()
        await asyncio.sleep(0.1)  # More than all turns of all survivors.

        assert redelivered["delivered"] == 1
        assert ground.freed_by("blinker") == []


async def test_a_server_that_does_not_answer_at_first_is_asked_again(
    server: EmbeddedServer, namespace: str, tmp_path: Path
) -> None:
    ground = Ground(server, namespace, tmp_path)
    await ground.prepare()
    with ground.worker("survivor") as survivor, ground.worker("victim") as victim:
        await ground.until_all_free("survivor", "victim")
        await ground.publish(1)
        sequence = await ground.announced_lease("victim", victim)
        survivor.order(pull=1)

        survivor.signal(signal.SIGSTOP)
        async with connected(server.system_url) as system:
            told = await system.subscribe("$SYS.ACCOUNT.*.DISCONNECT")  # pyright: ignore[reportUnknownMemberType]
            await system.flush()
            victim.signal(signal.SIGKILL)
            # Of each of its two connections.
            for _ in range(2):
                while b"relight-worker/victim/" not in (await told.next_msg(10)).data:
                    pass
            while await unsent_bytes(system, "survivor") > 0:
                pass  # The news is to lie in the socket of the stopped one.
        os.kill(server.endpoint.server_process, signal.SIGSTOP)
        survivor.signal(signal.SIGCONT)
        await ground.until(lambda: "freeing_failed" in survivor.log.read_text())
        os.kill(server.endpoint.server_process, signal.SIGCONT)
        async with asyncio.timeout(5):
            redelivery = await asyncio.to_thread(survivor.line)

        assert (redelivery["sequence"], redelivery["delivered"]) == (sequence, 2)
    await ground.client.close()


async def test_a_server_restart_is_no_death(server: EmbeddedServer, namespace: str, tmp_path: Path) -> None:
    ground = Ground(server, namespace, tmp_path)
    await ground.prepare()
    with ground.worker("survivor"), ground.worker("victim") as victim:
        await ground.until_all_free("survivor", "victim")
        await ground.publish(1)
        await ground.announced_lease("victim", victim)

        server.stop()
        server.start()
        await ground.until(lambda: ground.client.is_connected)
        heard = len(ground.said)
        await ground.until(lambda: {"survivor", "victim"} <= {one.worker for one in ground.said[heard:] if one.frees})

        assert ground.freed_by("victim") == []
    await ground.client.close()


async def unsent_bytes(system: Client, worker: str) -> int:
    """Return what the server has for a worker about deaths, and has not yet written into its socket."""
    answer = json.loads((await system.request("$SYS.REQ.SERVER.PING.CONNZ", b"{}", timeout=5)).data)
    connections = answer["data"]["connections"]
    [pending] = [one["pending_bytes"] for one in connections if one.get("name") == f"relight-system/{worker}"]
    return int(pending)


def first_survivor(names: list[str] | tuple[str, ...], dead: str) -> str:
    return next(name for name in names if rank(name, dead=dead, others=names) == 0)
