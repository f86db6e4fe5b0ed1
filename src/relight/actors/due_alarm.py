"""The alarm by which an owner keeps the next due time of its run itself."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from relight.actors.door import Clock, Handle

__all__ = ("DueAlarm",)


class DueAlarm:
    """Rings when a time has come.

    Attributes:
        due_ms: When that is; None if no time is watched.
    """

    __slots__ = ("_clock", "_handle", "due_ms")

    def __init__(self, clock: Clock) -> None:
        self.due_ms: int | None = None
        self._clock = clock
        self._handle: Handle | None = None

    def watch(self, due_ms: int | None, now_ms: int, ring: Callable[[], None]) -> None:
        """Watch this time in place of the one before."""
        if due_ms == self.due_ms and self._handle is not None:
            return
        self.cancel()
        if due_ms is not None:
            self.due_ms = due_ms
            self._handle = self._clock.call_later(max(0, due_ms - now_ms) / 1000, partial(self._time_has_come, ring))

    def cancel(self) -> None:
        """Watch nothing."""
        if self._handle is not None:
            self._handle.cancel()
        self._handle = self.due_ms = None

    def _time_has_come(self, ring: Callable[[], None]) -> None:
        self._handle = self.due_ms = None
        ring()
