"""What the floor is made of: nats-py, and as little as possible around it.

One reply subscription for all acknowledgements, because `js.publish` with a subscription for each costs twice as much:
the floor is what a careful program reaches, not a careless one.
"""

from __future__ import annotations

import asyncio

import nats
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.js.api import AckPolicy, ConsumerConfig, StorageType, StreamConfig

__all__ = ("PAYLOAD", "BareConnection", "make_streams")

PAYLOAD = b'{"step":"charge_card#1","result":{"id":"' + b"0123456789" * 15 + b'","cents":1250}}'
_FENCE = "Nats-Expected-Last-Subject-Sequence"


class BareConnection:
    """A connection that publishes under a fence and waits for the acknowledgement."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self._inbox = client.new_inbox() + "."
        self._acknowledged: dict[str, asyncio.Future[bytes]] = {}
        self._published = 0

    @classmethod
    async def open(cls, url: str) -> BareConnection:
        connection = cls(await nats.connect(url))
        await connection.client.subscribe(connection._inbox + "*", cb=connection._on_acknowledgement)
        return connection

    async def close(self) -> None:
        await self.client.close()

    async def publish(self, subject: str, *, fence: int) -> int:
        """Store `PAYLOAD` and return its sequence."""
        self._published += 1
        reply = self._inbox + str(self._published)
        acknowledged = self._acknowledged[reply] = asyncio.get_running_loop().create_future()
        await self.client.publish(subject, PAYLOAD, reply=reply, headers={_FENCE: str(fence)})
        answer = await acknowledged
        if b'"error"' in answer:
            raise RuntimeError(f"{subject} was refused: {answer.decode()}")
        digits, _, _ = answer.partition(b'"seq":')[2].partition(b",")
        return int(digits.strip(b"} "))

    async def _on_acknowledgement(self, message: Msg) -> None:
        self._acknowledged.pop(message.subject).set_result(message.data)


async def make_streams(url: str, shards: int) -> None:
    """Make a stream and its consumer for each shard, with file storage."""
    client = await nats.connect(url)
    manager = client.jetstream()
    for shard in range(shards):
        stream = f"FLOOR_{shard}"
        subjects = [f"log.{shard}.>", f"start.{shard}.>"]
        config = StreamConfig(name=stream, subjects=subjects, storage=StorageType.FILE, allow_direct=True)
        await manager.add_stream(config)
        consumer = ConsumerConfig(
            durable_name="starts",
            filter_subject=f"start.{shard}.queue.*",
            ack_policy=AckPolicy.EXPLICIT,
            max_ack_pending=5_000,
        )
        await manager.add_consumer(stream, consumer)
    await client.close()
