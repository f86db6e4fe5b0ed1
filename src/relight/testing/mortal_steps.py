"""Steps of a worker that may be killed: from then on none of their code runs, no `finally` either.

`kill -9` lets no clean-up run, so a lock that a step took outside stays taken. A step that was merely cancelled would
give it back, and a test would find nothing. So each attempt is driven by hand: when its process is dead, whatever wakes
it ends it without reaching its code. Not reached is what it runs beside itself: threads, and tasks of its own.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Generator
from contextvars import ContextVar
from typing import Any, cast, final

from relight.errors import StepCancelled
from relight.sdk._interceptors import Interceptor, Next, StepCall
from relight.sdk._loop_drop import silence
from relight.sdk._scope import SCOPE, StepScope
from relight.testing.memory.process import Process

__all__ = ("PROCESS", "MortalSteps")

PROCESS: ContextVar[Process | None] = ContextVar("PROCESS", default=None)
"""Whose step is running here."""


@final
class MortalSteps(Interceptor):
    """Drives the steps of one process.

    Args:
        process: Whose.
        waits: Called each time that one of them begins to wait, with how often it has; it may kill the process.
    """

    def __init__(self, process: Process, waits: Callable[[StepCall, int], None]) -> None:
        self._process = process
        self._waits = waits
        self._under_way: dict[asyncio.Task[Any], StepScope] = {}

    async def step(self, call: StepCall, next: Next[StepCall]) -> Any:
        task, scope = asyncio.current_task(), SCOPE.get()
        assert task is not None, "a coroutine of an attempt"
        assert isinstance(scope, StepScope), "set by the attempt"
        PROCESS.set(self._process)
        self._under_way[task] = scope
        try:
            return await _Driven(cast("Coroutine[Any, Any, Any]", next(call)), self._process, self._waits, call)
        finally:
            self._under_way.pop(task, None)

    def forget(self) -> None:
        """The process is dead: what waits is never woken, and threads end with their next heartbeat."""
        for task, scope in self._under_way.items():
            scope.heartbeat = _raise_cancelled
            cast("Any", task)._log_destroy_pending = False


@final
class _Driven:
    """Awaits a coroutine for as long as its process lives."""

    def __init__(
        self,
        coroutine: Coroutine[Any, Any, Any],
        process: Process,
        waits: Callable[[StepCall, int], None],
        call: StepCall,
    ) -> None:
        self._coroutine = coroutine
        self._process = process
        self._waits = waits
        self._call = call

    def __await__(self) -> Generator[Any, Any, Any]:
        coroutine, waited = self._coroutine, 0
        self._end_if_dead(asyncio.CancelledError())
        try:
            awaited = coroutine.send(None)
            while True:
                waited += 1
                self._waits(self._call, waited)
                try:
                    yield awaited
                except BaseException as error:  # noqa: BLE001 - a cancellation above all; it is the coroutine's
                    self._end_if_dead(error)
                    awaited = coroutine.throw(error)
                else:
                    self._end_if_dead(asyncio.CancelledError())
                    awaited = coroutine.send(None)
        except StopIteration as done:
            return done.value

    def _end_if_dead(self, error: BaseException) -> None:
        if not self._process.is_alive:
            silence([self._coroutine])
            raise error


def _raise_cancelled(details: object) -> None:
    raise StepCancelled("the step's process was killed")
