"""What the tests of the real door share: opening doors, and waiting for what a server does in its own time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace

from relight.actors.door import Delivery
from relight.actors.jetstream.api import Api
from relight.actors.jetstream.client import Access
from relight.actors.jetstream.connection import Connection
from relight.actors.jetstream.door import DoorOptions, JetStreamDoor
from relight.actors.jetstream.mux import Mux
from relight.config.limits import LIMITS, Limits
from relight.config.server import EmbeddedServer

__all__ = ("Inbox", "bare", "door", "eventually", "options", "quick_limits")


def quick_limits(**changes: float) -> Limits:
    """Limits with shorter periods, so that a test need not wait for those of production."""
    return replace(LIMITS, **changes)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # some are integers


def options(
    server: EmbeddedServer, namespace: str, *, shards: int | None = None, limits: Limits = LIMITS, replicas: int = 1
) -> DoorOptions:
    return DoorOptions(
        namespace=namespace,
        access=Access(servers=(server.url,)),
        name="test",
        shards=shards,
        limits=limits,
        replicas=replicas,
    )


async def door(
    server: EmbeddedServer, namespace: str, *, shards: int | None = None, limits: Limits = LIMITS
) -> JetStreamDoor:
    return await JetStreamDoor.open(options(server, namespace, shards=shards, limits=limits))


@asynccontextmanager
async def bare(server: EmbeddedServer) -> AsyncGenerator[tuple[Connection, Api]]:
    """A connection that has made nothing yet."""
    connection = await Connection.open(Access(servers=(server.url,)), name="bare")
    yield connection, Api(Mux(connection))
    await connection.close()


async def eventually(condition: Callable[[], bool | Awaitable[bool]], *, within_s: float = 20.0) -> None:
    """Wait until something is true that a server brings about."""
    async with asyncio.timeout(within_s):
        while not (outcome if isinstance(outcome := condition(), bool) else await outcome):
            await asyncio.sleep(0.005)


class Inbox:
    """Collects deliveries."""

    def __init__(self) -> None:
        self.deliveries: list[Delivery] = []

    def receive(self, delivery: Delivery) -> None:
        self.deliveries.append(delivery)

    async def wait_for(self, count: int) -> list[Delivery]:
        await eventually(lambda: len(self.deliveries) >= count)
        return self.deliveries
