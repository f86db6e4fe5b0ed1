"""The timers of one run: numbered when they are made, reported when the loop blocks, fired from outside."""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Callable
from typing import Any, final

__all__ = ("RunTimer", "Timers")


class RunTimer(asyncio.TimerHandle):
    """A callback that waits for the run's time. Number 0 is one that needs no durable timer."""

    __slots__ = ("armed", "number")

    def __init__(
        self,
        when: float,
        callback: Callable[..., object],
        args: tuple[Any, ...],
        loop: asyncio.AbstractEventLoop,
        context: contextvars.Context | None,
    ) -> None:
        super().__init__(when, callback, args, loop, context)
        self.number = 0
        self.armed = False


@final
class Timers:
    """Which timers stand, and what of it is not reported yet."""

    __slots__ = ("_disarmed", "_fresh", "_last_number", "_standing")

    def __init__(self) -> None:
        self._last_number = 0
        self._standing: dict[int, RunTimer] = {}
        self._fresh: list[RunTimer] = []
        self._disarmed: list[int] = []

    def add(self, timer: RunTimer) -> None:
        """Give the timer the next number, from 1."""
        self._last_number += 1
        timer.number = self._last_number
        self._standing[timer.number] = timer
        self._fresh.append(timer)

    def cancel(self, timer: RunTimer) -> None:
        """Forget a timer; disarm it if it was armed and has not fired."""
        known = self._standing.pop(timer.number, None)
        if known is not None and known.armed:
            self._disarmed.append(known.number)

    def take(self, number: int) -> RunTimer | None:
        """Return the timer that fires now; None if it was cancelled or has fired."""
        return self._standing.pop(number, None)

    def report(self, arm: Callable[[int, float], None], disarm: Callable[[int], None]) -> None:
        """Say what changed since the last report: first what was cancelled, then what is new and still stands."""
        if not self._fresh and not self._disarmed:
            return
        disarmed, self._disarmed = self._disarmed, []
        fresh, self._fresh = self._fresh, []
        for number in disarmed:
            disarm(number)
        for timer in fresh:
            if timer.number in self._standing:
                timer.armed = True
                arm(timer.number, timer.when())
