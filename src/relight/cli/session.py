"""An open client for one verb."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from relight.cli.place import Place
    from relight.sdk._client import Relight

__all__ = ("client",)


@asynccontextmanager
async def client(place: Place) -> AsyncGenerator[Relight]:
    """Connect, without a word but the error's."""
    from relight.cli.logging import quiet_logging

    quiet_logging(place.settings.log_level)
    async with place.client() as relight:
        yield relight
