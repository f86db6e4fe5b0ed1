"""Workers on a server in memory and on virtual time, which a test may kill, stop and resume between two effects."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any, TypeVar, final, get_args

import pytest

from relight import Relight, Workflow
from relight.actors.codecs import Codec
from relight.actors.door import Door
from relight.actors.host import Host
from relight.actors.run.cause import Cause
from relight.actors.sealing import with_codecs
from relight.config.settings import Settings
from relight.errors import ProtocolError
from relight.sdk._execution import Launcher
from relight.sdk._known_secrets import SecretProvider
from relight.sdk._programs import WorkflowPrograms
from relight.subjects.codec import decode_turn
from relight.subjects.grammar import RETIRED, StartSubject, parse
from relight.subjects.ids import WorkerId
from relight.subjects.records import Record
from relight.subjects.turn import Turn
from relight.testing.memory import MemoryDoor, MemoryServer
from relight.testing.observed import Observer

__all__ = ("MemoryWorker", "WorkersInMemory", "workers_in_memory")

T = TypeVar("T")

_PASSES = 40
_ADVANCES_MAX = 2_000


@final
class MemoryWorker:
    """A worker's host behind a door of its own."""

    def __init__(self, door: MemoryDoor, host: Host) -> None:
        self.door = door
        self.host = host

    def kill(self) -> None:
        """End it as `kill -9` does."""
        self.door.kill()
        self.host.close()


@final
class WorkersInMemory:
    """A server, a client, and as many workers as a test adds."""

    def __init__(self, server: MemoryServer) -> None:
        self.server = server
        self.workers: list[MemoryWorker] = []
        self._codecs: Sequence[Codec] = ()  # Of the worker that came last: it can open what those before it sealed.
        self._abandoned: dict[str, str] = {}
        # The face has no way to a server in memory.
        self.client: Relight = Relight._on(  # pyright: ignore[reportPrivateUsage]
            Settings.read(namespace="memory"), self
        )

    @asynccontextmanager
    async def client_door(self) -> AsyncGenerator[Door]:
        yield self.server.door("client")

    @asynccontextmanager
    async def worker_door(self, worker: WorkerId) -> AsyncGenerator[Door]:
        yield self.server.door(worker)

    @asynccontextmanager
    async def another_client(self, *codecs: Codec) -> AsyncGenerator[Relight]:
        """Open a client in a process of its own."""
        settings = Settings.read(namespace="memory")
        client = Relight._on(settings, self, codecs=codecs)  # pyright: ignore[reportPrivateUsage]
        async with client:
            yield client

    async def add(
        self,
        *workflows: Workflow[..., Any],
        code: str = "code",
        version: str | None = None,
        codecs: Sequence[Codec] = (),
        secrets: SecretProvider | None = None,
        concurrency: int = 100,
        queue: str = "default",
    ) -> MemoryWorker:
        """Start a worker; with a version it goes on with pinned runs of this version only."""
        self._codecs = codecs or self._codecs
        name = WorkerId(f"worker-{len(self.workers) + 1}")
        door = self.server.door(name)
        launcher = Launcher(threads=1, interceptors=(), sender=self.client, secrets=secrets)
        adopts = None if version is None else ()
        programs = WorkflowPrograms(workflows, launcher, code=code, version=version or "", adopts=adopts)
        host = Host(
            with_codecs(door, self.client.subjects, codecs),
            self.client.subjects,
            name,
            programs,
            queues=(queue,),
            concurrency=concurrency,
        )
        await host.open()
        self.workers.append(MemoryWorker(door, host))
        return self.workers[-1]

    async def until(self, condition: Callable[[], bool]) -> None:
        """Let time pass until the condition holds; fail if it does not although nothing more can happen."""
        for _ in range(_ADVANCES_MAX):
            await self.passes(condition)
            if condition():
                return
            self.server.clock.advance_to_next()
        pytest.fail("the condition does not come true")

    async def passes(self, condition: Callable[[], bool] = lambda: False) -> None:
        """Let happen what needs no time to pass."""
        for _ in range(_PASSES):
            if condition():
                return
            await asyncio.sleep(0)

    async def result(self, awaitable: Awaitable[T]) -> T:
        """Await it while time passes."""
        task = asyncio.ensure_future(awaitable)
        await self.until(task.done)
        return task.result()

    async def pass_time(self, seconds: float) -> None:
        """Let time pass, and whatever happens meanwhile."""
        end_ms = self.server.clock.now_ms() + round(seconds * 1000)
        while True:
            await self.passes()
            due_ms = self.server.clock.next_due_ms()
            if due_ms is None or due_ms > end_ms:
                break
            self.server.clock.advance_to_next()
        self.server.clock.advance((end_ms - self.server.clock.now_ms()) / 1000)
        await self.passes()

    def turns(self, run: str) -> list[Turn]:
        """What is stored in the run's journal."""
        stored = self.server.stream.read(self.client.subjects.log(run), after=0, limit=10_000)
        turns = [decode_turn(one.data) for one in stored]
        return [turn for turn in turns if isinstance(turn, Turn)]

    def records(self, run: str, *kinds: type[Record]) -> Sequence[Record]:
        """The records of these kinds, or all, in the run's journal."""
        records = [record for turn in self.turns(run) for record in turn.records]
        return [record for record in records if not kinds or isinstance(record, kinds)]

    def abandon(self, run: str, because: str) -> None:
        """Expect that nothing will wake the run any more, for this reason: what the test does is beyond any promise."""
        self._abandoned[run] = because

    def check_causes(self) -> None:
        """Every unfinished run has a cause that will wake it, but for those that were abandoned: they have none."""
        observer = Observer(self.server, self._codecs)
        causes = {run: _cause_or_problem(observer, run) for run in self._runs()}
        problems = {run: found for run, found in causes.items() if found not in get_args(Cause)}
        lost = {run: found for run, found in problems.items() if run not in self._abandoned}
        needless = self._abandoned.keys() - problems.keys()

        assert not lost, f"nothing will wake these runs: {lost}"
        assert not needless, f"these runs were abandoned, and still have a cause: {needless}"

    def _runs(self) -> list[str]:
        """Ids of all runs that were started, also where nobody can read the start."""
        starts = self.server.stream.every(self.client.subjects.every_start())
        subjects = [parse(one.subject) for one in starts]
        return [one.run for one in subjects if isinstance(one, StartSubject) and one.queue != RETIRED]


def _cause_or_problem(observer: Observer, run: str) -> str:
    """Return what will wake the run; if nothing will, or nobody can tell, what there is to say of it."""
    try:
        return observer.cause(run) or str(observer.mailbox(run))
    except (ProtocolError, KeyError) as error:
        return str(error)


@asynccontextmanager
async def workers_in_memory() -> AsyncGenerator[WorkersInMemory]:
    """Open a server in memory and a client; at the end look whether all runs have a cause, and end all workers."""
    site = WorkersInMemory(MemoryServer(namespace="memory"))
    async with site.client:
        try:
            yield site
            site.check_causes()
        finally:
            for worker in site.workers:
                worker.kill()
