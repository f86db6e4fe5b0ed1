"""Where a client and its workers get their doors when there is no server: memory."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager, nullcontext
from typing import final

from relight.actors.door import Door
from relight.subjects.ids import WorkerId
from relight.testing.memory.door import MemoryDoor
from relight.testing.memory.server import MemoryServer
from relight.testing.virtual_clock import VirtualClock

__all__ = ("MemoryBackend",)


@final
class MemoryBackend:
    """Implements `sdk._backend.Backend`.

    A client only ever waits for others, so time need not pass for its timers: they are kept on a clock of their own,
    which follows the server's.
    """

    def __init__(self, server: MemoryServer, name: str) -> None:
        self._server = server
        self.clock = VirtualClock(server.clock.now_ms())
        self.door: MemoryDoor = server.door(name, clock=self.clock)

    def client_door(self) -> AbstractAsyncContextManager[Door]:
        return nullcontext(self.door)

    def worker_door(self, worker: WorkerId) -> AbstractAsyncContextManager[Door]:
        return nullcontext(self._server.door(worker))

    def follow(self) -> None:
        """Bring the client's clock to the server's time."""
        self.clock.advance((self._server.clock.now_ms() - self.clock.now_ms()) / 1000)
