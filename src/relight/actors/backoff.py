"""Waiting between tries, longer each time, with jitter so that many waiters do not come back together."""

from __future__ import annotations

import asyncio
import random

from relight.actors.door import Clock

__all__ = ("Backoff", "pause")


class Backoff:
    """Pauses that double from `first_s` up to `max_s`."""

    def __init__(self, clock: Clock, first_s: float, max_s: float) -> None:
        self._clock = clock
        self._next_s = first_s
        self._max_s = max_s

    async def wait(self) -> None:
        delay_s = self._next_s * random.uniform(0.5, 1.0)
        self._next_s = min(self._next_s * 2, self._max_s)
        await pause(self._clock, delay_s)


async def pause(clock: Clock, delay_s: float) -> None:
    """Wait for `delay_s` of the clock's time."""
    done = asyncio.get_running_loop().create_future()
    handle = clock.call_later(delay_s, lambda: None if done.done() else done.set_result(None))
    try:
        await done
    finally:
        handle.cancel()
