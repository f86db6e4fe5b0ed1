"""A TCP transport for nats-py that hands incoming bytes straight to a callback, without a reading task."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from typing import final
from urllib.parse import ParseResult

from nats.aio.transport import TcpTransport

__all__ = ("DirectProtocol", "DirectTransport", "SturdyTransport")

_CLOSE_S = 1.0


class _DirectReader(asyncio.StreamReader):
    """A stream reader for the handshake, which is read by lines; after `switch` bytes pass it by."""

    _feed: Callable[[bytes], None] | None = None
    _ended: Callable[[Exception | None], None]

    def switch(self, feed: Callable[[bytes], None], ended: Callable[[Exception | None], None]) -> None:
        early = bytes(self._buffer)
        self._buffer.clear()
        self._maybe_resume_transport()
        self._feed, self._ended = feed, ended
        if early:
            feed(early)
        if self._exception is not None or self._eof:
            ended(self._exception)

    def feed_data(self, data: bytes) -> None:  # type: ignore[override]  # pyright: ignore[reportIncompatibleMethodOverride]  # typeshed asks for any iterable of numbers; loops pass bytes
        if self._feed is None:
            super().feed_data(data)
        else:
            self._feed(data)

    def feed_eof(self) -> None:
        super().feed_eof()
        if self._feed is not None:
            self._ended(None)

    def set_exception(self, exc: Exception) -> None:
        super().set_exception(exc)
        if self._feed is not None:
            self._ended(exc)

    # What asyncio's StreamReader has and typeshed does not tell.
    _buffer: bytearray
    _eof: bool
    _exception: Exception | None
    _maybe_resume_transport: Callable[[], None]


@final
class DirectProtocol(asyncio.StreamReaderProtocol):
    """A stream protocol that shows whether the transport has taken as much as it wants to."""

    is_congested = False

    def pause_writing(self) -> None:
        self.is_congested = True
        super().pause_writing()

    def resume_writing(self) -> None:
        self.is_congested = False
        super().resume_writing()


class SturdyTransport(TcpTransport):
    """nats-py's TCP transport, but nobody waits for its end for long."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # nats-py's

    async def wait_closed(self) -> None:
        try:
            async with asyncio.timeout(_CLOSE_S):
                await super().wait_closed()  # type: ignore[no-untyped-call]  # nats-py's
        except TimeoutError:
            # After half a TLS handshake nobody hears of the end; and a peer that is stopped, or cut off, never takes
            # what is still to be sent.
            assert self._io_writer is not None, "it was waited for"
            self._io_writer.transport.abort()


@final
class DirectTransport(SturdyTransport):
    """Replaces nats-py's TCP transport. Until `switch` it behaves like it."""

    _reader: _DirectReader
    protocol: DirectProtocol
    wire: asyncio.WriteTransport

    async def connect(self, uri: ParseResult, buffer_size: int, connect_timeout: int) -> None:
        assert uri.hostname is not None, "nats-py completes urls"
        assert uri.port is not None, "nats-py completes urls"
        loop = asyncio.get_running_loop()
        reader = _DirectReader(limit=buffer_size, loop=loop)
        protocol = DirectProtocol(reader, loop=loop)
        async with asyncio.timeout(connect_timeout):
            wire, _ = await loop.create_connection(lambda: protocol, uri.hostname, uri.port)
        self._use(wire, reader, protocol)
        # The plain writer must live as long as an upgraded one: its end would close the socket.
        self._bare_io_reader, self._bare_io_writer = self._io_reader, self._io_writer

    async def connect_tls(
        self, uri: str | ParseResult, ssl_context: ssl.SSLContext, buffer_size: int, connect_timeout: int
    ) -> None:
        assert self._io_writer is not None
        loop = asyncio.get_running_loop()
        reader = _DirectReader(limit=buffer_size, loop=loop)
        protocol = DirectProtocol(reader, loop=loop)
        hostname = uri if isinstance(uri, str) else uri.hostname
        async with asyncio.timeout(connect_timeout):
            wire = await loop.start_tls(self.wire, protocol, ssl_context, server_hostname=hostname)
        assert wire is not None
        self._use(wire, reader, protocol)

    def switch(self, feed: Callable[[bytes], None], ended: Callable[[Exception | None], None]) -> None:
        """From now on call `feed` with what comes in, and `ended` when nothing can come any more."""
        self._reader.switch(feed, ended)

    def _use(self, wire: asyncio.WriteTransport, reader: _DirectReader, protocol: DirectProtocol) -> None:
        self.wire, self._reader, self.protocol = wire, reader, protocol
        self._io_reader = reader
        self._io_writer = asyncio.StreamWriter(wire, protocol, reader, asyncio.get_running_loop())
