"""Connecting ends in time, whatever keeps nats-py from it."""

from __future__ import annotations

import asyncio
import os
import signal
import ssl
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest

from relight import UnavailableError
from relight.actors.jetstream.client import Access, SturdyClient
from relight.actors.jetstream.connection import Connection
from relight.actors.jetstream.keeper_connection import connect
from relight.config.server import EmbeddedServer

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


async def test_a_server_that_is_stopped_while_much_is_to_be_sent_holds_nobody_back(server: EmbeddedServer) -> None:
    connection = await Connection.open(Access(servers=(server.url,)), name="main")
    os.kill(server.process_id, signal.SIGSTOP)
    try:
        while connection.takes_more:
            connection.send("much", b"x" * 200_000)
            await asyncio.sleep(0)
        draining = asyncio.ensure_future(connection.drain_writes())

        async with asyncio.timeout(20):
            await connection.close()
            await asyncio.wait((draining,))
    finally:
        os.kill(server.process_id, signal.SIGCONT)

    assert draining.done()
    draining.exception()


async def test_a_subscription_that_was_refused_and_ended_is_not_made_at_the_reconnect(server: EmbeddedServer) -> None:
    connection = await Connection.open(Access(servers=(server.url,)), name="main")
    heard: list[bytes] = []
    server.kill()
    while connection.is_open:
        await asyncio.sleep(0.01)
    listening = connection.listen("notices", lambda _subject, _reply, data, _headers: heard.append(data))
    kept = connection.listen("others", lambda _subject, _reply, data, _headers: heard.append(data))
    await listening.close()
    server.start()
    async with asyncio.timeout(20):
        while not connection.is_open:
            await asyncio.sleep(0.01)
    await connection.confirm()
    lane = connection._slow_lane  # pyright: ignore[reportPrivateUsage]
    strays: list[object] = []
    put = lane.put_nowait

    def note_and_put(item: Any) -> None:
        if not isinstance(item, bytes):
            strays.append("a message for nobody")
        put(item)

    lane.put_nowait = note_and_put

    connection.send("notices", b"unwanted")
    connection.send("others", b"wanted")
    await connection.confirm()
    assert heard == [b"wanted"]
    assert strays == []
    await kept.close()
    await connection.close()


def _nothing() -> None:
    """Nobody waits for it."""
