"""Where the promises of `relight.actors.door` are put to the test: each kind of server, through one face."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from random import Random
from typing import Protocol, TypeVar

import pytest

from relight.actors.door import Door
from relight.subjects.grammar import Subjects
from relight.testing.memory import MemoryServer

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

    def __init__(self, random: Random | None) -> None:
        self.server = MemoryServer(namespace="conformance", random=random)
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


@pytest.fixture(params=["memory", "memory-seeded", "jetstream"])
async def site(request: pytest.FixtureRequest) -> Site:
    if request.param == "jetstream":
        pytest.importorskip("relight.actors.jetstream.door")
        pytest.skip("the suite does not know yet how this door is opened")
    return MemorySite(Random(7) if request.param == "memory-seeded" else None)
