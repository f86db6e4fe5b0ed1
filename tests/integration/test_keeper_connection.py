"""The connections of a worker's keeper, and what they say while nobody lets them in."""

from __future__ import annotations

import asyncio
from typing import Any

from structlog.testing import capture_logs
from tests.processes import eventually

from relight.actors.jetstream.client import Access
from relight.actors.jetstream.keeper_connection import connect
from relight.config.server import EmbeddedServer


async def test_a_server_that_stays_away_is_a_line_or_two_however_often_it_is_tried(server: EmbeddedServer) -> None:
    with capture_logs() as lines:
        access = Access(servers=(server.url,))
        client: Any = await connect(access, name="keeper", reconnected=_nothing, closed=_nothing)
        server.kill()
        # nats-py tells only itself how often it has tried.
        await asyncio.to_thread(eventually, lambda: client._current_server.reconnects >= 8)
        await client.close()

    said = [one["event"] for one in lines]
    assert said.count("connection_lost") == 1
    assert said.count("connection_error") <= 3


def _nothing() -> None:
    """Nobody waits for it."""
