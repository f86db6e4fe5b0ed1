"""The system under measurement: a server of its own in a directory of its own, and worker processes."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path

from benchmarks.event_loop import run
from benchmarks.processes import python_processes
from benchmarks.workflows import three_steps
from relight import Relight
from relight.config.limits import LIMITS
from relight.config.server import EmbeddedServer

__all__ = ("NAMESPACE", "System", "flow", "system", "wait_until_at_rest")

NAMESPACE = "benchmarks"
_WARM_UP = 200


class System:
    """A server and its workers; this process is the client."""

    def __init__(self, server: EmbeddedServer, workers: list[int]) -> None:
        self.server = server
        self.workers = workers

    def client(self) -> Relight:
        return Relight(self.server.url, namespace=NAMESPACE)


async def flow(client: Relight, number: int) -> str:
    """Start a three-step workflow, wait for its result, and return its id."""
    run = await client.start(three_steps, number)
    await run.result()
    return run.id


@contextmanager
def system(*, shards: int = 1, sync: str = "default", workers: int = 2) -> Generator[System]:
    """Start a server with the system account in use, as `relight dev` does, and warm the workers up."""
    with tempfile.TemporaryDirectory(prefix="relight-") as directory:
        with EmbeddedServer(Path(directory), sync=sync) as server:
            environment = {
                "RELIGHT_URL": server.url,
                "RELIGHT_SYSTEM_URL": server.system_url,
                "RELIGHT_NAMESPACE": NAMESPACE,
                "RELIGHT_SHARDS": str(shards),
            }
            with python_processes(workers, "benchmarks.worker", environment=environment) as processes:
                one = System(server, processes)
                if workers:
                    run(_warm_up(one))
                yield one


async def _warm_up(one: System) -> None:
    async with one.client() as client:
        for number in range(_WARM_UP):
            await flow(client, number)


async def wait_until_at_rest(client: Relight, runs: Sequence[str]) -> None:
    """Return when these runs wait and their owners have dropped them from memory."""
    for run_id in runs:
        # It happens in another process, so there is no event to wait for.
        while (await client.get_run(run_id).describe()).status != "waiting":
            await asyncio.sleep(0.01)
    await asyncio.sleep(LIMITS.linger_s * 1.5)
