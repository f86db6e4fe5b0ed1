"""A bare NATS connection for tests that look at a server behind Relight's back."""

from __future__ import annotations

import asyncio
import json
from base64 import b64decode
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

import nats
from nats.aio.client import Client

__all__ = ("connected", "create_stream", "last_message", "publish_raw", "store")


@asynccontextmanager
async def connected(url: str | Sequence[str]) -> AsyncGenerator[Client]:
    """A connection that is closed at the end of the block."""
    servers = [url] if isinstance(url, str) else list(url)
    connection = await nats.connect(servers)  # pyright: ignore[reportUnknownMemberType]  # its options are untyped
    try:
        yield connection
    finally:
        await connection.close()


async def create_stream(connection: Client, name: str, *, replicas: int = 1) -> None:
    """Make a stream whose one subject is its name."""
    body = json.dumps({"name": name, "subjects": [name], "num_replicas": replicas}).encode()
    reply = await connection.request(f"$JS.API.STREAM.CREATE.{name}", body, timeout=10)
    assert "error" not in json.loads(reply.data), reply.data


async def store(connection: Client, subject: str, data: bytes) -> None:
    """Publish and return when it is stored."""
    reply = await connection.request(subject, data, timeout=10)
    assert "error" not in json.loads(reply.data), reply.data


async def last_message(connection: Client, stream: str) -> bytes:
    """Return the newest message of a stream made by `create_stream`, as its leader has it."""
    body = json.dumps({"last_by_subj": stream}).encode()
    reply = await connection.request(f"$JS.API.STREAM.MSG.GET.{stream}", body, timeout=10)
    data: str = json.loads(reply.data)["message"]["data"]
    return b64decode(data)


async def publish_raw(url: str, subject: str, headers: bytes) -> None:
    """Publish with headers that no client library would write."""
    address = urlsplit(url)
    reader, writer = await asyncio.open_connection(address.hostname, address.port)
    writer.write(b'CONNECT {"verbose":false,"headers":true,"no_responders":true}\r\n')
    writer.write(b"HPUB %s %d %d\r\n%s\r\nPING\r\n" % (subject.encode(), len(headers), len(headers), headers))
    while not (line := await reader.readline()).startswith(b"PONG"):
        assert not line.startswith(b"-ERR"), line
    writer.close()
    await writer.wait_closed()
