"""A TCP proxy between workers and a server: it can cut connections, and hold back what one side says to the other."""

from __future__ import annotations

import asyncio
import re
from types import TracebackType
from typing import Literal, Self, final
from urllib.parse import urlsplit

__all__ = ("Proxied", "Proxy")

_NAME = re.compile(rb'"name":\s*"([^"]*)"')
_STATUS = re.compile(rb"HMSG \S+ \d+ \d+ \d+\r\nNATS/1\.0 (?:409|503)[^\r]*(?:\r\n[^\r]+)*\r\n\r\n\r\n")
"""What a server says when it ends a pull: headers without a payload."""

Side = Literal["client", "server"]


@final
class Proxied:
    """One connection through the proxy. `name` is what the client calls itself, `said` all that it has written."""

    def __init__(self) -> None:
        self.name = ""
        self.said = bytearray()
        self.writers: dict[Side, asyncio.StreamWriter] = {}
        self._open: dict[Side, asyncio.Event] = {"client": asyncio.Event(), "server": asyncio.Event()}
        self._trigger: tuple[bytes, Side] | None = None
        self.was_triggered = asyncio.Event()
        self._lost = b""
        self._lost_inbox = b""
        self.loses_statuses = False
        for event in self._open.values():
            event.set()

    def hold(self, side: Side) -> None:
        """Keep back what `side` says from now on."""
        self._open[side].clear()

    def hold_after(self, pattern: bytes, side: Side) -> None:
        """Keep back what `side` says once the client has said `pattern`, which still reaches the server.

        With "client" what holds the pattern itself is kept back too.
        """
        self._trigger = (pattern, side)

    def drop_answers_to(self, pattern: bytes) -> None:
        """Lose what the server answers to the first thing that contains `pattern`; everything else passes."""
        self._lost = pattern

    def let_go(self) -> None:
        """Pass on what was kept back."""
        self._trigger = None
        for event in self._open.values():
            event.set()

    def cut(self) -> None:
        """Close both ends; what was kept back is lost."""
        for writer in self.writers.values():
            writer.close()

    async def passes(self, side: Side) -> None:
        await self._open[side].wait()

    def hears(self, side: Side, data: bytes) -> None:
        if side == "client":
            self.said += data
        if side == "client" and not self.name and (found := _NAME.search(data)):
            self.name = found[1].decode()
        if side == "client" and self._lost and (found := re.search(re.escape(self._lost) + rb"\S+ (\S+) ", data)):
            self._lost, self._lost_inbox = b"", found[1]
        if side == "client" and self._trigger is not None and self._trigger[0] in data:
            self._open[self._trigger[1]].clear()
            self._trigger = None
            self.was_triggered.set()

    def without_lost(self, side: Side, data: bytes) -> bytes:
        """Take the lost answer and statuses out of what the server says; each comes in one piece."""
        if side == "server" and self.loses_statuses:
            data = _STATUS.sub(b"", data)
        if side == "client" or not self._lost_inbox:
            return data
        found = re.search(rb"MSG " + re.escape(self._lost_inbox) + rb" \d+ (\d+)\r\n", data)
        if found is None:
            return data
        self._lost_inbox = b""
        return data[: found.start()] + data[found.end() + int(found[1]) + 2 :]


@final
class Proxy:
    """Listens on loopback and passes everything on to one server. Use it with `async with`."""

    def __init__(self, server_url: str) -> None:
        address = urlsplit(server_url)
        self._host, self._port = address.hostname or "127.0.0.1", address.port or 4222
        self._tasks: set[asyncio.Task[None]] = set()
        self.connections: list[Proxied] = []
        self.is_refusing = False
        self.url = ""

    def part(self, part: str) -> Proxied:
        """The newest connection whose client's name ends so: `main` or `keeper` of a worker."""
        return next(one for one in reversed(self.connections) if one.name.endswith("/" + part))

    async def connected(self, *names: str) -> None:
        """Return when clients whose names end so are connected."""
        while not all(any(one.name.endswith(name) for one in self.connections) for name in names):
            await asyncio.sleep(0.005)

    async def has_said(self, part: str, words: str) -> None:
        """Return when the newest connection of this part has sent these words to the server."""
        while words.encode() not in self.part(part).said:
            await asyncio.sleep(0.005)

    def cut(self) -> None:
        """Close all connections."""
        for one in self.connections:
            one.cut()
        self.connections.clear()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.url = f"nats://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._server.close()
        self.cut()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self.is_refusing:
            writer.close()
            return
        try:
            server_reader, server_writer = await asyncio.open_connection(self._host, self._port)
        except OSError:
            writer.close()  # The server is down; the client sees what it would see without us.
            return
        one = Proxied()
        one.writers = {"client": writer, "server": server_writer}
        self.connections.append(one)
        self._pass_on(one, "client", reader, server_writer)
        self._pass_on(one, "server", server_reader, writer)

    def _pass_on(self, one: Proxied, side: Side, source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(_pump(one, side, source, target))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


async def _pump(one: Proxied, side: Side, source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
    try:
        while data := await source.read(65536):
            one.hears(side, data)
            await one.passes(side)
            target.write(one.without_lost(side, data))
            await target.drain()
    except ConnectionError:
        pass  # One end is gone; so is the other now.
    finally:
        one.cut()
