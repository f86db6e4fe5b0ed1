"""A pong that comes too late must not cost the keeper its connection: nats-py's own client stops reading there."""

from __future__ import annotations

import asyncio
from functools import partialmethod

import pytest
from nats.aio.client import Client
from structlog.testing import capture_logs
from tests.crash.apps_proxy import Proxy

from relight.actors.jetstream.client import Access, SturdyClient
from relight.actors.jetstream.keeper import Keeper, KeeperOptions
from relight.actors.jetstream.keeper_connection import connect
from relight.config.server import EmbeddedServer
from relight.subjects.ids import WorkerId


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


async def test_a_server_that_is_silent_while_a_further_session_begins_does_not_end_the_keeper(
    shared_server: EmbeddedServer, namespace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(SturdyClient, "rtt", partialmethod(Client.rtt, timeout=0.3))  # Ten seconds else.
    worker = WorkerId("w")
    with capture_logs() as lines:
        async with asyncio.timeout(30), Proxy(shared_server.url) as proxy:
            access = Access(servers=(proxy.url,))
            keeper = Keeper(KeeperOptions(namespace=namespace, worker=worker, access=access))
            await keeper.start()
            await keeper.answer(worker, lambda _question: b"mine")
            first = proxy.part("keeper")
            first.writers["client"].write(b"-ERR 'User Authentication Expired'\r\n")
            while proxy.part("keeper") is first:
                await asyncio.sleep(0)  # Each pass of the loop: what is to be held passes two or three later.
            second = proxy.part("keeper")
            second.hold_after(b".owner.w ", "server")
            await second.was_triggered.wait()
            while [line["event"] for line in lines].count("keeper_session_over") < 2:
                await asyncio.sleep(0.01)

            second.let_go()

            while not keeper.is_fresh():
                await asyncio.sleep(0.01)
            await keeper.stop()

    assert "keeper_failed" not in [line["event"] for line in lines]
