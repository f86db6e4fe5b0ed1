"""The floor: what bare nats-py reaches with the messages that a durable run needs, doing nothing else.

Two figures: a sequential fenced publish with its acknowledgement (`publish_us`), and flows per second (`flows_per_s`):
a start, three fenced records of which the last one ends the run, a notice of the end, an ack; one client process, two
worker processes, 400 flows in flight.

    python -m benchmarks.floor [--shards 8] [--sync always]
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import tempfile
import time
import uuid
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from nats.aio.msg import Msg

from benchmarks.bare_nats import BareConnection, make_streams
from benchmarks.event_loop import run
from benchmarks.processes import python_processes
from relight.config.server import EmbeddedServer

__all__ = ("IN_FLIGHT", "Floor", "floor")

IN_FLIGHT = 400
_WARM_UP = 200


class Floor:
    """The floor's own server and workers, idle between measurements."""

    def __init__(self, url: str, shards: int) -> None:
        self._url = url
        self._shards = shards

    def publish_us(self, count: int = 2_000) -> float:
        """Microseconds of a fenced publish and its acknowledgement, one after the other, p50."""
        return run(self._sequential(count))

    def flows_per_s(self, count: int) -> float:
        """Flows per second, `IN_FLIGHT` at the same time."""
        return run(self._flows(count))

    async def _sequential(self, count: int) -> float:
        connection = await BareConnection.open(self._url)
        subject, sequence, times = f"log.0.{uuid.uuid4().hex}", 0, list[float]()
        for _ in range(count):
            began = time.perf_counter()
            sequence = await connection.publish(subject, fence=sequence)
            times.append(time.perf_counter() - began)
        await connection.close()
        return statistics.median(times) * 1e6

    async def _flows(self, count: int) -> float:
        connection = await BareConnection.open(self._url)
        ended: dict[str, asyncio.Future[None]] = {}

        async def on_end(message: Msg) -> None:
            ended.pop(message.subject).set_result(None)

        await connection.client.subscribe("done.*", cb=on_end)
        places = asyncio.Semaphore(IN_FLIGHT)

        async def flow(number: int) -> None:
            async with places:
                run_id = uuid.uuid4().hex
                end = ended[f"done.{run_id}"] = asyncio.get_running_loop().create_future()
                await connection.publish(f"start.{number % self._shards}.queue.{run_id}", fence=0)
                await end

        began = time.perf_counter()
        await asyncio.gather(*(flow(number) for number in range(count)))
        took_s = time.perf_counter() - began
        await connection.close()
        return count / took_s


@contextmanager
def floor(*, shards: int = 1, sync: str = "default", workers: int = 2) -> Generator[Floor]:
    """Start a server of its own and the floor's workers."""
    with tempfile.TemporaryDirectory(prefix="floor-") as directory:
        with EmbeddedServer(Path(directory), sync=sync) as server:
            run(make_streams(server.url, shards))
            with python_processes(workers, "benchmarks.floor_worker", server.url, str(shards), environment={}):
                one = Floor(server.url, shards)
                if workers:
                    one.flows_per_s(_WARM_UP)
                yield one


def main() -> None:
    parser = argparse.ArgumentParser(description="What bare nats-py reaches.")
    parser.add_argument("--shards", type=int, default=1)
    parser.add_argument("--sync", default="default")
    options = parser.parse_args()
    with floor(shards=options.shards, sync=options.sync) as one:
        print(json.dumps({"publish_us": round(one.publish_us(), 1)}), flush=True)
        print(json.dumps({"flows_per_s": round(one.flows_per_s(5_000), 1)}), flush=True)


if __name__ == "__main__":
    main()
