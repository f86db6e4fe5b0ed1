"""A worker of the floor: for each start three fenced records, a notice and an ack. Not a promise is kept by it."""

from __future__ import annotations

import asyncio
import sys

from nats.aio.msg import Msg

from benchmarks.bare_nats import BareConnection
from benchmarks.event_loop import run

_BATCH = 500
_HOUR_NS = 3_600_000_000_000


class _Pull:
    """One long-lived pull: more is asked for when half of it has come."""

    def __init__(self, connection: BareConnection, shard: int) -> None:
        self._connection = connection
        self._shard = shard
        self._inbox = connection.client.new_inbox()
        self._left = 0
        self._flows: set[asyncio.Task[None]] = set()

    async def open(self) -> None:
        await self._connection.client.subscribe(self._inbox, cb=self._on_message)
        await self._ask()

    async def _ask(self) -> None:
        self._left += _BATCH
        request = b'{"batch":%d,"expires":%d}' % (_BATCH, _HOUR_NS)
        subject = f"$JS.API.CONSUMER.MSG.NEXT.FLOOR_{self._shard}.starts"
        await self._connection.client.publish(subject, request, reply=self._inbox)

    async def _on_message(self, message: Msg) -> None:
        if not message.data:
            return  # A status. A worker that promises anything must act on it.
        self._left -= 1
        flow = asyncio.create_task(self._flow(message))
        self._flows.add(flow)
        flow.add_done_callback(self._flows.discard)
        if self._left <= _BATCH // 2:
            await self._ask()

    async def _flow(self, message: Msg) -> None:
        run_id = message.subject.rsplit(".", 1)[1]
        sequence = 0
        for _ in range(3):
            sequence = await self._connection.publish(f"log.{self._shard}.{run_id}", fence=sequence)
        await self._connection.client.publish(f"done.{run_id}", b"")
        await message.ack()


async def main(url: str, shards: int) -> None:
    connection = await BareConnection.open(url)
    for shard in range(shards):
        await _Pull(connection, shard).open()
    await connection.client.flush()
    print("ready", flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    run(main(sys.argv[1], int(sys.argv[2])))
