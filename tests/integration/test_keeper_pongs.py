"""A pong that comes too late must not cost the keeper its connection: nats-py's own client stops reading there."""

from __future__ import annotations

import asyncio

from relight.actors.jetstream.client import Access
from relight.actors.jetstream.keeper_connection import connect
from relight.config.server import EmbeddedServer


async def test_a_ping_that_was_given_up_does_not_end_the_reading(shared_server: EmbeddedServer) -> None:
    client = await connect(
        Access(servers=(shared_server.url,)), name="pongs", reconnected=lambda: None, closed=lambda: None
    )
    given_up = asyncio.create_task(client.rtt())
    while not client._pongs:  # pyright: ignore[reportUnknownMemberType, reportPrivateUsage]  # sent, not yet answered
        await asyncio.sleep(0)

    given_up.cancel()
    await asyncio.wait([given_up])

    assert await client.rtt() > 0
    await client.close()
