"""Who has died, read from the server's connection events. Pure.

The server tells the system account of every connection that ends, with the reason. A process that ends, however it
ends, has its connections closed by its kernel: `Client Closed`; or, if bytes from the server were still unread in the
socket, reset, which the server sees as an error on its next read or write (seen: 1 kill of 6, and the rule in a burst).
Everything else, a server that shuts down, a client too slow, a connection gone stale, says nothing about the process. A
worker has two connections in two threads; one alone may blink.
"""

from __future__ import annotations

from typing import NamedTuple, final

import msgspec

from relight.actors.jetstream.keeper_connection import worker_of
from relight.subjects.ids import WorkerId

__all__ = ("Closing", "Deaths", "Opening", "event_of")

_CLOSED_BY_KERNEL = {"Client Closed", "Read Error", "Write Error"}
_PARTS = {"main", "keeper"}
_WORKERS_MAX = 4096


class Opening(NamedTuple):
    """A worker's connection began. `id` is unique over all servers."""

    worker: WorkerId
    part: str
    id: str


class Closing(NamedTuple):
    """A worker's connection ended."""

    worker: WorkerId
    part: str
    id: str
    reason: str


class _Client(msgspec.Struct):
    id: int
    name: str = ""


class _Server(msgspec.Struct):
    id: str


class _Event(msgspec.Struct):
    type: str
    server: _Server
    client: _Client
    reason: str = ""


_decoder = msgspec.json.Decoder(_Event)


def event_of(data: bytes) -> Opening | Closing | None:
    """Return what a connection event of the system account says about a worker; None if it says nothing."""
    # Clients that come and go are many and workers few: most events end here, undecoded.
    if b"relight-worker/" not in data:
        return None
    try:
        event = _decoder.decode(data)
    except msgspec.MsgspecError:
        return None
    named = worker_of(event.client.name)
    if named is None:
        return None
    id = f"{event.server.id}/{event.client.id}"
    if event.type.endswith("client_connect"):
        return Opening(*named, id)
    return Closing(*named, id, event.reason)


class _Parts:
    """The connections of one worker that are known to be open, and the parts that were closed by their process."""

    def __init__(self) -> None:
        self.open: dict[str, set[str]] = {part: set() for part in _PARTS}
        self.closed: set[str] = set()


@final
class Deaths:
    """Counts connections. A worker is gone when the last connection of each part was closed by its own process."""

    def __init__(self) -> None:
        self._workers: dict[WorkerId, _Parts] = {}

    def note(self, event: Opening | Closing) -> bool:
        """Take an event in; True if with it the worker is gone."""
        parts = self._workers.setdefault(event.worker, _Parts())
        match event:
            case Opening():
                # A part has one connection at a time: of the one before, nobody here may ever see the end.
                parts.open[event.part] = {event.id}
                parts.closed.discard(event.part)
            case Closing():
                parts.open[event.part].discard(event.id)
                if event.reason in _CLOSED_BY_KERNEL and not parts.open[event.part]:
                    parts.closed.add(event.part)
        self._stay_bounded()
        return isinstance(event, Closing) and self.is_gone(event.worker)

    def is_gone(self, worker: WorkerId) -> bool:
        return worker in self._workers and self._workers[worker].closed == _PARTS

    def forget(self, worker: WorkerId) -> None:
        """The worker's death has been dealt with."""
        self._workers.pop(worker, None)

    def _stay_bounded(self) -> None:
        while len(self._workers) > _WORKERS_MAX:
            del self._workers[next(iter(self._workers))]
