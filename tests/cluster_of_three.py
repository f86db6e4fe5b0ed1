"""Three nats-servers on loopback that form one JetStream cluster, for tests and benchmarks."""

from __future__ import annotations

import asyncio
import secrets
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self, final

from nats.aio.client import Client
from nats.aio.msg import Msg
from pydantic import BaseModel
from tests.raw_nats import connected

from relight.config.guarded import free_port
from relight.config.server import EmbeddedServer
from relight.config.server_config import Cluster
from relight.errors import UnavailableError

__all__ = ("ClusterOfThree",)

_NAMES = ("node-0", "node-1", "node-2")
_FORM_S = 60.0
_ROUND_S = 0.1
_ATTEMPTS = 5


class _Replica(BaseModel):
    name: str
    current: bool


class _Group(BaseModel):
    leader: str = ""
    replicas: list[_Replica] = []


class _Info(BaseModel):
    cluster: _Group = _Group()


class _Server(BaseModel):
    name: str


class _Data(BaseModel):
    meta_cluster: _Group = _Group()


class _View(BaseModel):
    server: _Server
    data: _Data


@final
class ClusterOfThree:
    """A cluster whose nodes can be stopped, killed and started one by one: `nodes["node-0"].kill()`.

    All nodes have the same system password, so a system connection survives the end of its node.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self.nodes: dict[str, EmbeddedServer] = {}

    def start(self) -> Self:
        """Start all nodes and return when they have elected a leader and know of each other."""
        for attempt in range(_ATTEMPTS):
            self.nodes = _new_nodes(self._directory / str(attempt))
            try:
                for node in self.nodes.values():
                    node.start()
            except UnavailableError:
                # Somebody has one of the ports. All nodes know them, so all start anew with others.
                self.stop()
                continue
            asyncio.run(self.formed())
            return self
        raise UnavailableError(f"no free ports for three nodes in {_ATTEMPTS} attempts")

    def stop(self) -> None:
        """End all nodes that run. (In order, so this takes a moment longer than killing them.)"""
        for node in self.nodes.values():
            node.stop()

    @property
    def urls(self) -> list[str]:
        """Of the nodes that run."""
        return [node.url for node in self._running().values()]

    @property
    def system_urls(self) -> list[str]:
        """Of the nodes that run, for the system account."""
        return [node.system_url for node in self._running().values()]

    async def formed(self) -> None:
        """Return when the elected leader counts all nodes that run as current."""
        await _formed(self.system_urls, set(self._running()))

    async def leader_of(self, stream: str, consumer: str = "") -> EmbeddedServer:
        """Return the running node that leads the stream, or one of its consumers, once one does."""
        async with asyncio.timeout(_FORM_S), connected(self.urls) as connection:
            while True:
                leader = await _leader(
                    connection, f"CONSUMER.INFO.{stream}.{consumer}" if consumer else f"STREAM.INFO.{stream}"
                )
                if leader in self._running():
                    return self.nodes[leader]

    async def part_leaders(self, stream: str, consumer: str) -> EmbeddedServer:
        """Have another node than the stream's leader lead this consumer, and return that node."""
        async with asyncio.timeout(_FORM_S):
            while (leader := await self.leader_of(stream, consumer)) is await self.leader_of(stream):
                async with connected(self.urls) as connection:
                    await connection.request(f"$JS.API.CONSUMER.LEADER.STEPDOWN.{stream}.{consumer}", b"", timeout=5)
            return leader

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()

    def _running(self) -> dict[str, EmbeddedServer]:
        return {name: node for name, node in self.nodes.items() if node.is_running}


def _new_nodes(directory: Path) -> dict[str, EmbeddedServer]:
    ports = tuple(free_port() for _ in _NAMES)
    password = secrets.token_urlsafe(24)
    nodes: dict[str, EmbeddedServer] = {}
    for name, port in zip(_NAMES, ports, strict=True):
        (directory / name).mkdir(parents=True)
        # A password that is there already is kept by the server.
        (directory / name / "system.password").write_text(password, encoding="utf-8")
        cluster = Cluster(name="three", node=name, port=port, route_ports=ports)
        nodes[name] = EmbeddedServer(directory / name, cluster=cluster)
    return nodes


async def _formed(urls: list[str], running: set[str]) -> None:
    async with asyncio.timeout(_FORM_S), connected(urls) as connection:
        while not any(_is_formed(view, running) for view in await _views(connection)):
            pass


async def _leader(connection: Client, call: str) -> str:
    """Return the name of the leader in the answer to this call; empty while nobody answers, or nobody leads."""
    try:
        reply = await connection.request(f"$JS.API.{call}", b"", timeout=0.5)
    except TimeoutError:
        return ""
    return _Info.model_validate_json(reply.data).cluster.leader


async def _views(connection: Client) -> list[_View]:
    """Ask all nodes for their view of the cluster."""
    inbox = connection.new_inbox()
    replies: asyncio.Queue[Msg] = asyncio.Queue()
    subscription = await connection.subscribe(inbox, cb=replies.put)  # pyright: ignore[reportUnknownMemberType]
    await connection.publish("$SYS.REQ.SERVER.PING.JSZ", b"{}", reply=inbox)
    views: list[_View] = []
    # The whole time, also when all have answered: asking faster would slow the election down.
    with suppress(TimeoutError):
        async with asyncio.timeout(_ROUND_S):
            while True:
                views.append(_View.model_validate_json((await replies.get()).data))
    await subscription.unsubscribe()
    return views


def _is_formed(view: _View, running: set[str]) -> bool:
    group = view.data.meta_cluster
    current = {replica.name for replica in group.replicas if replica.current}
    return group.leader == view.server.name and current >= running - {view.server.name}
