"""What an owner makes of a delivery that is handed to it while it holds no lease."""

from __future__ import annotations

import asyncio

import pytest
from msgspec.structs import replace

from relight.actors.door import SECOND_HAND, Delivery
from relight.actors.doorbells import Doorbells
from relight.config.limits import LIMITS
from relight.testing.memory import MemoryServer

_RUN = "order-42"


async def _delivery_on(server: MemoryServer) -> Delivery:
    door = server.door("worker")
    taken: asyncio.Queue[Delivery] = asyncio.Queue()
    await door.consume("wake", "default", taken.put_nowait, places=1)
    await door.publish(server.subjects.wake("default", _RUN), b'{"kind":"Signal","name":"go","data":1}')
    return await taken.get()


@pytest.mark.parametrize(
    ("age_s", "delivered", "is_doubtful"),
    [
        pytest.param(0.0, 1, False, id="new"),
        pytest.param(LIMITS.ack_wait_s, 1, True, id="new when it was asked for, and old when it came"),
        pytest.param(0.0, SECOND_HAND, True, id="in hand for a while"),
    ],
)
async def test_a_lease_that_others_may_have_acknowledged_is_changed(
    age_s: float, delivered: int, is_doubtful: bool
) -> None:
    server = MemoryServer()
    delivery = replace(await _delivery_on(server), delivered=delivered)
    doorbells = Doorbells(server.door("owner"), _RUN)

    server.clock.advance(age_s)
    doorbells.take(delivery, owner="owner", epoch=1)

    assert doorbells.lease == delivery
    assert doorbells.changes_lease is is_doubtful


@pytest.mark.parametrize(
    ("kind", "data"),
    [
        pytest.param("start", b'{"workflow":"Relit"}', id="a start"),
        pytest.param("wake", b'{"kind":"Relit"', id="what nobody can read"),
    ],
)
async def test_a_message_that_speaks_of_a_relit_is_none_for_that(kind: str, data: bytes) -> None:
    server = MemoryServer()
    delivery = await _delivery_on(server)
    doorbells = Doorbells(server.door("owner"), _RUN)
    doorbells.take(delivery, owner="owner", epoch=1)
    subject = delivery.subject.replace(".wake.", f".{kind}.")
    other = replace(delivery, subject=subject, sequence=delivery.sequence + 1, data=data)

    doorbells.take(other, owner="owner", epoch=1)

    assert doorbells.lease == delivery
    assert doorbells.held() == [delivery, other]
