"""Runs that one more death would quarantine come in one after the other: whoever dies then has had only one of them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from relight.actors.run.state import RunState
from relight.config.limits import LIMITS

__all__ = ("LastTry",)


class LastTry:
    """What one run of a worker has at a time."""

    def __init__(self) -> None:
        self._lock = asyncio.Lock()

    @asynccontextmanager
    async def of(self, state: RunState) -> AsyncGenerator[None]:
        """Let no other such run come in meanwhile, if it is one; but nobody waits longer than `limits.ack_wait_s`."""
        if state.deaths != LIMITS.deaths_max - 1:
            yield
            return
        try:
            async with asyncio.timeout(LIMITS.ack_wait_s):
                await self._lock.acquire()
        except TimeoutError:  # Whoever has it is held up, not dead.
            yield
            return
        try:
            yield
        finally:
            self._lock.release()
