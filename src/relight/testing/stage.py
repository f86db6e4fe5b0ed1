"""The stage: a server in memory, a client, workers with the real engine, and time that passes when nothing else does.

Time is moved to the next timer only when everything is idle and somebody waits: no message is under way, no actor
moves, and each running step itself waits for time to pass (`Stage.sleep`). So a year of sleeps takes milliseconds, and
a step that really waits, for a socket or a thread, is never skipped over. But for the moment for which a first turn is
held back: while the first step really waits, a run must be able to take what is sent to it.
"""

from __future__ import annotations

import asyncio
import itertools
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from random import Random
from typing import Any, final
from weakref import WeakKeyDictionary

from relight.actors.backoff import pause
from relight.actors.codecs import Codec
from relight.config.limits import LIMITS
from relight.config.settings import Settings
from relight.errors import RelightError
from relight.sdk._client import Relight
from relight.sdk._description import describe
from relight.sdk._interceptors import Interceptor, StepCall
from relight.sdk._known_secrets import SecretProvider
from relight.sdk._workflow import Workflow
from relight.testing.backend import MemoryBackend
from relight.testing.memory.door import MemoryDoor
from relight.testing.memory.process import Process
from relight.testing.memory.server import MemoryServer
from relight.testing.memory_worker import MemoryWorker
from relight.testing.mortal_steps import PROCESS
from relight.testing.observed import Observer
from relight.testing.schedule import Schedule

__all__ = ("Stage", "StalledError", "stage_here")

_PASSES = 10
"""Passes of the loop without any movement after which everything counts as idle: a result that came needs a few until
the code that awaits it goes on."""

_BUSY_PASSES = 10 * _PASSES
"""Passes with movement, or with a step that runs, after which this one is taken for one that really waits."""

_PATIENCE = 20
"""How often a client's own timers may fire in a row without anything being stored."""

_NAP_S = 0.0005
_TOKENS_SEED = 0
_RUNS_NAMED = 5

_stages: WeakKeyDictionary[asyncio.AbstractEventLoop, Stage] = WeakKeyDictionary()


class StalledError(RelightError):
    """Nothing can happen any more, and somebody waits. It says what each unfinished run waits for."""


@lru_cache(maxsize=8)
def _settings(namespace: str, variables: frozenset[tuple[str, str]]) -> Settings:
    """Read the settings, once as long as the variables are these: it takes longer than a small test."""
    return Settings.read(namespace=namespace)


def stage_here() -> Stage | None:
    """Return the stage that is open on the running loop."""
    return _stages.get(asyncio.get_running_loop())


@dataclass(frozen=True, eq=False)
class _Waiter:
    """Who waits for a condition. For his sake time passes if he `bids` it."""

    condition: Callable[[], bool]
    told: asyncio.Future[None]
    bids: bool

    def look(self) -> None:
        """Wake him if it holds, or can't be told: he looks again himself, and gets what it raises."""
        try:
            holds = self.condition()
        except Exception:  # noqa: BLE001 - raised once more where it belongs
            holds = True
        if holds and not self.told.done():
            self.told.set_result(None)


@final
class Stage:
    """Use it with `async with`; then open workers.

    Attributes:
        fakes: What runs in place of steps, by name.
        workers: All that were opened, the dead ones included.
        on_step_waits: Called each time that a step of a worker begins to wait, with how often it has; it may kill it.
    """

    def __init__(
        self,
        workflows: Sequence[Workflow[..., Any]],
        *,
        deps: object = None,
        interceptors: Sequence[Interceptor] = (),
        schedule: Schedule | None = None,
        codecs: Sequence[Codec] = (),
        secrets: SecretProvider | None = None,
    ) -> None:
        self.workflows = tuple(workflows)
        self._names = frozenset(one.name for one in self.workflows)
        self.server = MemoryServer(namespace="test")
        self.observer = Observer(self.server, codecs)
        self.fakes: dict[str, Callable[..., Any]] = {}
        self.workers: list[MemoryWorker] = []
        self.on_step_waits: Callable[[MemoryWorker, StepCall, int], None] | None = None
        self._deps = deps
        self._secrets = secrets
        self._interceptors = tuple(interceptors)
        self._codecs = tuple(codecs)
        self._backend = MemoryBackend(self.server, "client")
        self._client: Relight | None = None
        self._senders: list[tuple[Relight, MemoryBackend]] = []
        self._numbers = itertools.count(1)
        self._pacer: asyncio.Task[None] | None = None
        self._waiting: list[_Waiter] = []
        self._asleep: dict[object, Process | None] = {}
        self._idle: asyncio.Future[None] | None = None
        self._seen = 0
        self._vain = 0
        self._tokens = Random(_TOKENS_SEED)
        self._tokens_of_client = self._tokens.getstate()
        self._name_of_senders = ""
        self._outer: Stage | None = None
        self._is_scheduled = schedule is not None
        # How long a nap takes is chance, and a seed is to repeat everything.
        self._nap_s = 0.0 if self._is_scheduled else _NAP_S
        if schedule is not None:
            self.follow(schedule)

    def follow(self, schedule: Schedule) -> None:
        """From now on messages go as the schedule says."""
        self.server.hops, self.server.faults = schedule.hops, schedule.faults

    async def __aenter__(self) -> Stage:
        self._pacer = asyncio.create_task(self._pace())
        self._outer = stage_here()
        _stages[asyncio.get_running_loop()] = self
        self._name_of_senders = self._token(6)
        await self.open_client()
        self._tokens_of_client = self._tokens.getstate()
        return self

    async def __aexit__(self, *error: object) -> None:
        for worker in self.workers:
            await worker.close()
        await self._close_clients()
        assert self._pacer is not None
        self._pacer.cancel()
        await asyncio.wait([self._pacer])
        _stages.pop(asyncio.get_running_loop(), None)
        if self._outer is not None:
            _stages[asyncio.get_running_loop()] = self._outer
        if not self._pacer.cancelled() and (failure := self._pacer.exception()) is not None:
            raise failure

    async def _close_clients(self) -> None:
        """Time does not pass any more: who waits, or is about to, is told so."""
        for client, backend in ((self.client, self._backend), *self._senders):
            if backend.door.process.is_alive:
                await client.__aexit__(None, None, None)

    # Processes.

    @property
    def client(self) -> Relight:
        assert self._client is not None, "the stage is open"
        return self._client

    async def open_client(self) -> Relight:
        """Connect a new client in place of the one before."""
        self._backend = MemoryBackend(self.server, "client")
        self._client = await self._connect(self._backend, self._token)
        return self._client

    async def repeat_client(self) -> None:
        """Connect a new client that draws the ids and seeds of the first one: it repeats what that one did."""
        await self.open_client()
        self._tokens.setstate(self._tokens_of_client)

    async def _open_sender(self) -> tuple[Relight, MemoryBackend]:
        """Connect what the steps of one worker send with; it dies with the worker."""
        backend = MemoryBackend(self.server, "sender")
        sender = await self._connect(backend, lambda _: self._name_of_senders)
        self._senders.append((sender, backend))
        return sender, backend

    async def _connect(self, backend: MemoryBackend, tokens: Callable[[int], str]) -> Relight:
        variables = frozenset(one for one in os.environ.items() if one[0].upper().startswith("RELIGHT_"))
        settings = _settings(self.server.subjects.namespace, variables)
        relight = Relight._on(settings, backend, tokens=tokens, codecs=self._codecs)  # pyright: ignore[reportPrivateUsage]  # ours
        return await relight.__aenter__()

    def _token(self, size_bytes: int) -> str:
        """Ids and seeds are the same in each play: what a workflow does by chance, it does again."""
        return self._tokens.randbytes(size_bytes).hex()

    @property
    def client_door(self) -> MemoryDoor:
        return self._backend.door

    def kill_client(self) -> None:
        """End the client's process as `kill -9` does."""
        self._backend.door.kill()

    async def open_worker(self) -> MemoryWorker:
        sender, sending = await self._open_sender()
        worker = MemoryWorker(
            self.server,
            self.workflows,
            name=f"worker-{next(self._numbers)}",
            settings=sender.settings,
            fakes=self.fakes,
            deps=self._deps,
            interceptors=self._interceptors,
            takes_threads_in_turn=self._is_scheduled,
            sender=sender,
            sending=sending.door,
            step_waits=self._step_waits,
            codecs=self._codecs,
            secrets=self._secrets,
        )
        self.workers.append(worker)
        await worker.host.open()
        return worker

    def _step_waits(self, worker: MemoryWorker, call: StepCall, waited: int) -> None:
        if self.on_step_waits is not None:
            self.on_step_waits(worker, call, waited)

    # Waiting.

    async def until(self, condition: Callable[[], bool]) -> None:
        """Let time pass until the condition holds.

        Raises:
            StalledError: It never will.
        """
        await self._wait(condition, bids=True)

    async def notice(self, condition: Callable[[], bool]) -> None:
        """Return when the condition holds; time does not pass for its sake."""
        await self._wait(condition, bids=False)

    async def _wait(self, condition: Callable[[], bool], *, bids: bool) -> None:
        while not condition():
            # The pacer looks in each pass of the loop: to wake a task in each of them took a tenth of a sweep.
            waiter = _Waiter(condition, asyncio.get_running_loop().create_future(), bids)
            self._waiting.append(waiter)
            try:
                await waiter.told
            finally:
                self._waiting.remove(waiter)

    async def skip(self, seconds: float) -> None:
        """Let time pass, and everything happen that is due by then."""
        await self.sleep(seconds)
        if self._idle is None:
            self._idle = asyncio.get_running_loop().create_future()
        await asyncio.shield(self._idle)

    async def sleep(self, seconds: float) -> None:
        """Wait for `seconds` of the stage's time, in a test or in a fake."""
        process, sleeper = PROCESS.get(), object()
        worker = next((one for one in self.workers if one.door.process is process), None)
        self._asleep[sleeper] = None if worker is None else worker.door.process
        try:
            await pause(self.server.clock if worker is None else worker.door.clock, seconds)
        finally:
            del self._asleep[sleeper]

    def _steps_asleep(self) -> int:
        """Of those who live: who is killed in his sleep never wakes."""
        return sum(one is not None and one.is_alive for one in self._asleep.values())

    def _is_anybody_asleep(self) -> bool:
        return any(one is None or one.is_alive for one in self._asleep.values())

    # Time.

    async def _pace(self) -> None:
        while True:
            await self.rest()
            if self._idle is not None:
                idle, self._idle = self._idle, None
                idle.set_result(None)
            elif self._is_anybody_waiting():
                self._let_time_pass()
            else:
                await asyncio.sleep(self._nap_s)

    def _is_anybody_waiting(self) -> bool:
        is_waiting = any(one.bids for one in self._waiting) or self._is_anybody_asleep()
        return is_waiting or self._backend.clock.next_due_ms() is not None

    async def rest(self) -> None:
        """Return when everything is idle."""
        quiet = busy = 0
        while quiet < _PASSES:
            await asyncio.sleep(self._nap_s if busy > _BUSY_PASSES else 0)
            for waiter in self._waiting:
                waiter.look()
            quiet, busy = (0, busy + 1) if self._is_busy() else (quiet + 1, 0)
            if busy > _BUSY_PASSES and not self._is_moving():
                self._let_first_turns_go()

    def _is_busy(self) -> bool:
        return self._is_moving() or sum(one.steps_running for one in self.workers) > self._steps_asleep()

    def _is_moving(self) -> bool:
        return self._backend.door.process.moving > 0 or any(one.is_moving for one in self.workers)

    def _let_first_turns_go(self) -> None:
        due_ms = self.server.clock.next_due_ms()
        if due_ms is None or not any(one.holds_first_turn for one in self.workers):
            return
        if due_ms - self.server.clock.now_ms() <= LIMITS.claim_s * 1000:
            self.server.clock.advance_to_next()
            self._follow()

    def _follow(self) -> None:
        self._backend.follow()
        for _, backend in self._senders:
            backend.follow()

    def _let_time_pass(self) -> None:
        if self.server.clock.next_due_ms() is not None and not self._is_hopeless():
            if (client_pauses_s := self._client_pauses_s()) is not None:
                self.server.clock.advance(client_pauses_s)
            else:
                self.server.clock.advance_to_next()
            self._follow()
        elif not self._let_client_look_again():
            self._stall()

    def _client_pauses_s(self) -> float | None:
        """How long until a client sends again what was lost, if that comes before whatever else happens."""
        due_ms, retry_ms = self.server.clock.next_due_ms(), self._backend.clock.next_due_ms()
        if due_ms is None or retry_ms is None or retry_ms >= due_ms:
            return None
        pause_s = (retry_ms - self.server.clock.now_ms()) / 1000
        return pause_s if pause_s <= LIMITS.append_retry_max_s else None

    def _is_hopeless(self) -> bool:
        """Whether time brings nobody forward, although timers go on.

        A stuck run is tried again and again; it will not fare better with the same code. A run whose workflow nobody
        has is offered again and again, and those that wait for it wait for ever. Whoever sleeps a while is to wake up
        all the same.
        """
        unfinished = [run for run in self.observer.runs() if self.observer.state(run).end is None]
        if not unfinished or self._is_anybody_asleep():
            return False
        if all(self.observer.state(run).parked and not self.observer.pending(run) for run in unfinished):
            return True
        offered = {run for run in unfinished if self._is_code_missing(run)}
        return bool(offered) and all(run in offered or self._is_at_rest(run) for run in unfinished)

    def _is_code_missing(self, run: str) -> bool:
        started = self.observer.state(run).started
        # What times out with its parent needs no code for that.
        return started is not None and started.workflow not in self._names and started.deadline_ms is None

    def _is_at_rest(self, run: str) -> bool:
        """Whether it waits for another run, or for a person."""
        return not self.observer.pending(run) and not self.observer.timers(run)

    def _let_client_look_again(self) -> bool:
        last = self.server.stream.last(">")
        stored = last.sequence if last is not None else 0
        self._vain = self._vain + 1 if stored == self._seen else 0
        self._seen = stored
        return self._vain < _PATIENCE and self._backend.clock.advance_to_next()

    def _stall(self) -> None:
        """Tell one of those who wait; the others get theirs when everything is idle again."""
        self._vain = 0
        stalled = StalledError(self._complaint())
        waiter = next((one for one in self._waiting if one.bids and not one.told.done()), None)
        if waiter is not None:
            waiter.told.set_exception(stalled)
        else:
            self._backend.door.process.interruption = stalled
            self._backend.clock.advance_to_next()

    def _complaint(self) -> str:
        said: list[str] = []
        for run in self.observer.runs():
            described = describe(self.observer.sight(run))
            if self.observer.state(run).end is None:
                said.append(f"run {run!r} ({described.status}) waits for {', '.join(described.waits_for) or 'nothing'}")
        more = f", and {len(said) - _RUNS_NAMED} more runs" if len(said) > _RUNS_NAMED else ""
        return f"nothing can happen any more: {'; '.join(said[:_RUNS_NAMED]) or 'all runs have ended'}{more}"
