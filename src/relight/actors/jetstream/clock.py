"""Time as the server sees it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from datetime import datetime
from functools import partial
from typing import final

import msgspec

from relight.actors.jetstream.api import Api

__all__ = ("ServerClock",)

_SAMPLES = 3
_WRONG_MS = 1_000


class _Info(msgspec.Struct):
    ts: datetime


@final
class ServerClock:
    """The server's time at the last `anchor`, carried on by a clock that nobody can set. Does not go back.

    Unless an anchor shows that it was wrong by more than a second: it would stand still for as long.

    Workers on machines with different clocks agree on when a timer is due, and a jump of this machine's clock moves
    nothing. The error is about half a round trip.
    """

    def __init__(self, monotonic_s: Callable[[], float] | None = None) -> None:
        self._monotonic_s = monotonic_s or _boot_clock()
        self._offset_s = time.time() - self._monotonic_s()
        self._latest_ms = 0

    async def anchor(self, api: Api, stream: str) -> None:
        """Ask the server for its time; of several answers the fastest is the most exact.

        Raises:
            UnavailableError: No answer in time. The clock goes on as before.
        """
        samples: list[tuple[float, float]] = []
        for _ in range(_SAMPLES):
            asked_s = self._monotonic_s()
            info = await api.need(f"STREAM.INFO.{stream}", _Info)
            samples.append(self._sample(asked_s, info.ts.timestamp()))
        self._offset_s = min(samples)[1]
        self.set_right()

    def set_right(self) -> None:
        """Go back, if the time that was last shown is later by far."""
        if self._latest_ms - (self._monotonic_s() + self._offset_s) * 1000 > _WRONG_MS:
            self._latest_ms = 0

    def _sample(self, asked_s: float, server_s: float) -> tuple[float, float]:
        round_trip_s = self._monotonic_s() - asked_s
        return round_trip_s, server_s - (asked_s + round_trip_s / 2)

    def now_ms(self) -> int:
        """Return milliseconds since 1970."""
        return self.ms_at(self._monotonic_s())

    def ms_at(self, elapsed_s: float) -> int:
        """See `Clock.ms_at`."""
        now_ms = int((elapsed_s + self._offset_s) * 1000)
        if now_ms > self._latest_ms:
            self._latest_ms = now_ms
        return self._latest_ms

    def elapsed_s(self) -> float:
        """See `Clock.elapsed_s`."""
        return self._monotonic_s()

    def call_later(self, delay_s: float, callback: Callable[[], None]) -> asyncio.TimerHandle:
        """Call `callback` on the running loop after `delay_s`."""
        return asyncio.get_running_loop().call_later(delay_s, callback)


def _boot_clock() -> Callable[[], float]:
    """Return, where it exists, the clock that also runs while the machine sleeps: no lease waits for it to wake up."""
    boot_time = getattr(time, "CLOCK_BOOTTIME", None)
    return time.monotonic if boot_time is None else partial(time.clock_gettime, boot_time)
