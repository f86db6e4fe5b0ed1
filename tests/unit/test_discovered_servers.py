"""Servers that a client hears of are entered as the user of the one that it knew."""

from __future__ import annotations

from typing import Any

from relight.actors.jetstream.client import SturdyClient

OTHERS = {"connect_urls": ["one:4222", "two:4222", "three:4222"]}


async def pool_of(*urls: str) -> list[str]:
    client: Any = SturdyClient()
    client.options["dont_randomize"] = True
    client._setup_server_pool(list(urls))
    client._current_server = client._server_pool[0]
    client._server_info = {}
    for _ in range(2):
        await client._process_info(OTHERS, initial_connection=True)
    return [one.uri.netloc for one in client._server_pool]


async def test_a_discovered_server_gets_the_user_of_the_address() -> None:
    assert await pool_of("nats://system:secret@one:4222") == [
        f"system:secret@{one}:4222" for one in ("one", "two", "three")
    ]


async def test_one_that_was_named_is_not_added_without_its_user() -> None:
    named = [f"nats://system:secret@{one}:4222" for one in ("one", "two")]

    assert await pool_of(*named) == [f"system:secret@{one}:4222" for one in ("one", "two", "three")]


async def test_what_was_named_without_a_user_is_told_none() -> None:
    pool = await pool_of("nats://system:secret@one:4222", "nats://two:4222")

    assert pool == ["system:secret@one:4222", "two:4222", "system:secret@three:4222"]


async def test_without_a_user_nothing_changes() -> None:
    assert await pool_of("nats://one:4222") == ["one:4222", "two:4222", "three:4222"]
