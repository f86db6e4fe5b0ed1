"""Where the promises of `relight.actors.door` are put to the test: each kind of server, through one face."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Protocol, TypeVar

import pytest

from relight.actors.door import Door
from relight.actors.jetstream.door import DoorOptions, JetStreamDoor
from relight.actors.jetstream.keeper import Access, Keeper, KeeperOptions, connection_name
from relight.config.server import EmbeddedServer
from relight.subjects.grammar import Subjects
from relight.subjects.ids import WorkerId
from relight.testing.memory import MemoryServer
from relight.testing.schedule import Schedule, Weather

T = TypeVar("T")

_PASSES = 30
_ADVANCES_MAX = 1_000


class Site(Protocol):
    """A server with a namespace of its own."""

    subjects: Subjects

    async def door(self, name: str) -> Door:
        """Connect a new worker."""
        ...

    async def until(self, condition: Callable[[], bool]) -> None:
        """Let time pass until the condition holds; fail if it does not in good time."""
        ...

    async def result(self, coroutine: Coroutine[object, object, T]) -> T:
        """Await it while time passes."""
        ...


class MemorySite:
    """The server in memory, with one fixed or one seeded order of things."""

    def __init__(self, schedule: Schedule | None) -> None:
        self.server = MemoryServer(namespace="conformance")
        if schedule is not None:
            self.server.hops = schedule.hops
        self.subjects = Subjects("conformance")

    async def door(self, name: str) -> Door:
        return self.server.door(name)

    async def until(self, condition: Callable[[], bool]) -> None:
        for _ in range(_ADVANCES_MAX):
            for _ in range(_PASSES):
                if condition():
                    return
                await asyncio.sleep(0)
            self.server.clock.advance_to_next()
        pytest.fail("the condition does not come true")

    async def result(self, coroutine: Coroutine[object, object, T]) -> T:
        task = asyncio.ensure_future(coroutine)
        await self.until(task.done)
        return task.result()


class JetStreamSite:
    """A real server; each door is a worker's, with a keeper of its own."""

    def __init__(self, server: EmbeddedServer, namespace: str) -> None:
        self._access = Access(servers=(server.url,))
        self._namespace = namespace
        self._open: list[tuple[JetStreamDoor, Keeper]] = []
        self.subjects = Subjects(namespace)

    async def door(self, name: str) -> Door:
        worker = WorkerId(name)
        keeper = Keeper(KeeperOptions(namespace=self._namespace, worker=worker, access=self._access))
        await keeper.start()
        options = DoorOptions(
            namespace=self._namespace, access=self._access, name=connection_name(worker, "main"), shards=1
        )
        door = await JetStreamDoor.open(options, keeper=keeper)
        self._open.append((door, keeper))
        return door

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(20):
            while not condition():
                await asyncio.sleep(0.005)

    async def result(self, coroutine: Coroutine[object, object, T]) -> T:
        async with asyncio.timeout(20):
            return await coroutine

    async def close(self) -> None:
        for door, keeper in self._open:
            await door.close()
            await keeper.stop()


@pytest.fixture(params=["memory", "memory-seeded", "jetstream"])
async def site(request: pytest.FixtureRequest, shared_server: EmbeddedServer, namespace: str) -> AsyncIterator[Site]:
    if request.param == "jetstream":
        site = JetStreamSite(shared_server, namespace)
        yield site
        await site.close()
    else:
        yield MemorySite(Schedule(7, Weather(reordered=0.75)) if request.param == "memory-seeded" else None)
