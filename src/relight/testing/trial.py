"""One trial: a workflow is run to its end in memory while something goes wrong, and everything promised is checked."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from random import Random
from typing import Any, Literal, cast, final

from relight.errors import RefusedError, RelightError, UnavailableError
from relight.sdk._client import Relight
from relight.sdk._interceptors import Interceptor, Next, StepCall
from relight.sdk._run import Run
from relight.sdk._step import Step
from relight.sdk._workflow import StartOptions, Workflow
from relight.subjects import records as r
from relight.testing.memory.door import MemoryDoor
from relight.testing.memory.faults import Faults, Operation
from relight.testing.memory_worker import MemoryWorker
from relight.testing.observed import Observer, in_lines
from relight.testing.replaying import replay_history
from relight.testing.stage import Stage, StalledError

__all__ = ("Execution", "Moment", "Point", "Scenario", "Story", "Trial")

Moment = Literal["before", "after"]
Story = Callable[[Stage, Run[Any]], Awaitable[None]]
"""What else a client does with the run. It is repeated from its beginning when the client dies."""

RUN = "crash"

_FOR_A_PERSON = ("unknown_outcome", "quarantined")

_TRIAL_S = 5.0
"""Of real time. A trial takes milliseconds; one that never ends must not hang the suite."""


@dataclass(frozen=True, kw_only=True)
class Scenario:
    """A workflow, and what the world around it does.

    Attributes:
        signals: Name, data and id of what is sent right after the start.
        others: Workflows that its steps or its story start.
    """

    workflow: Workflow[..., Any]
    args: tuple[Any, ...] = ()
    answers: Mapping[str, object] = field(default_factory=dict[str, object])
    fakes: Mapping[Step[..., Any], Callable[..., Any]] = field(default_factory=dict[Step[..., Any], Callable[..., Any]])
    signals: Sequence[tuple[str, object, str]] = ()
    story: Story | None = None
    options: StartOptions = field(default_factory=StartOptions)
    others: Sequence[Workflow[..., Any]] = ()
    deps: object = None

    async def start(self, client: Relight, id: str) -> Run[Any]:
        options = self.options.copy()
        options["id"] = id
        run: Run[Any] = await client.start(cast("Any", self.workflow), *self.args, **options)
        return run

    def stage(self, interceptors: Sequence[Interceptor], random: Random | None) -> Stage:
        stage = Stage((self.workflow, *self.others), deps=self.deps, interceptors=interceptors, random=random)
        stage.fakes.update({one.name: fake for one, fake in self.fakes.items()})
        return stage


@dataclass(frozen=True, kw_only=True)
class Point:
    """Where a process dies: at its side's operation of this number, from 1, before or after it took effect."""

    side: Literal["worker", "client"]
    moment: Moment
    number: int
    leases_freed: bool = False

    def __str__(self) -> str:
        how = "freed at once" if self.leases_freed else "redelivered later"
        return f"{self.side} killed {self.moment} its operation {self.number} (leases {how})"


Execution = tuple[str, str, int]
"""Run, step and attempt."""


@final
class Executions(Interceptor):
    """Counts the attempts of steps, and sees those that should never have begun."""

    def __init__(self) -> None:
        self.counted: Counter[Execution] = Counter()
        self.problems: list[str] = []
        self.observer: Observer | None = None

    async def step(self, call: StepCall, next: Next[StepCall]) -> Any:
        assert self.observer is not None, "set before any worker begins"
        run = call.info.run_id
        key = call.info.idempotency_key.removeprefix(f"{run}:")
        self.counted[run, key, call.info.attempt] += 1
        for record in self.observer.records(run):
            if isinstance(record, r.StepCompleted | r.StepFailed) and record.step == key:
                self.problems.append(f"step {key} of run {run!r} began again after its outcome was recorded")
        return await next(call)


@final
class Trial:
    """Runs a scenario once.

    Attributes:
        operations: How many operations each side has begun.
        problems: What was promised and did not hold.
        stage: Where it plays.
        workers: Those that are at work.
    """

    def __init__(
        self,
        scenario: Scenario,
        *,
        point: Point | None = None,
        workers: int = 2,
        random: Random | None = None,
        faults: Faults | None = None,
        disturb: Callable[[Trial, MemoryDoor], None] | None = None,
    ) -> None:
        """Make a trial.

        Args:
            disturb: Called at each operation of a worker; may kill, stop or resume any.
        """
        self.operations: Counter[str] = Counter()
        self.problems: list[str] = []
        self.interruptions = 0
        self.killed_at: str | None = None
        self._scenario = scenario
        self._point = point
        self._workers = workers
        self._disturb = disturb
        self._executions = Executions()
        self.stage = scenario.stage([self._executions], random)
        self._executions.observer = self.stage.observer
        self.stage.server.faults = faults or Faults()
        self._has_faults = faults is not None or disturb is not None
        self.stage.server.frees_leases_of_the_dead = point is not None and point.leases_freed
        self._client_is_dead = False
        self._tasks: set[asyncio.Task[object]] = set()

    async def play(self) -> tuple[str, ...] | None:
        """Play it to the end and return how the run ended; None if it never did. Look at `problems` afterwards."""
        async with self.stage:
            for _ in range(self._workers):
                await self.stage.open_worker()
            self.stage.server.on_operation = self._on_operation
            try:
                async with asyncio.timeout(_TRIAL_S):
                    await self._clients()
                    await self._settle()
            except* StalledError as stalled:
                self.problems += [str(one) for one in stalled.exceptions]
            except* TimeoutError:
                self.problems.append(f"the trial did not end within {_TRIAL_S:g} s")
            self.stage.server.on_operation = None
            self._check_at_the_end()
        return self._outcome()

    def story_so_far(self) -> str:
        """The history of each run, as text."""
        observer = self.stage.observer
        return "\n".join(f"run {run!r}:\n{in_lines(observer.turns(run))}" for run in observer.runs())

    def kill(self, worker: MemoryWorker) -> None:
        """End a worker; another one comes if it was the last."""
        self.interruptions += 1
        worker.kill()
        if not any(one.is_alive for one in self.stage.workers):
            self._spawn(self.stage.open_worker())

    @property
    def workers(self) -> list[MemoryWorker]:
        return [one for one in self.stage.workers if one.is_alive]

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
            await self.stage.open_client()

    def _is_client_done(self, client: asyncio.Task[None]) -> bool:
        return client.done() or self._client_is_dead

    async def _client(self) -> None:
        scenario = self._scenario
        run = await scenario.start(self.stage.client, RUN)
        for name, data, id in scenario.signals:
            await _said(partial(run.signal, name, data, id=id))
        async with asyncio.TaskGroup() as group:
            if scenario.story is not None:
                group.create_task(_said(partial(scenario.story, self.stage, run)))
            group.create_task(self._answer(run))

    async def _answer(self, run: Run[Any]) -> None:
        """Answer suspensions when they open, and say what a person would of a step whose outcome is unknown."""
        observer = self.stage.observer
        answered: set[int] = set()
        while True:
            await self.stage.until(lambda: observer.state(run.id).end is not None or bool(self._open(run.id, answered)))
            if observer.state(run.id).end is not None:
                return
            for number, name in self._open(run.id, answered):
                answered.add(number)
                if number < 0 and not name:
                    await _said(run.retry)
                elif number < 0:
                    await _said(partial(run.resolve, name, rerun=True))
                else:
                    await _said(partial(run.resume, name, self._scenario.answers[name]))

    def _open(self, run: str, answered: set[int]) -> list[tuple[int, str]]:
        """Number and name of what waits for an answer; a parked step has the negative number of its record."""
        state = self.stage.observer.state(run)
        if state.parked is not None:
            is_new = state.parked.reason in _FOR_A_PERSON and -state.records not in answered
            return [(-state.records, state.parked.step)] if is_new else []
        waits = [(number, one.name) for number, one in state.waits.items() if one.kind == "suspension"]
        return [(number, name) for number, name in waits if name in self._scenario.answers and number not in answered]

    async def _settle(self) -> None:
        """Wait until nothing is left to be delivered; who was stopped goes on."""
        for worker in self.workers:
            if worker.door.process.is_stopped:
                worker.door.resume()
        with suppress(StalledError):  # What is left is found, and named, at the end.
            await self.stage.until(lambda: all(self._is_settled(run) for run in self.stage.observer.runs()))

    def _is_settled(self, run: str) -> bool:
        observer = self.stage.observer
        if observer.state(run).end is None or observer.pending(run):
            return False
        # A timer that was armed by a late write, or by a zombie, goes off some time; nothing else may leave one.
        return not self._has_faults or not observer.timers(run)

    # What goes wrong.

    def _on_operation(self, door: MemoryDoor, operation: Operation, moment: Moment) -> None:
        worker = next((one for one in self.stage.workers if one.door is door), None)
        if worker is None and door is not self.stage.client_door:
            return
        side = "client" if worker is None else "worker"
        if moment == "before":
            self.operations[side] += 1
        at = (side, self.operations[side], moment)
        point = self._point
        if point is not None and self.killed_at is None and at == (point.side, point.number, point.moment):
            self._die(worker, operation)
        if worker is not None and self._disturb is not None:
            self._disturb(self, door)

    def _die(self, worker: MemoryWorker | None, operation: Operation) -> None:
        self.killed_at = f"{self._point}: {operation.name} {operation.subject}"
        if worker is None:
            self.interruptions += 1
            self.stage.kill_client()
            self._client_is_dead = True
        else:
            self.kill(worker)
        self._check_causes("right after the crash")

    def _spawn(self, coroutine: Any) -> None:
        task = asyncio.get_running_loop().create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    # What must hold.

    def _check_causes(self, when: str) -> None:
        observer = self.stage.observer
        for run in observer.runs():
            if observer.cause(run) is None:
                self.problems.append(f"{when} nothing will wake run {run!r}: {observer.mailbox(run)}")

    def _check_at_the_end(self) -> None:
        observer = self.stage.observer
        self.problems += self._executions.problems
        self._check_causes("at the end")
        for run in observer.runs():
            if (broken := observer.broken_link(run)) is not None:
                self.problems.append(f"the chain of run {run!r} is broken: {broken}")
            if observer.state(run).end is None:
                self.problems.append(f"run {run!r} has not ended")
            elif (pending := observer.pending(run)) or observer.timers(run):
                self.problems.append(f"run {run!r} left behind: deliveries {pending}, timers {observer.timers(run)}")
            self._check_executions(run)
            self._check_replay(run)

    def _check_executions(self, run: str) -> None:
        records = self.stage.observer.records(run)
        for (of, key, attempt), count in self._executions.counted.items():
            if of != run:
                continue
            reruns = sum(isinstance(one, r.StepRerun) and one.step == key for one in records)
            if count > 1 + self.interruptions + reruns:
                self.problems.append(f"attempt {attempt} of step {key} of run {run!r} was executed {count} times")
            is_unsafe = any(isinstance(one, r.StepScheduled) and one.step == key and one.unsafe for one in records)
            if is_unsafe and count > 1 + reruns:
                self.problems.append(f"unsafe step {key} of run {run!r} was executed {count} times unasked")

    def _check_replay(self, run: str) -> None:
        turns = self.stage.observer.turns(run)
        try:
            if turns:
                replay_history(self.stage.workflows, run, turns)
        except RelightError as error:
            self.problems.append(f"the history of run {run!r} does not replay: {error}")

    def _outcome(self) -> tuple[str, ...] | None:
        match self.stage.observer.state(RUN).end:
            case r.RunCompleted(result=result):
                return ("completed", bytes(result).decode())
            case r.RunFailed(error=error):
                return ("failed", error.type, error.message)
            case r.RunCancelled(reason=reason) | r.RunTerminated(reason=reason) as end:
                return (type(end).__name__, reason)
            case r.RunTimedOut():
                return ("timed out",)
            case None:
                return None


async def _said(say: Callable[[], Awaitable[None]]) -> None:
    """Say it until it is durable. After a crash it may come too late or a second time; that is no problem."""
    while True:
        try:
            return await say()
        except RefusedError:
            return None
        except UnavailableError:
            continue
