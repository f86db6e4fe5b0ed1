"""Of which of its own messages a process knows that nobody else can have had them, whatever the server's stamps say."""

from __future__ import annotations

import asyncio

import pytest
from msgspec.structs import replace

from relight.actors.door import SECOND_HAND, Delivery
from relight.actors.relights import Relights
from relight.config.limits import LIMITS
from relight.subjects.ids import WorkerId
from relight.testing.memory import MemoryServer

_RUN = "order-42"


async def _published_on(server: MemoryServer) -> tuple[Relights, Delivery]:
    door = server.door("worker")
    taken: asyncio.Queue[Delivery] = asyncio.Queue()
    await door.consume("wake", "default", taken.put_nowait, places=1)
    relights = Relights(door, server.subjects, WorkerId("worker"))
    await relights.publish("default", _RUN, 1)
    return relights, replace(await taken.get(), new_until_ms=0)


@pytest.mark.parametrize(
    ("later_s", "delivered", "of_another", "is_fresh"),
    [
        pytest.param(0.0, 1, 0, True, id="at once"),
        pytest.param(0.4 * LIMITS.ack_wait_s, 1, 0, True, id="before anybody else can have had it"),
        pytest.param(0.5 * LIMITS.ack_wait_s, 1, 0, False, id="it may have lain in the socket"),
        pytest.param(0.0, 2, 0, False, id="it comes again"),
        pytest.param(0.0, SECOND_HAND, 0, False, id="in hand for a while"),
        pytest.param(0.0, 1, 1, False, id="of another process"),
    ],
)
async def test_its_own_message_is_fresh_as_long_as_nobody_else_can_have_had_it(
    later_s: float, delivered: int, of_another: int, is_fresh: bool
) -> None:
    server = MemoryServer()
    relights, delivery = await _published_on(server)
    delivery = replace(delivery, delivered=delivered, sequence=delivery.sequence + of_another)
    came_s = server.clock.elapsed_s() + later_s

    assert relights.is_fresh(_RUN, delivery, came_s=came_s) is is_fresh


@pytest.mark.parametrize("runs", [50, 1], ids=["of many runs", "of one run"])
async def test_what_was_published_long_ago_is_forgotten(runs: int) -> None:
    server = MemoryServer()
    relights = Relights(server.door("worker"), server.subjects, WorkerId("worker"))

    for number in range(50):
        await relights.publish("default", f"order-{number % runs}", 1)
        server.clock.advance(1)

    known = relights._published.values()  # pyright: ignore[reportPrivateUsage]
    assert sum(len(of_run) for of_run in known) <= LIMITS.ack_wait_s + 1
