"""The cluster that other tests stand on."""

from __future__ import annotations

import nats
from nats.js.api import StreamConfig

from tests.cluster_of_three import ClusterOfThree


async def test_a_stream_with_three_replicas_survives_the_kill_of_its_leader(cluster: ClusterOfThree) -> None:
    connection = await nats.connect(cluster.urls)
    stream = connection.jetstream(timeout=10)
    await stream.add_stream(StreamConfig(name="DEMO", subjects=["demo"], num_replicas=3))
    await stream.publish("demo", b"before")
    await connection.close()

    leader = await cluster.leader_of("DEMO")
    leader.kill()
    await cluster.formed()
    successor = await cluster.leader_of("DEMO")
    leader.start()
    await cluster.formed()

    assert successor is not leader
    connection = await nats.connect([leader.url])
    assert (await connection.jetstream(timeout=10).get_last_msg("DEMO", "demo")).data == b"before"
    await connection.close()
