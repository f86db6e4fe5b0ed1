"""What most tests of crashes in memory begin with."""

from __future__ import annotations

from collections.abc import AsyncGenerator

import pytest
from tests.crash.workers_in_memory import WorkersInMemory, workers_in_memory


@pytest.fixture
async def site() -> AsyncGenerator[WorkersInMemory]:
    """A server with one client; a test adds the workers."""
    async with workers_in_memory() as site:
        yield site
