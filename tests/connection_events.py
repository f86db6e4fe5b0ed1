"""What nats-server tells the system account of a worker's connections, as it words it."""

from __future__ import annotations

import json

__all__ = ("closed", "opened")


def opened(worker: str, part: str, id: int) -> bytes:
    """The event of a connection that begins. `part` is `main` or `keeper`; `id` is the server's."""
    return _event("client_connect", worker, part, id)


def closed(worker: str, part: str, id: int, reason: str = "Client Closed") -> bytes:
    """The event of a connection that has ended."""
    return _event("client_disconnect", worker, part, id, reason=reason)


def _event(kind: str, worker: str, part: str, id: int, **more: str) -> bytes:
    began = "2026-01-01T00:00:00.000000001Z"
    name = f"relight-worker/{worker}/{part}"
    said = {
        "type": f"io.nats.server.advisory.v1.{kind}",
        "id": "DQSvW5QUCXbGFX6EnmHlxM",
        "timestamp": began,
        "server": {"name": "one", "host": "127.0.0.1", "id": "NAVXE", "ver": "2.12.0", "jetstream": True, "seq": id},
        "client": {"start": began, "host": "127.0.0.1", "id": id, "acc": "$G", "name": name, "lang": "python3"},
        **more,
    }
    return json.dumps(said).encode()
