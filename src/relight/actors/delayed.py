"""Callbacks that are due after one and the same delay: one timer for all of them.

A busy worker wants two or three for each run, and cancels nearly all: with a timer each they cost as much as a turn.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import final

from msgspec import Struct

from relight.actors.door import Clock, Handle

__all__ = ("Delayed",)

_ROUNDING_S = 0.0005


@final
class Delayed:
    """Calls back once, `delay_s` after it was asked to, unless that is cancelled.

    Args:
        clock: Whose time counts.
        delay_s: Of all its callbacks.
        passes: Of the loop, for which what is due waits: what is about to happen in them may cancel it.
    """

    def __init__(self, clock: Clock, delay_s: float, *, passes: int = 0) -> None:
        self._clock = clock
        self._delay_s = delay_s
        self._passes = passes
        self._calls: deque[_Call] = deque()
        self._timer: Handle | None = None

    @property
    def is_waiting(self) -> bool:
        """Whether time has to pass until something is called back."""
        return bool(self._calls)

    def call(self, callback: Callable[[], None], now_s: float) -> Handle:
        """Call `callback` after the delay, counted from `now_s`, which is not before that of an earlier call."""
        call = _Call(self, now_s + self._delay_s, callback)
        self._calls.append(call)
        if self._timer is None:
            self._timer = self._clock.call_later(self._delay_s, self._time_has_come)
        return call

    def drop_cancelled(self) -> None:
        """Forget the earliest ones if they were cancelled; without any, no timer is left."""
        calls = self._calls
        while calls and calls[0].callback is None:
            calls.popleft()
        if not calls and self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _time_has_come(self) -> None:
        now_s = self._clock.elapsed_s()
        due: list[_Call] = []
        while self._calls and self._calls[0].due_s <= now_s + _ROUNDING_S:
            due.append(self._calls.popleft())
        self._timer = None
        self._call_back(due, self._passes)
        if self._calls and self._timer is None:
            self._timer = self._clock.call_later(self._calls[0].due_s - now_s, self._time_has_come)

    def _call_back(self, due: list[_Call], passes: int) -> None:
        if passes and due:
            asyncio.get_running_loop().call_soon(self._call_back, due, passes - 1)
            return
        for one in due:
            if one.callback is not None:
                one.callback()


class _Call(Struct):
    delayed: Delayed
    due_s: float
    callback: Callable[[], None] | None

    def cancel(self) -> None:
        if self.callback is not None:
            self.callback = None
            self.delayed.drop_cancelled()
