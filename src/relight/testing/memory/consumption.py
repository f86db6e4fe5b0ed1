"""A pull of one door, and how its deliveries travel."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, final

from relight.actors.door import Delivery
from relight.testing.memory.consumer import MemoryConsumer, Pull
from relight.testing.memory.process import Process

if TYPE_CHECKING:
    from relight.testing.memory.server import MemoryServer

__all__ = ("MemoryConsumption",)


@final
class MemoryConsumption:
    """An open pull of one door."""

    def __init__(
        self, server: MemoryServer, consumer: MemoryConsumer, process: Process, receive: Callable[[Delivery], None]
    ) -> None:
        self._server = server
        self._consumer = consumer
        self._process = process
        self._receive = receive
        self._pull = Pull(self._deliver)
        self._is_open = True

    def add_places(self, count: int) -> None:
        self._process.send(partial(self._add_places, count))

    async def close(self) -> None:
        await self._process.travel()
        self.end()
        await self._process.travel()

    def end(self) -> None:
        """Stop asking, at once. Ending twice is harmless."""
        self._is_open = False
        self._consumer.close(self._pull)

    def _add_places(self, count: int) -> None:
        if self._is_open:
            self._consumer.add_places(self._pull, count)

    def _deliver(self, delivery: Delivery) -> None:
        arrivals = self._server.faults.arrivals(delivery.subject)
        if not arrivals:
            # The place is free again: the real door asks anew when a pull has ended without its deliveries.
            self._add_places(1)
        for number, delay_s in enumerate(arrivals):
            arrive = partial(self._process.arrive, partial(self._receive, delivery))
            self._server.after(delay_s, arrive if number == 0 else partial(self._repeat, delivery))

    def _repeat(self, delivery: Delivery) -> None:
        self._consumer.nak(delivery.sequence, self, 0.0)
