"""One trial: a workflow is run to its end in memory while something goes wrong, and everything promised is checked."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Literal, TypeAlias, cast, final

from relight.actors.codecs import Codec
from relight.sdk._client import Relight
from relight.sdk._interceptors import Interceptor, StepCall
from relight.sdk._known_secrets import SecretProvider
from relight.sdk._run import Run
from relight.sdk._workflow import StartOptions, Workflow
from relight.testing.memory.door import MemoryDoor
from relight.testing.memory.faults import Operation
from relight.testing.memory_worker import MemoryWorker
from relight.testing.observed import in_lines
from relight.testing.person import Person, said
from relight.testing.promises import Executions, Outcome, Promises
from relight.testing.stage import Stage, StalledError

__all__ = ("Fakes", "Moment", "Point", "Scenario", "Story", "Trial")

Moment = Literal["before", "after"]
Story = Callable[[Stage, Run[Any]], Awaitable[None]]
"""What else a client does with the run. It is repeated from its beginning when the client dies."""

Fakes: TypeAlias = Mapping[Any, Callable[..., Any]]
"""What runs in place of steps, or of those of a name. Type checkers take no mapping whose keys are of either kind."""

RUN = "crash"

_WAITS_MAX = 3
"""So many times that an attempt of a step begins to wait are points at which its worker dies; it may wait for ever."""

_UNDISTURBED_S = 60.0
"""Of real time, for a trial in which nothing goes wrong: its steps may take their time, but not hang the suite."""


@dataclass(frozen=True, kw_only=True)
class Scenario:
    """A workflow, and what the world around it does.

    Attributes:
        signals: Name, data and id of what is sent right after the start.
        with_start: Name, data and id of the signal that comes with the start.
        others: Workflows that its steps or its story start.
    """

    workflow: Workflow[..., Any]
    args: tuple[Any, ...] = ()
    answers: Mapping[str, object] = field(default_factory=dict[str, object])
    fakes: Fakes = field(default_factory=dict[object, Callable[..., Any]])
    signals: Sequence[tuple[str, object, str]] = ()
    with_start: tuple[str, object, str] | None = None
    story: Story | None = None
    options: StartOptions = field(default_factory=StartOptions)
    others: Sequence[Workflow[..., Any]] = ()
    deps: object = None
    codecs: Sequence[Codec] = ()
    secrets: SecretProvider | None = None

    async def start(self, client: Relight, id: str) -> Run[Any]:
        options = self.options.copy()
        options["id"] = id
        if self.with_start is None:
            run: Run[Any] = await client.start(cast("Any", self.workflow), *self.args, **options)
            return run
        signal, data, signal_id = self.with_start
        return await client.signal_with_start(
            cast("Any", self.workflow), *self.args, signal=signal, data=data, signal_id=signal_id, **options
        )

    def stage(self, interceptors: Sequence[Interceptor]) -> Stage:
        workflows = (self.workflow, *self.others)
        stage = Stage(workflows, deps=self.deps, interceptors=interceptors, codecs=self.codecs, secrets=self.secrets)
        stage.fakes.update({one if isinstance(one, str) else one.name: fake for one, fake in self.fakes.items()})
        return stage


@dataclass(frozen=True, kw_only=True)
class Point:
    """Where a process dies: at its side's operation of this number, from 1, before or after it took effect.

    A worker also dies inside of a step: after it began to wait, for what it may never learn.
    """

    side: Literal["worker", "client", "step"]
    moment: Moment
    number: int
    leases_freed: bool = False

    def __str__(self) -> str:
        how = "freed at once" if self.leases_freed else "redelivered later"
        if self.side == "step":
            return f"worker killed inside of a step, at wait {self.number} of all steps (leases {how})"
        return f"{self.side} killed {self.moment} its operation {self.number} (leases {how})"


@final
class Trial:
    """Runs a scenario once, and kills a process at one point of it.

    Attributes:
        operations: How many operations each side has begun; of steps, how many waits.
        took_s: In real time, when it has been played.
        stage: Where it plays.
    """

    def __init__(
        self, scenario: Scenario, *, point: Point | None = None, workers: int = 2, limit_s: float = _UNDISTURBED_S
    ) -> None:
        self.operations: Counter[str] = Counter()
        self.killed_at: str | None = None
        self.took_s = 0.0
        self._limit_s = limit_s
        self._scenario = scenario
        self._point = point
        self._workers = workers
        executions = Executions()
        self.stage = scenario.stage([executions])
        self._promises = Promises(self.stage, executions)
        is_freed = point is not None and point.leases_freed
        self.stage.server.frees_leases_of_the_dead = is_freed
        # A history that fits into one turn never replays, unless some trials part it. These do: what becomes of the
        # leases has nothing to do with it, and trials of their own would take as long again.
        self.stage.server.starts_are_new = not is_freed
        self._client_is_dead = False
        self._tasks: set[asyncio.Task[object]] = set()

    @property
    def problems(self) -> list[str]:
        """What was promised and did not hold."""
        return self._promises.problems

    async def play(self) -> Outcome | None:
        """Play it to the end and return how the run ended; None if it never did. Look at `problems` afterwards."""
        began_s = time.monotonic()
        async with self.stage:
            for _ in range(self._workers):
                await self.stage.open_worker()
            self.stage.server.on_operation = self._on_operation
            self.stage.on_step_waits = self._on_step_waits
            try:
                async with asyncio.timeout(self._limit_s):
                    await self._clients()
                    await self._settle()
            except* StalledError as stalled:
                self.problems.extend(str(one) for one in stalled.exceptions)
            except* TimeoutError:
                self.problems.append(f"the trial did not end within {self._limit_s:.1f} s of real time")
            self.stage.server.on_operation = None
            self._check_at_the_end()
        self.took_s = time.monotonic() - began_s
        return self._promises.outcome(RUN)

    def story_so_far(self) -> str:
        """The history of each run, as text."""
        observer = self.stage.observer
        return "\n".join(f"run {run!r}:\n{in_lines(observer.turns(run))}" for run in observer.runs())

    # The clients.

    async def _clients(self) -> None:
        while True:
            client = asyncio.create_task(self._client())
            try:
                await self.stage.until(partial(self._is_client_done, client))
                if not self._client_is_dead:
                    return client.result()
            finally:
                client.cancel()
                await asyncio.wait([client])
            self._client_is_dead = False
            await self.stage.repeat_client()

    def _is_client_done(self, client: asyncio.Task[None]) -> bool:
        return client.done() or self._client_is_dead

    async def _client(self) -> None:
        scenario = self._scenario
        run = await scenario.start(self.stage.client, RUN)
        for name, data, id in scenario.signals:
            await said(partial(run.signal, name, data, id=id))
        async with asyncio.TaskGroup() as group:
            attending = group.create_task(Person(self.stage, scenario.answers).attend())
            if scenario.story is not None:
                await said(partial(scenario.story, self.stage, run))
            await self.stage.until(lambda: self.stage.observer.state(run.id).end is not None)
            attending.cancel()

    async def _settle(self) -> None:
        """Wait until nothing is left to be delivered."""
        with suppress(StalledError):  # What is left is found, and named, at the end.
            await self.stage.until(lambda: all(self._is_settled(run) for run in self.stage.observer.runs()))

    def _is_settled(self, run: str) -> bool:
        observer = self.stage.observer
        return observer.state(run).end is not None and not observer.pending(run)

    # What goes wrong.

    def _on_operation(self, door: MemoryDoor, operation: Operation, moment: Moment) -> None:
        worker = next((one for one in self.stage.workers if one.door is door), None)
        if worker is None and door is not self.stage.client_door:
            return
        side = "client" if worker is None else "worker"
        if moment == "before":
            self.operations[side] += 1
        if self._is_point(side, moment):
            self._die(worker, f"{operation.name} {operation.subject}")

    def _on_step_waits(self, worker: MemoryWorker, call: StepCall, waited: int) -> None:
        if waited <= _WAITS_MAX and worker.is_alive:
            self.operations["step"] += 1
            if self._is_point("step", "after"):
                self._die(worker, call.info.idempotency_key)

    def _is_point(self, side: str, moment: Moment) -> bool:
        point = self._point
        at = (side, self.operations[side], moment)
        return point is not None and self.killed_at is None and at == (point.side, point.number, point.moment)

    def _die(self, worker: MemoryWorker | None, where: str) -> None:
        self.killed_at = f"{self._point}: {where}"
        self._promises.interruptions += 1
        if worker is None:
            self.stage.kill_client()
            self._client_is_dead = True
        else:
            worker.kill()
            if not any(one.is_alive for one in self.stage.workers):
                self._spawn(self.stage.open_worker())
        self._promises.check_causes("right after the crash")

    def _spawn(self, coroutine: Any) -> None:
        task = asyncio.get_running_loop().create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _check_at_the_end(self) -> None:
        self._promises.check_at_the_end()
        observer = self.stage.observer
        unended = [run for run in observer.runs() if observer.state(run).end is None]
        self.problems.extend(f"run {run!r} has not ended" for run in unended)
