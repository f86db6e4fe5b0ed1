"""A worker whose connections have blinked, and who is back within milliseconds, keeps its leases."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator
from functools import partial
from time import monotonic

import pytest
from nats.aio.client import Client
from tests import connection_events
from tests.integration.keeper_worker import consumer_info, fill, make_consumer, pull
from tests.raw_nats import connected

from relight.actors.jetstream.announcements import Announcement
from relight.actors.jetstream.announcer import Announcer
from relight.actors.jetstream.deaths_freeing import Survivor
from relight.actors.jetstream.deaths_sweep import Sweep
from relight.actors.jetstream.keeper_leases import Leases
from relight.config.limits import LIMITS
from relight.config.server import EmbeddedServer
from relight.subjects.grammar import Subjects
from relight.subjects.ids import WorkerId

OTHER = "other"
opened = partial(connection_events.opened, OTHER)
closed = partial(connection_events.closed, OTHER)


class Ground:
    """A consumer of which another worker has got the first message, and what frees it if he is dead."""

    def __init__(self, client: Client, namespace: str) -> None:
        self.client = client
        self.stream = f"S{secrets.token_hex(4)}"
        self.consumer = f"{self.stream}.c"
        self.leases = Leases()
        self.announcer = Announcer(
            client, worker="survivor", subjects=Subjects(namespace), leases=self.leases, limits=LIMITS
        )
        self.sweep = Sweep(client, worker=WorkerId("survivor"), announcer=self.announcer, leases=self.leases)

    async def prepare(self, *announced: int) -> None:
        await make_consumer(self.client, self.stream, ack_wait_s=60)
        await fill(self.client, self.stream, 2)
        await pull(self.client, self.stream, 1)
        said = Announcement(OTHER, True, held={self.consumer: list(announced)})
        self.announcer.neighbours.hear(said, monotonic())

    async def survive(self, *events: bytes, then: tuple[bytes, ...] = ()) -> None:
        """Have a survivor see these events, and the others while it frees; return when it has done all it does."""
        async with asyncio.TaskGroup() as tasks:
            worker = WorkerId("survivor")
            survivor = Survivor(self.sweep, worker=worker, announcer=self.announcer, leases=self.leases, tasks=tasks)
            for event in events:
                survivor.note(event)
            await asyncio.sleep(0)  # It looks whether the other is dead, and asks the server.
            for event in then:
                survivor.note(event)

    async def next_two(self) -> set[int]:
        """The next messages that are delivered: the server takes what is given back when it comes to it."""
        return {delivery.sequence for delivery in await pull(self.client, self.stream, 2)}

    async def is_held(self) -> bool:
        """Whether the next messages are those that nobody has got yet, and the first one is not given back."""
        [one] = await pull(self.client, self.stream, 1)
        await fill(self.client, self.stream, 1)  # By then the server has come to what was given back.
        [other] = await pull(self.client, self.stream, 1)
        info = await consumer_info(self.client, self.stream)
        return (one.sequence, other.sequence) == (2, 3) and info["num_ack_pending"] == 3 and not info["num_redelivered"]


@pytest.fixture
async def ground(shared_server: EmbeddedServer, namespace: str) -> AsyncIterator[Ground]:
    async with connected(shared_server.url) as client:
        yield Ground(client, namespace)


@pytest.mark.parametrize("announced", [(1,), ()])
async def test_the_lease_of_a_worker_that_does_not_come_back_is_freed(ground: Ground, announced: tuple[int]) -> None:
    await ground.prepare(*announced)

    await ground.survive(closed("main", 1), closed("keeper", 2))

    assert await ground.next_two() == {1, 2}


async def test_the_lease_of_a_worker_that_is_back_at_once_is_not_freed(ground: Ground) -> None:
    await ground.prepare(1)

    await ground.survive(closed("main", 1), closed("keeper", 2), opened("main", 3))

    assert await ground.is_held()


async def test_nor_is_what_it_has_not_announced_if_it_is_back_before_the_sweep(ground: Ground) -> None:
    await ground.prepare()

    await ground.survive(closed("main", 1), closed("keeper", 2), then=(opened("main", 3),))

    assert await ground.is_held()


async def test_what_the_server_has_ended_frees_nothing(ground: Ground) -> None:
    await ground.prepare(1)

    await ground.survive(closed("main", 1, "Server Shutdown"), closed("keeper", 2, "Stale Connection"))

    assert await ground.is_held()
