"""Something that happens while the code under test waits for it: nobody needs to guess how long that takes."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

__all__ = ("LONG_S", "at_a_long_pause")

LONG_S = 7_200.0


def at_a_long_pause(monkeypatch: pytest.MonkeyPatch, happens: Callable[[], Awaitable[None]]) -> None:
    """Whoever is about to sleep for an hour or more goes on as soon as this has happened."""
    sleep = asyncio.sleep

    async def pause(delay_s: float) -> None:
        await (sleep(delay_s) if delay_s < LONG_S / 2 else happens())

    monkeypatch.setattr(asyncio, "sleep", pause)
