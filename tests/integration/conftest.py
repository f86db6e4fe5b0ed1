"""A client in a namespace of its own, on the server that the tests of this process share."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from relight import Relight
from relight.config.server import EmbeddedServer


@pytest.fixture
async def client(shared_server: EmbeddedServer, namespace: str) -> AsyncIterator[Relight]:
    """An open client; workers of the test work for it."""
    async with Relight(shared_server.url, namespace=namespace) as client:
        yield client
