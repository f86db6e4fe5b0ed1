"""Worker processes under a test's control, and what they left behind: executions, journals, leases."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections import Counter
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Self, final

from nats.aio.client import Client
from tests.crash.apps import Orders, text_of
from tests.processes import eventually
from tests.raw_nats import connected

from relight import Relight
from relight.actors.journal import read_history, read_tail
from relight.subjects import records as r
from relight.subjects.turn import Turn

__all__ = ("Execution", "Fleet", "WorkerProcess", "consumer", "executions", "journal", "no_lease_left", "soon")


class Execution(NamedTuple):
    """One line that a step wrote down."""

    step: str
    run: str
    process: int
    at: float


@final
class WorkerProcess:
    """One worker. `id` is what it calls itself in the journal; its log goes to `log`."""

    def __init__(self, process: asyncio.subprocess.Process, id: str, log: Path) -> None:
        self.process = process
        self.id = id
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
    """Starts workers on one namespace and ends them all."""

    def __init__(self, directory: Path, url: str, namespace: str, *, system_url: str | None = None) -> None:
        self.directory = directory
        self._url = url
        self._namespace = namespace
        self._system_url = system_url
        self._workers: list[WorkerProcess] = []
        self._number = 0

    async def worker(
        self,
        *workflows: str,
        url: str = "",
        queues: Sequence[str] = ("default",),
        concurrency: int = 200,
        variant: str = "",
    ) -> WorkerProcess:
        """Start a worker and return it when it works."""
        orders = Orders(
            url=url or self._url,
            namespace=self._namespace,
            workflows=workflows,
            queues=tuple(queues),
            concurrency=concurrency,
            variant=variant,
        )
        self._number += 1
        log = self.directory / f"worker-{self._number}.log"
        with log.open("w") as errors:
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "tests.crash.apps", text_of(orders),
                stdout=asyncio.subprocess.PIPE, stderr=errors, env=self._environment(),
            )  # fmt: skip
        assert process.stdout is not None
        worker = WorkerProcess(process, (await process.stdout.readline()).decode().strip(), log)
        self._workers.append(worker)
        await asyncio.to_thread(eventually, lambda: "worker_started" in log.read_text() or bool(process.returncode))
        assert process.returncode is None, log.read_text()
        return worker

    async def end(self) -> None:
        """Kill what still runs."""
        for worker in self._workers:
            if worker.process.returncode is None:
                worker.process.kill()
            await worker.process.wait()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.end()
        if error is not None:
            for worker in self._workers:
                print(f"--- {worker.id} ({worker.log.name})\n{worker.log.read_text()[-4000:]}")

    def _environment(self) -> dict[str, str]:
        environment = {name: value for name, value in os.environ.items() if not name.startswith("RELIGHT_")}
        if self._system_url is not None:
            environment["RELIGHT_SYSTEM_URL"] = self._system_url
        return environment


def executions(directory: Path, *, step: str = "", run: str = "") -> list[Execution]:
    """What the steps wrote down, in order."""
    path = directory / "executions"
    lines = path.read_text().splitlines() if path.exists() else []
    found = [Execution(*json.loads(line)) for line in lines]
    return [one for one in found if (not step or one.step == step) and (not run or one.run == run)]


async def soon(directory: Path, step: str, *, count: int = 1, run: str = "") -> list[Execution]:
    """Return the executions of a step when there are so many."""
    await asyncio.to_thread(eventually, lambda: len(executions(directory, step=step, run=run)) >= count)
    return executions(directory, step=step, run=run)


async def journal(relight: Relight, run: str) -> tuple[Turn, ...]:
    """Return the turns of a run, after checking what holds for every journal.

    The chain has neither gap nor break, no step has two outcomes, epochs never go back and each has one owner.
    """
    subject = relight.subjects.log(run)
    tail = await read_tail(relight.door, subject)
    assert tail is not None, f"{run} has no journal"
    turns = (await read_history(relight.door, subject, tail[0])).turns
    outcomes = Counter(
        record.step for turn in turns for record in turn.records if isinstance(record, r.StepCompleted | r.StepFailed)
    )
    assert all(count == 1 for count in outcomes.values()), outcomes
    assert len({turn.append for turn in turns}) == len(turns)
    for before, after in pairwise(turns):
        assert after.epoch >= before.epoch
        assert after.epoch > before.epoch or after.owner == before.owner
        assert after.cursor >= before.cursor
    return turns


async def no_lease_left(url: str, namespace: str, *, queue: str = "default") -> None:
    """Return when nothing of a queue is under delivery, and nothing waits to be delivered."""
    async with asyncio.timeout(20), connected(url) as connection:
        for kind in ("start", "wake"):
            while True:
                info = await consumer(connection, namespace, kind, queue)
                if info.get("num_ack_pending") == 0 and info.get("num_pending") == 0:
                    break
                await asyncio.sleep(0.01)


async def consumer(connection: Client, namespace: str, kind: str, queue: str = "default") -> dict[str, int]:
    """Return the server's account of a queue's consumer; empty if there is none."""
    subject = f"$JS.API.CONSUMER.INFO.RELIGHT_{namespace}_RUN_0.{kind}-{queue}"
    reply = await connection.request(subject, b"", timeout=5)
    info: dict[str, int] = json.loads(reply.data)
    return {} if "error" in info else info

