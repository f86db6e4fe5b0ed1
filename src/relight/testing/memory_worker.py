"""A worker on a door to the server in memory: the real host, which can be killed."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from functools import partial
from typing import Any, ParamSpec, TypeVar, final

from relight.actors.codecs import Codec
from relight.actors.host import Host
from relight.actors.sealing import with_codecs
from relight.config.limits import LIMITS
from relight.config.settings import Settings
from relight.sdk._execution import Launcher
from relight.sdk._interceptors import Interceptor, StepCall
from relight.sdk._known_secrets import SecretProvider
from relight.sdk._programs import WorkflowPrograms
from relight.sdk._scope import Sender
from relight.sdk._workflow import Workflow
from relight.subjects.ids import WorkerId
from relight.testing.memory.door import MemoryDoor
from relight.testing.memory.server import MemoryServer
from relight.testing.mortal_steps import MortalSteps

__all__ = ("CODE", "MemoryWorker")

CODE = "tested"
"""Digest of the code of all workers in memory: they are of one process, so they never differ."""

_RUNS_AT_ONCE = 200
_THREADS = 8
_IN_TURN_S = 1.0

P = ParamSpec("P")
T = TypeVar("T")


@final
class InTurn(ThreadPoolExecutor):
    """Threads for which the loop waits, so that a step in a thread ends at the same point of each play of a schedule.

    One that takes longer than a second may itself wait for the loop: then the loop goes on.
    """

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        future = super().submit(fn, *args, **kwargs)
        wait([future], timeout=_IN_TURN_S)
        return future


@final
class MemoryWorker:
    """Runs workflows until it is closed or killed."""

    def __init__(
        self,
        server: MemoryServer,
        workflows: Sequence[Workflow[..., Any]],
        *,
        name: str,
        settings: Settings,
        fakes: dict[str, Callable[..., Any]],
        deps: object,
        interceptors: Sequence[Interceptor],
        sender: Sender,
        sending: MemoryDoor,
        step_waits: Callable[[MemoryWorker, StepCall, int], None],
        takes_threads_in_turn: bool = False,
        codecs: Sequence[Codec] = (),
        secrets: SecretProvider | None = None,
    ) -> None:
        self.door = server.door(name)
        self._sending = sending
        self._steps = MortalSteps(self.door.process, partial(step_waits, self))
        self._launcher = Launcher(
            threads=_THREADS,
            interceptors=(self._steps, *interceptors),
            sender=sender,
            secrets=secrets,
            inline_bytes_max=settings.value_inline_bytes_max,
            bytes_max=settings.value_bytes_max,
            carried_bytes_max=LIMITS.payload_bytes_max // (2 if codecs else 1),
        )
        if takes_threads_in_turn:
            self._launcher._executor = InTurn(_THREADS)  # pyright: ignore[reportPrivateUsage]  # ours
        self._launcher.clock = self.door.clock
        self._launcher.fakes = fakes
        self._launcher.deps, self._launcher.has_deps = deps, deps is not None
        self.host = Host(
            with_codecs(self.door, server.subjects, codecs),
            server.subjects,
            WorkerId(name),
            WorkflowPrograms(workflows, self._launcher, code=CODE, version=CODE),
            queues=tuple(dict.fromkeys(one.queue for one in workflows)),
            concurrency=_RUNS_AT_ONCE,
        )

    @property
    def is_alive(self) -> bool:
        return self.door.process.is_alive

    @property
    def is_moving(self) -> bool:
        """Whether something is under way to or from it.

        What its host does takes no time between two messages; else it waits: for a step, for a timer, for a message.
        """
        process = self.door.process
        is_working = process.is_alive and not process.is_stopped and process.moving > 0
        return is_working or (process.is_alive and self._sending.process.moving > 0)

    @property
    def holds_first_turn(self) -> bool:
        """Whether it holds the first turn of a run back for a moment, while the first step is executed."""
        return self.is_alive and not self.door.process.is_stopped and self.host.claims.is_waiting

    @property
    def steps_running(self) -> int:
        return self.host.steps_running if self.is_alive else 0

    async def close(self) -> None:
        """Hand everything back and stop."""
        if self.is_alive and not self.door.process.is_stopped:
            await self.host.drain(0.0)
        self.host.close()
        self._launcher.close()

    def kill(self) -> None:
        """End it as `kill -9` does. May be called from within one of its own operations."""
        if self.is_alive:
            self.door.kill()
            self._sending.kill()
            asyncio.get_running_loop().call_soon(self._bury)

    def _bury(self) -> None:
        # What is killed cancels nothing: its steps are gone where they stand.
        self._steps.forget()
        for actor in self.host._live.actors.values():  # pyright: ignore[reportPrivateUsage]  # ours
            actor._attempts.running.clear()  # pyright: ignore[reportPrivateUsage]  # ours
        self.host.close()
        self._launcher.close()
