"""Who is too busy to ask, or to read the answer, does not take others for silent."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

import pytest
import uvloop

from relight.actors.door import Silent
from relight.actors.jetstream.door import DoorOptions, JetStreamDoor
from relight.actors.jetstream.keeper import Access, Keeper, KeeperOptions, connection_name
from relight.config.limits import LIMITS
from relight.config.server import EmbeddedServer
from relight.errors import UnavailableError
from relight.subjects.grammar import Subjects
from relight.subjects.ids import WorkerId

T = TypeVar("T")

ADA = WorkerId("ada")


def test_a_worker_is_heard_that_has_answered_while_the_asker_was_busy(
    shared_server: EmbeddedServer, namespace: str
) -> None:
    async def ask(door: JetStreamDoor, timeout_s: float) -> bytes | None:
        return await door.ask(ADA, b"yours?", timeout_s=timeout_s)

    assert uvloop.run(_told_while_busy(shared_server, namespace, ask)) == b"mine"


def test_all_workers_have_answered_that_did_while_the_asker_was_busy(
    shared_server: EmbeddedServer, namespace: str
) -> None:
    async def ask(door: JetStreamDoor, timeout_s: float) -> bool:
        return (await door.ask_every_worker(b"?", timeout_s=timeout_s)).is_complete

    assert uvloop.run(_told_while_busy(shared_server, namespace, ask))


async def test_silence_says_nothing_to_who_stood_still_meanwhile(shared_server: EmbeddedServer, namespace: str) -> None:
    """The question may have left when it was too old to be answered."""
    async with await _door(shared_server, namespace) as door:
        await door.watch(Subjects(namespace).owner(ADA), lambda subject, data: None)
        with pytest.raises(Silent):
            await door.ask(ADA, b"yours?", timeout_s=LIMITS.ask_s)

        asyncio.get_running_loop().call_soon(time.sleep, 0.5)

        with pytest.raises(UnavailableError, match="stood still"):
            await door.ask(ADA, b"yours?", timeout_s=0.2)


async def test_nobody_is_gone_for_who_had_just_come_back_when_it_asked(
    shared_server: EmbeddedServer, namespace: str
) -> None:
    async with await _door(shared_server, namespace) as door:
        loop = asyncio.get_running_loop()
        door._restored_at_s = loop.time() - LIMITS.return_s + 0.2  # pyright: ignore[reportPrivateUsage]
        loop.call_soon(time.sleep, 0.5)

        with pytest.raises(UnavailableError, match="on its way back"):
            await door.ask(ADA, b"yours?", timeout_s=5)


async def _door(server: EmbeddedServer, namespace: str) -> JetStreamDoor:
    access = Access(servers=(server.url,))
    return await JetStreamDoor.open(
        DoorOptions(access=access, namespace=namespace, name=connection_name("ben", "main"))
    )


async def _told_while_busy(
    server: EmbeddedServer, namespace: str, ask: Callable[[JetStreamDoor, float], Awaitable[T]]
) -> T:
    """Ask, and be busy until well after the time-out, while the question waits to be written with others.

    The worker's keeper answers in a thread of its own.
    """
    access = Access(servers=(server.url,))
    keeper = Keeper(KeeperOptions(namespace=namespace, worker=ADA, access=access))
    await keeper.start()
    await keeper.answer(ADA, lambda question: b"mine")
    async with await _door(server, namespace) as door:
        loop = asyncio.get_running_loop()
        loop.call_soon(door.notify, Subjects(namespace).done("nobody", "run"))
        asking = asyncio.ensure_future(ask(door, 0.2))
        loop.call_soon(time.sleep, 0.5)
        told = await asking
    await keeper.stop()
    return told
