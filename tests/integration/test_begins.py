"""A worker that begins frees what nobody living holds, whoever else lives; of those that begin together one does."""

from __future__ import annotations

import asyncio
import secrets
import sys
import time
from collections.abc import AsyncIterator

import pytest
from nats.aio.client import Client
from nats.aio.msg import Msg
from tests.integration.keeper_worker import consumer_info, fill, make_consumer, pull
from tests.long_pause import LONG_S, at_a_long_pause
from tests.raw_nats import connected

from relight.actors.jetstream import announced
from relight.actors.jetstream.announced import rank
from relight.actors.jetstream.announcements import Announcement
from relight.actors.jetstream.announcer import Announcer
from relight.actors.jetstream.deaths_sweep import Sweep
from relight.actors.jetstream.keeper_connection import connection_name, subscribe
from relight.actors.jetstream.keeper_leases import Leases
from relight.actors.jetstream.uptime import NO_OUTAGE, Outage
from relight.config.limits import LIMITS
from relight.config.server import EmbeddedServer
from relight.subjects.grammar import Subjects
from relight.subjects.ids import WorkerId

BEGINNER = WorkerId("beginner")
BEFORE_IT = next(name for name in map(str, range(100)) if rank(BEGINNER, dead="", others=[name]))
AFTER_IT = next(name for name in map(str, range(100)) if not rank(BEGINNER, dead="", others=[name]))


class Ground:
    """A consumer of which somebody has got a message who is dead, and a worker that begins to serve it."""

    def __init__(self, client: Client, namespace: str) -> None:
        self.client = client
        self.stream = f"S{secrets.token_hex(4)}"
        self.consumer = f"{self.stream}.c"
        leases = Leases()
        self.announcer = Announcer(client, worker=BEGINNER, subjects=Subjects(namespace), leases=leases, limits=LIMITS)
        self._sweep = Sweep(client, worker=BEGINNER, announcer=self.announcer, leases=leases)

    async def prepare(self) -> None:
        await make_consumer(self.client, self.stream, ack_wait_s=60)
        await fill(self.client, self.stream, 1)
        await pull(self.client, self.stream, 1)

    def hear(self, worker: str, *wants: str) -> None:
        self.announcer.neighbours.hear(Announcement(worker, True, whole=True, wants=wants), time.monotonic())

    async def freed(self, *, meanwhile: str = "", wants: str = "", outage: Outage = NO_OUTAGE) -> int:
        """Begin; `meanwhile` another worker begins, and asks for the same unless it `wants` something else."""
        freeing = asyncio.create_task(self._sweep.before((self.consumer,), outage=outage))
        if meanwhile:
            await asyncio.sleep(0)  # Now it has begun, and waits for the server.
            self.hear(meanwhile, wants or self.consumer)
        return await freeing


@pytest.fixture
async def ground(shared_server: EmbeddedServer, namespace: str) -> AsyncIterator[Ground]:
    async with connected(shared_server.url) as client:
        ground = Ground(client, namespace)
        await ground.prepare()
        yield ground


async def test_it_frees_what_is_left_although_others_live(ground: Ground) -> None:
    ground.hear(BEFORE_IT)
    ground.hear(AFTER_IT, ground.consumer)  # When it began itself, some time ago.

    assert await ground.freed() == 1
    (redelivery,) = await pull(ground.client, ground.stream, 1)
    assert redelivery.delivered == 2


async def test_it_frees_what_is_left_although_another_begins_to_serve_another_queue(ground: Ground) -> None:
    assert await ground.freed(meanwhile=BEFORE_IT, wants="another.consumer") == 1


async def test_of_two_that_begin_together_one_frees_what_is_left(ground: Ground) -> None:
    assert await ground.freed(meanwhile=BEFORE_IT) == 0
    assert (await consumer_info(ground.client, ground.stream))["num_ack_pending"] == 1
    assert await ground.freed(meanwhile=AFTER_IT) == 1


async def test_nothing_is_freed_while_one_is_connected_of_whom_nothing_is_known_and_who_says_nothing(
    ground: Ground, shared_server: EmbeddedServer, namespace: str
) -> None:
    """He may only stand still for a moment, and hold all that nobody else does."""
    mute = await standing_still("mute", shared_server, namespace)

    assert await ground.freed() == 0

    await mute.close()
    assert await ground.freed() == 1


async def test_those_who_may_be_on_their_way_back_have_the_time_for_it(
    ground: Ground, shared_server: EmbeddedServer, namespace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    returned: list[Client] = []

    async def come_back() -> None:
        returned.append(await standing_still("eve", shared_server, namespace))

    at_a_long_pause(monkeypatch, come_back)

    assert await ground.freed(outage=Outage(sys.maxsize, LONG_S)) == 0

    await returned[0].close()
    assert await ground.freed() == 1


async def test_nobody_is_waited_for_where_nothing_is_left_from_before_the_outage(
    ground: Ground, monkeypatch: pytest.MonkeyPatch
) -> None:
    paused: list[str] = []

    async def pause() -> None:
        paused.append("in vain")

    at_a_long_pause(monkeypatch, pause)

    assert await ground.freed(outage=Outage(1, LONG_S)) == 1
    (left,) = await pull(ground.client, ground.stream, 1)
    await ground.client.request(left.token, b"+ACK")
    assert await ground.freed(outage=Outage(sys.maxsize, LONG_S)) == 0
    assert not paused


async def test_what_one_was_known_to_hold_is_spared_while_he_is_connected(
    ground: Ground, shared_server: EmbeddedServer, namespace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However long ago he was heard of."""
    monkeypatch.setattr(announced, "_LIVING_S", 0.0)
    ground.announcer.neighbours.hear(Announcement("eve", True, held={ground.consumer: [1]}), time.monotonic())
    eve = await standing_still("eve", shared_server, namespace)

    assert await ground.freed() == 0

    await eve.close()
    assert await ground.freed() == 1


async def standing_still(worker: str, server: EmbeddedServer, namespace: str) -> Client:
    """Connect as the keeper of a worker that says nothing."""
    client = Client()
    await client.connect(server.url, name=connection_name(worker, "keeper"))
    await subscribe(client, Subjects(namespace).announcements(), _say_nothing)
    await client.flush()
    return client


async def test_who_stood_still_while_it_asked_spares_what_others_were_known_to_hold(
    ground: Ground, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(announced, "_LIVING_S", 0.4)
    ask = ground.announcer.ask

    async def ask_and_stand_still(consumers: tuple[str, ...], *, trace: str) -> None:
        await ask(consumers, trace=trace)
        time.sleep(0.5)  # noqa: ASYNC251 - the very pause that is tested

    monkeypatch.setattr(ground.announcer, "ask", ask_and_stand_still)
    ground.announcer.neighbours.hear(Announcement("eve", True, held={ground.consumer: [1]}), time.monotonic())

    assert await ground.freed() == 0


async def _say_nothing(_question: Msg) -> None:
    pass
