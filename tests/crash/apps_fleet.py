"""Worker processes under a test's control, and what they left behind: executions, journals, leases."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import pairwise, product
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Self, final

import structlog
from pydantic import BaseModel
from tests.cluster_of_three import ClusterOfThree
from tests.crash import apps
from tests.crash.apps import Orders, relight_of, text_of
from tests.forked import Forked, become
from tests.processes import eventually
from tests.raw_nats import connected

from relight import RunDescription, UnavailableError
from relight.actors.journal import read_history, read_tail
from relight.config.server import EmbeddedServer
from relight.subjects import records as r
from relight.subjects.turn import Turn

__all__ = ("Consumer", "Execution", "Fleet", "WorkerProcess", "check_chain", "no_lease_left")


class Execution(NamedTuple):
    """One line that a step wrote down."""

    step: str
    run: str
    process: int
    at: float


class Delivered(BaseModel):
    """How far a consumer is: deliveries made, and the last message delivered; or how far all is acknowledged."""

    consumer_seq: int = 0
    stream_seq: int = 0


class Consumer(BaseModel):
    """The server's account of a consumer. `num_waiting` counts the pulls."""

    num_waiting: int = 0
    num_ack_pending: int = 0
    num_pending: int = 0
    delivered: Delivered = Delivered()
    ack_floor: Delivered = Delivered()


def _work(orders: str, log: Path, environment: dict[str, str]) -> None:
    become(environment, out=log, err=log)
    structlog.configure(logger_factory=structlog.PrintLoggerFactory())
    asyncio.run(apps.main(Orders(**json.loads(orders))))


@final
class WorkerProcess:
    """One worker. `id` is what it calls itself in the journal; its log goes to `log`."""

    def __init__(self, process: Forked, log: Path) -> None:
        self.process = process
        self.id = ""
        self.log = log

    @property
    def pid(self) -> int:
        return self.process.pid

    def signal(self, number: signal.Signals) -> None:
        os.kill(self.pid, number)

    async def kill(self) -> None:
        """`kill -9`, and wait for the end."""
        self.process.kill()
        await self.process.wait()


@final
class Fleet:
    """A client and any number of workers on one namespace. Use it with `async with`; it ends all of them.

    Workers see each other's deaths if `sees_deaths`, as wherever Relight has the system account. `limits` are other
    values for bounds of the workers' watchdog.
    """

    def __init__(
        self,
        server: EmbeddedServer | ClusterOfThree,
        namespace: str,
        directory: Path,
        *,
        sees_deaths: bool = False,
        replicas: int = 1,
        shards: int = 1,
        limits: Mapping[str, float] | None = None,
    ) -> None:
        self.directory = directory
        self.text = str(directory)
        self.namespace = namespace
        self.urls = server.urls if isinstance(server, ClusterOfThree) else [server.url]
        system = server.system_urls if isinstance(server, ClusterOfThree) else [server.system_url]
        self._system_urls = system if sees_deaths else []
        self._replicas = replicas
        self._shards = shards
        # The streams are made by whoever comes first: that is this client.
        orders = Orders(url=",".join(self.urls), namespace=namespace, replicas=replicas, shards=shards)
        self.relight = relight_of(orders)
        self._logs = 0
        self._limits = dict(limits or {})
        self._workers: list[WorkerProcess] = []

    async def worker(
        self,
        *workflows: str,
        url: str = "",
        queues: Sequence[str] = ("default",),
        concurrency: int = 200,
        variant: str = "",
        version: str = "",
        adopts: Sequence[str] = (),
    ) -> WorkerProcess:
        """Start a worker and return it when it works."""
        orders = Orders(
            url=url or ",".join(self.urls),
            namespace=self.namespace,
            workflows=workflows,
            queues=tuple(queues),
            concurrency=concurrency,
            variant=variant,
            version=version,
            adopts=tuple(adopts),
            replicas=self._replicas,
            shards=self._shards,
            limits=self._limits,
        )
        self._logs += 1
        log = self.directory / f"worker-{self._logs}.log"
        log.touch()
        process = Forked(_work, text_of(orders), log, self._environment())
        worker = WorkerProcess(process, log)
        self._workers.append(worker)
        await asyncio.to_thread(eventually, lambda: "worker_started" in log.read_text() or bool(process.returncode))
        assert process.returncode is None, log.read_text()
        worker.id = log.read_text().partition("\n")[0]
        return worker

    # What they did.

    def executions(self, step: str = "", *, run: str = "") -> list[Execution]:
        """What the steps wrote down, in order."""
        path = self.directory / "executions"
        # What has no end yet is being written at this moment.
        lines = path.read_text().split("\n")[:-1] if path.exists() else []
        found = [Execution(*json.loads(line)) for line in lines]
        return [one for one in found if (not step or one.step == step) and (not run or one.run == run)]

    async def soon(self, step: str, count: int = 1, *, run: str = "") -> list[Execution]:
        """Return the executions of a step when there are so many."""
        await asyncio.to_thread(eventually, lambda: len(self.executions(step, run=run)) >= count)
        return self.executions(step, run=run)

    def open_the_gate(self) -> None:
        """Let all steps that wait for the test go on."""
        (self.directory / "go").touch()

    async def journal(self, run: str) -> tuple[Turn, ...]:
        """Return the turns of a run, checked by `check_chain`."""
        subject = self.relight.subjects.log(run)
        tail = await read_tail(self.relight.door, subject)
        assert tail is not None, f"{run} has no journal"
        turns = (await read_history(self.relight.door, subject, tail[0])).turns
        check_chain(turns)
        return turns

    async def appended(self, run: str, count: int) -> None:
        """Return when the journal has so many messages."""
        async with asyncio.timeout(20):
            while (await self.relight.door.count(self.relight.subjects.log(run))) < count:
                await asyncio.sleep(0.005)

    async def turned(self, run: str, number: int) -> tuple[Turn, ...]:
        """Return the turns of a run when there are so many."""
        await self.appended(run, number)
        return await self.journal(run)

    async def recorded(self, run: str, kind: type[r.Record], count: int = 1) -> None:
        """Return when so many records of this kind are in the journal, whichever turns they share."""
        async with asyncio.timeout(20):
            while sum(isinstance(one, kind) for turn in await self.turned(run, 1) for one in turn.records) < count:
                await asyncio.sleep(0.005)

    async def status(self, run: str, wanted: str) -> RunDescription:
        """Return the run's description once it has this status."""
        async with asyncio.timeout(20):
            while True:
                with contextlib.suppress(UnavailableError):  # Where a node has just died, nobody leads for a moment.
                    seen = await self.relight.get_run(run).describe()
                    if seen.status == wanted:
                        return seen
                await asyncio.sleep(0.01)

    async def consumer(self, kind: str, queue: str = "default", shard: int = 0) -> Consumer:
        """Return the server's account of a queue's consumer of one stream; all zero if there is none."""
        return await consumer(self.urls, self.namespace, kind, queue, shard)

    async def no_lease_left(self, queue: str = "default") -> None:
        """Return when nothing of a queue is under delivery, and nothing waits to be delivered."""
        await no_lease_left(self.urls, self.namespace, queue, shards=self._shards)

    async def end(self) -> None:
        """Kill what still runs."""
        for worker in self._workers:
            if worker.process.returncode is None:
                worker.process.kill()
            await worker.process.wait()

    async def __aenter__(self) -> Self:
        await self.relight.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.end()
        await self.relight.__aexit__(kind, error, traceback)
        if error is not None:
            for worker in self._workers:
                lines = [one for one in worker.log.read_text().splitlines() if "activation_begins" not in one]
                print(f"--- {worker.id} ({worker.log.name})", *lines[-40:], sep="\n")

    def _environment(self) -> dict[str, str]:
        environment = {name: value for name, value in os.environ.items() if not name.startswith("RELIGHT_")}
        if self._system_urls:
            environment["RELIGHT_SYSTEM_URL"] = ",".join(self._system_urls)
        return environment


async def consumer(urls: list[str], namespace: str, kind: str, queue: str = "default", shard: int = 0) -> Consumer:
    """Return the server's account of a queue's consumer of one stream; all zero if there is none."""
    async with connected(urls) as connection:
        subject = f"$JS.API.CONSUMER.INFO.RELIGHT_{namespace}_RUN_{shard}.{kind}-{queue}"
        reply = await connection.request(subject, b"", timeout=5)
    return Consumer.model_validate_json(reply.data)


async def no_lease_left(urls: list[str], namespace: str, queue: str = "default", *, shards: int = 1) -> None:
    """Return when nothing of a queue is under delivery, and nothing waits to be delivered."""
    async with asyncio.timeout(20):
        for kind, shard in product(("start", "wake"), range(shards)):
            while (info := await consumer(urls, namespace, kind, queue, shard)).num_ack_pending + info.num_pending:
                await asyncio.sleep(0.01)


def check_chain(turns: Sequence[Turn]) -> None:
    """Check what holds for every journal whose hashes were found to be right.

    No step has two outcomes, epochs never go back and each has one owner, no append was written twice.
    """
    ends = [one for turn in turns for one in turn.records if isinstance(one, r.StepCompleted | r.StepFailed)]
    assert max(Counter(one.step for one in ends).values(), default=0) <= 1, ends
    assert len({turn.append for turn in turns}) == len(turns)
    for before, after in pairwise(turns):
        assert after.epoch >= before.epoch
        assert after.epoch > before.epoch or after.owner == before.owner
        assert after.cursor >= before.cursor
