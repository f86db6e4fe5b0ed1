"""The cluster that other tests stand on."""

from __future__ import annotations

from tests.cluster_of_three import ClusterOfThree
from tests.integration.door_on_server import door, eventually
from tests.raw_nats import connected, create_stream, last_message, store

from relight.config.server import EmbeddedServer


async def test_a_stream_with_three_replicas_survives_the_kill_of_its_leader(cluster: ClusterOfThree) -> None:
    async with connected(cluster.urls) as connection:
        await create_stream(connection, "DEMO", replicas=3)
        await store(connection, "DEMO", b"before")

    leader = await cluster.leader_of("DEMO")
    leader.kill()
    await cluster.formed()
    successor = await cluster.leader_of("DEMO")
    leader.start()
    await cluster.formed()

    assert successor is not leader
    async with connected(leader.url) as connection:
        assert await last_message(connection, "DEMO") == b"before"


async def test_a_door_knows_whether_its_server_is_one_of_several(
    cluster: ClusterOfThree, shared_server: EmbeddedServer, namespace: str
) -> None:
    async with await door(cluster.nodes["node-1"], namespace) as one, await door(shared_server, namespace) as other:
        assert (one.is_spread, other.is_spread) == (True, False)


async def test_an_address_that_the_cluster_tells_of_no_more_is_forgotten(
    cluster: ClusterOfThree, namespace: str
) -> None:
    """A reconnect would try each former one, for as long as a connection may take."""
    async with await door(cluster.nodes["node-0"], namespace) as one:
        pool = one._connection._server_pool  # pyright: ignore[reportPrivateUsage]
        await eventually(lambda: len(pool) == 3)

        cluster.nodes["node-2"].kill()

        await eventually(lambda: len(pool) == 2)
