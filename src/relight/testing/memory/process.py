"""The process behind a door: it runs, is stopped, or is dead."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from typing import final

from relight.testing.virtual_clock import VirtualClock, VirtualTimer

__all__ = ("Process", "ProcessClock")


@final
class Process:
    """Lets through what reaches the process from outside and what leaves it, as long as it runs.

    While it is stopped both are kept, in order, until it goes on. Once it is dead nothing passes any more, and whoever
    waits for something waits until his task is cancelled, as code that is gone never goes on.

    Attributes:
        interruption: Raised, once, by what the process awaits next of the server.
        moving: What is under way to or from the process.
    """

    def __init__(self, hops: Callable[[], int]) -> None:
        self.is_alive = True
        self.is_stopped = False
        self.interruption: Exception | None = None
        self.moving = 0
        self._hops = hops
        self._arrived: list[Callable[[], None]] = []
        self._leaving: list[Callable[[], None]] = []
        self._waiting: list[asyncio.Future[None]] = []

    def kill(self) -> None:
        self.is_alive = False
        self._arrived.clear()
        self._leaving.clear()

    def stop(self) -> None:
        self.is_stopped = True

    def resume(self) -> None:
        """Let pass what was kept. What arrives afterwards comes after it."""
        self.is_stopped = False
        while self._leaving and not self.is_stopped:
            self._leaving.pop(0)()
        loop = asyncio.get_running_loop()
        while self._arrived and not self.is_stopped:
            self.moving += 1
            loop.call_soon(self._take, self._arrived.pop(0))
        if self.is_alive:
            while self._waiting:
                _wake(self._waiting.pop())

    def send(self, effect: Callable[[], None]) -> None:
        """Have an effect on the world: now, when the process goes on, or never."""
        if self.is_alive:
            if self.is_stopped:
                self._leaving.append(effect)
            else:
                effect()

    def arrive(self, callback: Callable[[], None]) -> None:
        """Have something reach the process, some passes of the loop from now."""
        self.moving += 1
        self._arrive_after(self._hops(), callback)

    async def travel(self) -> None:
        """Give way to others at least once, and go on only in a process that runs."""
        journey = _Journey(self)
        try:
            for _ in range(self._hops()):
                await asyncio.sleep(0)
        finally:
            journey.end()
        if self.interruption is not None:
            interruption, self.interruption = self.interruption, None
            raise interruption
        while self.is_stopped or not self.is_alive:
            waiting = asyncio.get_running_loop().create_future()
            self._waiting.append(waiting)
            await waiting

    def _arrive_after(self, hops: int, callback: Callable[[], None]) -> None:
        loop = asyncio.get_running_loop()
        if hops > 1:
            loop.call_soon(self._arrive_after, hops - 1, callback)
        else:
            loop.call_soon(self._take, callback)

    def _take(self, callback: Callable[[], None]) -> None:
        self.moving -= 1
        if self.is_alive:
            if self.is_stopped:
                self._arrived.append(callback)
            else:
                callback()


@final
class _Journey:
    """Is under way until it ends, or until whoever makes it is gone: steps of a killed worker end nothing."""

    __slots__ = ("_process",)

    def __init__(self, process: Process) -> None:
        self._process: Process | None = process
        process.moving += 1

    def __del__(self) -> None:
        self.end()

    def end(self) -> None:
        if self._process is not None:
            self._process.moving -= 1
            self._process = None


@final
class ProcessClock:
    """The server's time as one process sees it: its timers do not fire while it is stopped, nor after its death."""

    def __init__(self, clock: VirtualClock, process: Process) -> None:
        self._clock = clock
        self._process = process
        self._timers: set[VirtualTimer] = set()

    def now_ms(self) -> int:
        return self._clock.now_ms()

    def elapsed_s(self) -> float:
        return self._clock.elapsed_s()

    def ms_at(self, elapsed_s: float) -> int:
        return self._clock.ms_at(elapsed_s)

    def call_later(self, delay_s: float, callback: Callable[[], None]) -> ProcessTimer:
        if not self._process.is_alive:
            return ProcessTimer(None)
        timer = ProcessTimer(callback)
        timer.set(self._clock.call_later(delay_s, partial(self._due, timer)), self._timers)
        return timer

    def kill(self) -> None:
        """Cancel all timers, so that time is not advanced for the sake of a dead process."""
        for timer in self._timers:
            timer.cancel()
        self._timers.clear()

    def _due(self, timer: ProcessTimer) -> None:
        timer.unset()
        self._process.arrive(timer.fire)


@final
class ProcessTimer:
    """A timer of one process: cancelled is cancelled, even when it is due but the process stands still."""

    def __init__(self, callback: Callable[[], None] | None) -> None:
        self._callback = callback
        self._timer: VirtualTimer | None = None
        self._timers: set[VirtualTimer] = set()

    def set(self, timer: VirtualTimer, timers: set[VirtualTimer]) -> None:
        self._timer = timer
        self._timers = timers
        timers.add(timer)

    def unset(self) -> None:
        if self._timer is not None:
            self._timers.discard(self._timer)
            self._timer = None

    def cancel(self) -> None:
        self._callback = None
        if self._timer is not None:
            self._timer.cancel()
            self.unset()

    def fire(self) -> None:
        callback, self._callback = self._callback, None
        if callback is not None:
            callback()


def _wake(waiting: asyncio.Future[None]) -> None:
    if not waiting.done():
        waiting.set_result(None)
