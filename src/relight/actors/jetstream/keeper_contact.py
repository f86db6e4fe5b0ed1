"""Renewal of leases, and the proof of contact that says whether they can still be trusted."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import final

import structlog
from nats.aio.client import Client

from relight.actors.jetstream.client import WORLD_ERRORS
from relight.actors.jetstream.keeper_connection import confirm
from relight.actors.jetstream.keeper_leases import Leases
from relight.config.limits import Limits
from relight.errors import UnavailableError

__all__ = ("Contact", "publish_all", "uptime")

_RENEWAL = b"+WPI"
_BATCH = 250

_log = structlog.stdlib.get_logger("relight.keeper")

# On macOS the monotonic clock runs while the machine sleeps; on Linux only this one does.
_CLOCK: int = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


def uptime() -> float:
    """Seconds by a clock that also runs while the process is stopped or the machine is suspended."""
    return time.clock_gettime(_CLOCK)


async def publish_all(client: Client, subjects: list[str], data: bytes) -> None:
    """Publish the same on many subjects, leaving the interpreter to the main thread every now and then."""
    for start in range(0, len(subjects), _BATCH):
        for subject in subjects[start : start + _BATCH]:
            await client.publish(subject, data)
        await asyncio.sleep(0)


@final
class Contact:
    """Renews leases in rounds. `is_fresh` and `gaps` may be read from any thread."""

    def __init__(self, leases: Leases, limits: Limits) -> None:
        self._leases = leases
        self._limits = limits
        self._proven_at = float("-inf")
        self.round_s = min(1.0, limits.renew_s / 3)
        self.gaps = 0
        """Grows whenever contact was lost for longer than half of `ack_wait`; seen before `is_fresh` is true again."""
        self.on_back: Callable[[], None] | None = None
        """Called when contact is proven after it was lost for that long."""

    def is_fresh(self) -> bool:
        return uptime() - self._proven_at < self._limits.ack_wait_s / 2

    async def round(self, client: Client) -> None:
        """Renew what is due and prove contact; what fails stays due, and contact unproven."""
        began_at = uptime()
        reconnects = client.stats["reconnects"]
        is_back = not self.is_fresh()
        if is_back:
            self._leases.doubt()
            self.gaps += 1
        try:
            async with asyncio.timeout(self._limits.ack_wait_s / 4):
                renewed = await self._renew(client)
        except (UnavailableError, *WORLD_ERRORS) as error:
            _log.debug("contact_unproven", error=repr(error))
            return
        # Answers on a new connection say nothing about renewals written to the old one.
        if client.stats["reconnects"] == reconnects:
            self._leases.renew(renewed, time.monotonic())
            self._proven_at = began_at
            if is_back and self.on_back is not None:
                self.on_back()

    async def _renew(self, client: Client) -> list[str]:
        # Renewed one round early, so that never more than `renew_s` pass between two renewals.
        due = self._leases.due(time.monotonic() - self._limits.renew_s + self.round_s)
        await publish_all(client, due, _RENEWAL)
        await confirm(client)
        return due
