"""The watchdog: names the code that blocks a worker's loop, and ends the process when it stays blocked.

A worker whose loop stands still answers for its runs and renews their leases (another thread does that), but none of
them moves. So it may only stay so for a while; then the process ends, and its runs go on elsewhere.
"""

from __future__ import annotations

import asyncio
import os
import sys
import threading
from collections.abc import Callable
from time import monotonic
from types import FrameType
from typing import final

import structlog

from relight.config.limits import LIMITS, Limits

__all__ = ("EXIT_LOOP_BLOCKED", "Watchdog")

EXIT_LOOP_BLOCKED = 70
"""Exit code of a worker that ended itself because its loop stayed blocked (sysexits: internal software error)."""

_FRAMES_SHOWN = 6

_log = structlog.stdlib.get_logger("relight.watchdog")


@final
class Watchdog:
    """Watches one loop from another thread.

    `limits.loop_blocked_warn_s` after the loop's last tick the blocking frame is logged as `loop_blocked`; half-way to
    `limits.loop_blocked_end_s` once more; then `loop_blocked_end` is logged and the process ends with
    `EXIT_LOOP_BLOCKED`, without any clean-up. Time in which the whole process was stopped does not count.
    """

    def __init__(self, limits: Limits = LIMITS, *, end: Callable[[int], object] = os._exit) -> None:
        self.check_s = limits.loop_blocked_warn_s / 4
        self._limits = limits
        self._end = end
        self._ticks = 0
        self._ticks_seen = 0
        self._checked_at = 0.0
        self._blocked_s = 0.0
        self._warn_at_s = limits.loop_blocked_warn_s
        self._thread = 0
        self._timer: asyncio.TimerHandle | None = None
        self.has_ended = False

    def attach(self) -> None:
        """Begin to watch the running loop; call it there."""
        self._thread = threading.get_ident()
        self._tick(asyncio.get_running_loop())

    def detach(self) -> None:
        """Stop watching; call it on the watched loop, before that ends."""
        if self._timer is not None:
            self._timer.cancel()
        self._timer = None

    def check(self) -> None:
        """Look whether the loop has moved; to be called every `check_s` from another thread."""
        now = monotonic()
        # After a SIGSTOP or a suspended VM this thread may run before the loop does: one check counts as one step.
        step = min(now - self._checked_at, 2 * self.check_s)
        self._checked_at = now
        if self._timer is None or self._ticks != self._ticks_seen:
            self._ticks_seen, self._blocked_s = self._ticks, 0.0
            self._warn_at_s = self._limits.loop_blocked_warn_s
            return
        self._blocked_s += step
        self._judge()

    def _judge(self) -> None:
        if self._blocked_s >= self._limits.loop_blocked_end_s:
            self.has_ended = True
            self._say("loop_blocked_end", exit_code=EXIT_LOOP_BLOCKED)
            self._end(EXIT_LOOP_BLOCKED)
        elif self._blocked_s >= self._warn_at_s:
            is_second = self._warn_at_s > self._limits.loop_blocked_warn_s
            half = max(self._limits.loop_blocked_end_s / 2, 2 * self._limits.loop_blocked_warn_s)
            self._warn_at_s = float("inf") if is_second else half
            self._say("loop_blocked")

    def _say(self, event: str, **fields: object) -> None:
        # The loop may be blocked in a write to the very stream that the log goes to; then a log call never returns, and
        # must not keep this thread from its renewals or from the end.
        frames = sys._current_frames()  # pyright: ignore[reportPrivateUsage]  # documented, for this very purpose
        fields |= {"blocked_s": round(self._blocked_s, 1), **_place(frames.get(self._thread))}
        speaker = threading.Thread(target=_log.warning, args=(event,), kwargs=fields, daemon=True)
        speaker.start()
        speaker.join(timeout=1.0)

    def _tick(self, loop: asyncio.AbstractEventLoop) -> None:
        self._ticks += 1
        self._timer = loop.call_later(self.check_s, self._tick, loop)


def _place(frame: FrameType | None) -> dict[str, object]:
    if frame is None:
        return {"file": "", "line": 0, "function": "", "callers": []}
    code = frame.f_code
    return {"file": code.co_filename, "line": frame.f_lineno, "function": code.co_name, "callers": _callers(frame)}


def _callers(frame: FrameType | None) -> list[str]:
    shown: list[str] = []
    while frame is not None and len(shown) < _FRAMES_SHOWN:
        shown.append(f"{frame.f_code.co_filename}:{frame.f_lineno} {frame.f_code.co_name}")
        frame = frame.f_back
    return shown
