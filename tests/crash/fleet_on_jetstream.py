"""Workers in this process on a real server, each behind a door that can be severed."""

from __future__ import annotations

import asyncio
import itertools
from collections import Counter, defaultdict
from typing import Any, Self, final

from tests.crash.attempts import Attempt
from tests.crash.severed_door import SeveredDoor
from tests.crash.workflows import SCENARIOS, SECRETS

from relight import Interceptor, Relight, StepCall, Workflow
from relight.actors.host import Host
from relight.actors.jetstream.door import DoorOptions, JetStreamDoor
from relight.actors.jetstream.keeper import Access, Keeper, KeeperOptions, connection_name
from relight.config.limits import Limits
from relight.config.server import EmbeddedServer
from relight.sdk._execution import Launcher
from relight.sdk._programs import WorkflowPrograms
from relight.subjects.grammar import Subjects
from relight.subjects.ids import WorkerId
from relight.testing.memory.faults import OperationName
from relight.testing.trial import Moment

__all__ = ("Fleet",)

_numbers = itertools.count(1)
_LIMITS = Limits(ack_wait_s=1.0, renew_s=0.3)
"""Leases that were too young to be announced lapse sooner than they otherwise do."""


@final
class Noting(Interceptor):
    """Notes who executes each attempt: run, step, number."""

    def __init__(self, worker: WorkerId, executors: defaultdict[Attempt, list[str]]) -> None:
        self._worker = worker
        self._executors = executors

    async def step(self, call: StepCall, next: Any) -> Any:
        key = call.info.idempotency_key.removeprefix(f"{call.info.run_id}:")
        self._executors[call.info.run_id, key, call.info.attempt].append(self._worker)
        return await next(call)


@final
class SeverableWorker:
    """A host with all that belongs to it. `sever` ends it as abruptly as a process can end a part of itself."""

    def __init__(
        self, name: WorkerId, door: SeveredDoor, real: JetStreamDoor, keeper: Keeper, host: Host, launcher: Launcher
    ) -> None:
        self.name = name
        self.door = door
        self._real = real
        self._keeper = keeper
        self._host = host
        self._launcher = launcher
        self._end: asyncio.Task[None] | None = None

    def sever(self) -> None:
        if self._end is None:
            self.door.sever()
            self._end = asyncio.get_running_loop().create_task(self._bury())

    async def close(self) -> None:
        self.sever()
        assert self._end is not None, "made by sever"
        await self._end

    async def _bury(self) -> None:
        self._host.close()
        self._launcher.close()
        await asyncio.gather(self._real.close(), self._keeper.stop())


@final
class Fleet:
    """Two workers at any time; whoever dies is replaced."""

    def __init__(self, server: EmbeddedServer, namespace: str) -> None:
        self.executors: defaultdict[Attempt, list[str]] = defaultdict(list)
        self.victims: dict[str, str] = {}  # Who died of which run.
        self.operations: Counter[str] = Counter()
        self.killed_at: str | None = None
        self.server = server
        self.namespace = namespace
        self.relight = Relight(server.url, namespace=namespace)
        self._target: tuple[str, int, Moment] | None = None
        self._workers: list[SeverableWorker] = []
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        await self.relight.__aenter__()
        await self.hire()
        await self.hire()
        return self

    async def __aexit__(self, *error: object) -> None:
        self._target = None  # Who dies of the end itself is not replaced: nobody would close the new one.
        await self.replace_the_dead()
        for worker in self._workers:
            await worker.close()
        await self.relight.__aexit__(*error)

    def kill_at(self, run: str, number: int, moment: Moment) -> None:
        """The worker that performs this run's operation of this number dies there."""
        self._target, self.killed_at = (run, number, moment), None

    async def replace_the_dead(self) -> None:
        """Return when as many workers are at work as before."""
        await asyncio.gather(*self._tasks)

    async def hire(self) -> None:
        name = WorkerId(f"severable-{next(_numbers)}")
        keeper = Keeper(
            KeeperOptions(
                namespace=self.namespace,
                worker=name,
                access=Access(servers=(self.server.url,)),
                system=Access(servers=(self.server.system_url,)),
                limits=_LIMITS,
            )
        )
        await keeper.start()
        options = DoorOptions(
            namespace=self.namespace,
            access=Access(servers=(self.server.url,)),
            name=connection_name(name, "main"),
            limits=_LIMITS,
        )
        real = await JetStreamDoor.open(options, keeper=keeper)
        door = SeveredDoor(real, self._on_operation)
        launcher = Launcher(
            threads=4, interceptors=[Noting(name, self.executors)], sender=self.relight, secrets=SECRETS.get
        )
        host = Host(
            door,
            Subjects(self.namespace),
            name,
            WorkflowPrograms(_workflows(), launcher, code="same"),
            queues=("default",),
            concurrency=100,
        )
        self._workers.append(SeverableWorker(name, door, real, keeper, host, launcher))
        await host.open()

    def _on_operation(self, door: SeveredDoor, name: OperationName, subject: str, moment: Moment) -> None:
        if self._target is None or self._target[0] not in subject.split("."):
            return
        run, number, when = self._target
        if moment == "before":
            self.operations[run] += 1
        if self.killed_at is None and self.operations[run] == number and moment == when:
            self.killed_at = f"{when} operation {number}, {name} {subject}"
            worker = next(one for one in self._workers if one.door is door)
            self._workers.remove(worker)
            self.victims[run] = worker.name
            worker.sever()
            self._spawn(worker.close())
            self._spawn(self.hire())

    def _spawn(self, coroutine: Any) -> None:
        task = asyncio.get_running_loop().create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _workflows() -> list[Workflow[..., Any]]:
    every = [workflow for one in SCENARIOS.values() for workflow in (one.workflow, *one.others)]
    return list({one.name: one for one in every}.values())
