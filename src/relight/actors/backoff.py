"""Waiting between tries, longer each time, with jitter so that many waiters do not come back together."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import TypeVar

import structlog

from relight.actors.door import Clock, KeyDestroyedError, LaterVersionError
from relight.config.limits import LIMITS
from relight.errors import SealedError, UnavailableError

__all__ = ("Backoff", "pause", "while_held")

T = TypeVar("T")

log = structlog.get_logger("relight")


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


async def while_held(clock: Clock, operation: Callable[[], Awaitable[T]]) -> T:
    """Repeat an idempotent operation of a run that is held until the server, and who keeps the keys, have answered.

    Or until this worker was replaced by one that can read what stands there. To let the run go for want of a key would
    throw away what its steps have done. Raises `KeyDestroyedError`: that one never comes back.
    """
    backoff: Backoff | None = None
    while True:
        try:
            return await operation()
        except KeyDestroyedError:
            raise
        except (UnavailableError, SealedError, LaterVersionError) as error:
            if backoff is None and isinstance(error, LaterVersionError):
                log.warning("later_version_needed", error=str(error))
            backoff = backoff or Backoff(clock, LIMITS.append_retry_s, LIMITS.append_retry_max_s)
        await backoff.wait()
