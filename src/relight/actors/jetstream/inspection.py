"""What a server and the streams on it look like, for who wants to judge them. Nothing is made or changed."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from typing import final

import msgspec

from relight.actors.jetstream.api import NO_STREAM, Api, ApiError, check_jetstream
from relight.actors.jetstream.client import Access
from relight.actors.jetstream.connection import Connection
from relight.actors.jetstream.mux import Mux
from relight.actors.jetstream.streams import Config
from relight.errors import UnavailableError

__all__ = (
    "Cluster",
    "Inspection",
    "Peer",
    "ServerSight",
    "StreamSight",
    "open_inspection",
    "server_sight",
    "server_sights",
)

_FIRST_S = 2.0
_OTHERS_S = 0.3
_CONSUMERS_MAX = 10_000


class Peer(msgspec.Struct):
    """A server that holds a copy of a stream, besides its leader."""

    name: str = ""
    current: bool = False
    offline: bool = False


class Cluster(msgspec.Struct):
    """Where a stream lives."""

    name: str = ""
    leader: str = ""
    replicas: list[Peer] = []


class StreamSight(msgspec.Struct):
    """One stream, with the server's time when it answered."""

    config: Config
    ts: datetime
    cluster: Cluster = msgspec.field(default_factory=Cluster)


class _Storage(msgspec.Struct):
    sync_interval: int = 0
    sync_always: bool = False


class _JetStream(msgspec.Struct):
    config: _Storage | None = None


class _Variables(msgspec.Struct):
    server_name: str = ""
    version: str = ""
    now: datetime | None = None
    jetstream: _JetStream = msgspec.field(default_factory=_JetStream)


class _SystemAnswer(msgspec.Struct):
    data: _Variables


class _Consumer(msgspec.Struct):
    name: str
    config: Config


class _Page(msgspec.Struct):
    consumers: list[_Consumer] = []
    total: int = 0


class ServerSight(msgspec.Struct):
    """What one server tells the system account."""

    name: str
    version: str
    now: datetime | None
    sync_always: bool
    sync_interval_s: float


@final
class Inspection:
    """An open connection to look through. Made by `open_inspection`."""

    def __init__(self, connection: Connection, api: Api) -> None:
        version = connection.connected_server_version
        self.version = (version.major, version.minor, version.patch)
        self.url = connection.connected_url.netloc.rpartition("@")[2] if connection.connected_url else ""
        self.payload_bytes_max = connection.max_payload
        self._api = api

    async def stream(self, name: str) -> StreamSight | None:
        """Return one stream, None if there is none. Raises `UnavailableError`."""
        try:
            return await self._api.ask(f"STREAM.INFO.{name}", StreamSight)
        except ApiError as error:
            if error.code == NO_STREAM:
                return None
            raise UnavailableError(str(error)) from error

    async def consumers(self, stream: str) -> list[Config]:
        """Return the configurations of a stream's consumers, at most 10,000. Raises `UnavailableError`."""
        found: list[Config] = []
        while len(found) < _CONSUMERS_MAX:
            page = await self._api.need(f"CONSUMER.LIST.{stream}", _Page, {"offset": len(found)})
            found += [{"name": one.name, **one.config} for one in page.consumers]
            if not page.consumers or len(found) >= page.total:
                break
        return found

    async def skew_s(self, stream: str) -> float:
        """Return how far the server's clock is ahead of this machine's. Raises `UnavailableError`."""
        asked_s = time.time()
        answer = await self._api.need(f"STREAM.INFO.{stream}", StreamSight)
        return answer.ts.timestamp() - (asked_s + time.time()) / 2


@asynccontextmanager
async def open_inspection(access: Access) -> AsyncGenerator[Inspection]:
    """Connect to look.

    Raises:
        UnavailableError: Nobody answered in time.
        UnsuitableServerError: The server is too old, or this account has no JetStream.
    """
    connection = await Connection.open(access, name="relight-doctor")
    try:
        mux = Mux(connection)
        await check_jetstream(mux)
        yield Inspection(connection, Api(mux))
    finally:
        await connection.close()


async def server_sights(access: Access) -> Sequence[ServerSight]:
    """Ask all servers as the system account; return those with JetStream, for the others store nothing.

    Empty if this is not the system account.

    Raises:
        UnavailableError: Nobody let us in.
        UnsuitableServerError: The server is too old.
    """
    connection = await Connection.open(access, name="relight-doctor-system")
    try:
        answers: asyncio.Queue[bytes] = asyncio.Queue()
        inbox = connection.new_inbox()
        connection.listen(inbox, lambda _subject, _reply, data, _headers: answers.put_nowait(data))
        connection.send("$SYS.REQ.SERVER.PING.VARZ", b"", reply=inbox)
        sights = [server_sight(one) for one in await _all_of(answers) if one]
        return [one for one in sights if one is not None]
    finally:
        await connection.close()


async def _all_of(answers: asyncio.Queue[bytes]) -> list[bytes]:
    """Nobody says how many servers there are: the last one has answered when nothing more comes."""
    found: list[bytes] = []
    while True:
        try:
            async with asyncio.timeout(_OTHERS_S if found else _FIRST_S):
                found.append(await answers.get())
        except TimeoutError:
            return found


def server_sight(answer: bytes) -> ServerSight | None:
    """Return what a server's variables tell, None if it has no JetStream. Raises `UnavailableError`."""
    try:
        variables = msgspec.json.decode(answer, type=_SystemAnswer).data
    except msgspec.MsgspecError as error:
        raise UnavailableError(f"a server's variables can't be read ({error})") from error
    storage = variables.jetstream.config
    if storage is None:
        return None
    return ServerSight(
        name=variables.server_name,
        version=variables.version,
        now=variables.now,
        sync_always=storage.sync_always,
        sync_interval_s=storage.sync_interval / 1e9,
    )
