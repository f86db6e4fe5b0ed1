"""A worker that begins frees what nobody living holds, whoever else lives; of those that begin together one does."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator
from time import monotonic

import pytest
from nats.aio.client import Client
from tests.integration.keeper_worker import consumer_info, fill, make_consumer, pull
from tests.raw_nats import connected

from relight.actors.jetstream.announced import rank
from relight.actors.jetstream.announcements import Announcement
from relight.actors.jetstream.announcer import Announcer
from relight.actors.jetstream.deaths_sweep import Sweep
from relight.actors.jetstream.keeper_leases import Leases
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
        self.announcer.neighbours.hear(Announcement(worker, True, whole=True, wants=wants), monotonic())

    async def freed(self, *, meanwhile: str = "", wants: str = "") -> int:
        """Begin; `meanwhile` another worker begins, and asks for the same unless it `wants` something else."""
        freeing = asyncio.create_task(self._sweep.before((self.consumer,)))
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
