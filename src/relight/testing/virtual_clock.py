"""Time that moves only when a test says so."""

from __future__ import annotations

from collections.abc import Callable
from heapq import heapify, heappop, heappush
from itertools import count
from math import ceil
from typing import final

__all__ = ("VirtualClock", "VirtualTimer")

_START_MS = 1_767_225_600_000  # 2026-01-01T00:00:00Z: a date that reads as one in a failing test's output.
_CANCELLED_MAX = 1_000


@final
class VirtualTimer:
    """A callback that waits for its time. Cancelling it twice, or after it fired, is harmless."""

    __slots__ = ("_cancelled", "callback")

    def __init__(self, callback: Callable[[], None], cancelled: Callable[[], None]) -> None:
        self.callback: Callable[[], None] | None = callback
        self._cancelled = cancelled

    def cancel(self) -> None:
        if self.callback is not None:
            self.callback = None
            self._cancelled()


@final
class VirtualClock:
    """A `Clock` whose time stands still until `advance` or `advance_to_next` moves it.

    Timers fire in the order of their time, those of one time in the order in which they were set.
    """

    def __init__(self, start_ms: int = _START_MS) -> None:
        self._now_ms = start_ms
        self._timers: list[tuple[int, int, VirtualTimer]] = []
        self._numbers = count()
        self._cancelled = 0

    def now_ms(self) -> int:
        return self._now_ms

    def elapsed_s(self) -> float:
        return self._now_ms / 1000

    def ms_at(self, elapsed_s: float) -> int:
        return round(elapsed_s * 1000)

    def call_later(self, delay_s: float, callback: Callable[[], None]) -> VirtualTimer:
        """Call `callback` when time has moved by `delay_s`, rounded up to a millisecond; never before an advance."""
        timer = VirtualTimer(callback, self._forget_cancelled)
        due_ms = self._now_ms + max(0, ceil(delay_s * 1000))
        heappush(self._timers, (due_ms, next(self._numbers), timer))
        return timer

    def next_due_ms(self) -> int | None:
        """Return when the earliest timer is due; None if nothing waits for time to pass."""
        while self._timers and self._timers[0][2].callback is None:
            heappop(self._timers)
            self._cancelled -= 1
        return self._timers[0][0] if self._timers else None

    def advance_to_next(self) -> bool:
        """Move to the earliest timer and fire all that are due then; False if there is none.

        What a callback sets for the same moment waits for the next call, so that a callback that sets itself again
        can't hang the caller.
        """
        due_ms = self.next_due_ms()
        if due_ms is None:
            return False
        self._now_ms = due_ms
        for timer in self._take_due():
            callback, timer.callback = timer.callback, None
            if callback is not None:
                callback()
            else:
                # One of the timers fired just now cancelled this one, which the heap no longer holds.
                self._cancelled -= 1
        return True

    def advance(self, seconds: float) -> None:
        """Move by `seconds` and fire on the way what becomes due, each timer at its own time."""
        target_ms = self._now_ms + ceil(seconds * 1000)
        while (due_ms := self.next_due_ms()) is not None and due_ms <= target_ms:
            self.advance_to_next()
        self._now_ms = target_ms

    def _take_due(self) -> list[VirtualTimer]:
        due: list[VirtualTimer] = []
        while self.next_due_ms() == self._now_ms:
            due.append(heappop(self._timers)[2])
        return due

    def _forget_cancelled(self) -> None:
        # Nearly every timer is a lease's time-out that is cancelled; without this the heap would keep them all until
        # time moves, which in a long run of short steps it never does.
        self._cancelled += 1
        if self._cancelled > _CANCELLED_MAX and self._cancelled * 2 > len(self._timers):
            self._timers = [entry for entry in self._timers if entry[2].callback is not None]
            heapify(self._timers)
            self._cancelled = 0
