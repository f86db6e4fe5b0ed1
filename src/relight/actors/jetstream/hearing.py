"""How long an answer is waited for: while this worker can hear."""

from __future__ import annotations

import asyncio
from typing import Any

__all__ = ("is_heard",)

_SLICES = 5


async def is_heard(answer: asyncio.Future[Any], *, timeout_s: float) -> bool:
    """Wait for an answer, and return whether it has come within `timeout_s`.

    Of a time in which this loop stood still, or could not get on, a fifth of the time-out counts at most: what has come
    meanwhile is still to be read, and who asks would take the living for silent, and their runs from them.
    """
    for _ in range(_SLICES):
        await asyncio.wait((answer,), timeout=timeout_s / _SLICES)
        if answer.done():
            return True
    return False
