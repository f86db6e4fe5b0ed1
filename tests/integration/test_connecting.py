"""Connecting ends in time, whatever keeps nats-py from it."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest

from relight import UnavailableError
from relight.actors.jetstream.client import Access, SturdyClient
from relight.actors.jetstream.connection import Connection
from relight.actors.jetstream.keeper_connection import connect

_INFO = (
    b'INFO {"server_id": "x", "version": "2.15.0", "max_payload": 1048576, "headers": true, "tls_required": true}\r\n'
)


@asynccontextmanager
async def mute_after_its_greeting() -> AsyncGenerator[str]:
    """A server that asks for TLS and then says nothing more."""

    async def greet(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(_INFO)
        ended.append(writer)

    ended: list[asyncio.StreamWriter] = []
    async with await asyncio.start_server(greet, "127.0.0.1", 0) as server:
        yield f"tls://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        for writer in ended:
            writer.close()


async def as_main(access: Access) -> None:
    await Connection.open(access, name="main")


async def as_keeper(access: Access) -> None:
    await connect(access, name="keeper", reconnected=_nothing, closed=_nothing)


@pytest.mark.parametrize("entering", [as_main, as_keeper])
async def test_a_handshake_that_stops_half_way_is_given_up_in_time(
    entering: Callable[[Access], Awaitable[None]],
) -> None:
    async with asyncio.timeout(20), mute_after_its_greeting() as url:
        access = Access(servers=(url,), tls=ssl.create_default_context(), connect_timeout_s=0.3)

        with pytest.raises(UnavailableError, match=r"within 0\.3 s"):
            await entering(access)


class Deaf(SturdyClient):
    """Swallows the first cancellation, as nats-py does now and then."""

    is_entering = False

    async def connect(self, *_servers: Any, **_options: Any) -> None:
        self.is_entering = True
        try:
            with suppress(asyncio.CancelledError):
                await asyncio.Event().wait()
            await asyncio.Event().wait()
        finally:
            self.is_entering = False


async def test_a_cancellation_that_is_swallowed_is_repeated() -> None:
    client = Deaf()

    async with asyncio.timeout(20):
        with pytest.raises(UnavailableError, match="no answer"):
            await client.enter(Access(servers=("nats://127.0.0.1:1",), connect_timeout_s=0.05))

    assert not client.is_entering


async def test_who_is_cancelled_while_connecting_stays_so() -> None:
    client = Deaf()
    entering = asyncio.ensure_future(client.enter(Access(servers=("nats://127.0.0.1:1",))))
    while not client.is_entering:
        await asyncio.sleep(0)

    entering.cancel()

    async with asyncio.timeout(20):
        with pytest.raises(asyncio.CancelledError):
            await entering

    assert not client.is_entering


def _nothing() -> None:
    """Nobody waits for it."""
