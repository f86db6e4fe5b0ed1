"""A nats-py client whose hot path is ours: raw frames in and out, no task, queue, header parse or object per message.

nats-py connects, authenticates, upgrades to TLS, pings, and reconnects; we replace how bytes are read and written. Read
by nats-py, a message costs a task switch of the reading task, five regular expressions, header parsing and a queue with
a task behind it; here it costs a `find`, a `split` and one call. The price is that private parts of nats-py are used:
hence the pin to 2.16 and a test that names each of them.

What was not done: a client of our own. TLS, credentials and the reconnect protocol are where clients have their bugs.

Nothing is buffered while there is no connection. What was written before a loss may or may not have arrived; nothing is
sent again after a reconnect but the subscriptions.
"""

from __future__ import annotations

import asyncio
import random
import traceback
from collections.abc import Callable
from typing import Any, final

import structlog
from nats import errors
from nats.aio.client import Server
from nats.aio.subscription import Subscription

from relight.actors.jetstream.client import Access, SturdyClient
from relight.actors.jetstream.frames import FrameReader
from relight.actors.jetstream.transport import DirectProtocol, DirectTransport
from relight.errors import InvalidValueError, ProtocolError, UnavailableError, UnsuitableServerError

__all__ = ("SERVER_VERSION_MIN", "Connection", "Listening", "Receive")

SERVER_VERSION_MIN = (2, 14)

Receive = Callable[[bytes, bytes, bytes, bytes | None], None]
"""Called with subject, reply, data and raw headers, right from the socket: it must be quick and never wait."""

_PING_INTERVAL_S = 10
_CONNECT_TIMEOUT_S = 2
_CONFIRM_TIMEOUT_S = 5.0
_RECONNECT_FIRST_S = 0.05
_RECONNECT_MAX_S = 2.0
_PIECES_OF_A_FRAME = 3
_PASSES_WHILE_BUSY = 3
"""Of the loop, for which writes are gathered: about as many as there are between an answer and the next question."""
_GATHERED_S_MAX = 0.005
"""When passes take long, nothing is held back for much longer than this: somebody has begun to wait for an answer."""

_log = structlog.stdlib.get_logger("relight.connection")


class _Ended(Exception):
    """Nothing more will be read from this socket."""


_Ordinary = tuple[int, bytes, bytes, bytes, bytes | None]
_SlowLane = asyncio.Queue[bytes | _Ordinary | _Ended]


@final
class Listening:
    """A subscription whose messages go straight to a callback. It outlives reconnects until it is ended."""

    def __init__(self, connection: Connection, sid: int) -> None:
        self._connection = connection
        self._sid = sid

    def end(self) -> None:
        """Tell the server to send no more. What is under way still arrives, until `forget`."""
        self._connection.unsubscribe(self._sid)

    def forget(self) -> None:
        """Drop whatever still comes."""
        self._connection.undirect(self._sid)

    async def close(self) -> None:
        """End and forget."""
        self.end()
        self.forget()


@final
class Connection(SturdyClient):
    """One connection to NATS. Open it with `Connection.open`."""

    wire: asyncio.WriteTransport
    protocol: DirectProtocol

    def __init__(self) -> None:
        super().__init__()
        self.is_open = False
        self.on_lost: list[Callable[[], None]] = []
        self.on_restored: list[Callable[[], None]] = []
        self._loop = asyncio.get_running_loop()
        self._direct: dict[bytes, Receive] = {}
        self._unsent_subscriptions: dict[int, bytes] = {}
        self._outgoing: list[bytes] = []
        self._is_corked = False
        self._is_busy = False
        self._corked_until_s = 0.0
        self._confirming: set[asyncio.Future[bool]] = set()
        self._slow_lane: _SlowLane = asyncio.Queue()
        self._name = ""
        self._last_warning = ""

    @property
    def is_spread(self) -> bool:
        """See `Door.is_spread`."""
        return bool(self._server_info.get("cluster"))

    @classmethod
    async def open(cls, access: Access, *, name: str) -> Connection:
        """Connect, and stay connected: after a loss it tries again for ever, with back-off.

        Raises:
            UnavailableError: Nobody answered, or let us in, within `access.connect_timeout_s`.
            UnsuitableServerError: The server is older than 2.14 or has no JetStream.
            InvalidValueError: A url is none of `nats://` or `tls://`.
        """
        _check_urls(access.servers)
        connection = cls()
        connection._name = name
        try:
            await connection.enter(
                access,
                name=name,
                error_cb=connection._on_error,
                disconnected_cb=connection._on_disconnected,
                reconnected_cb=connection._on_reconnected,
                reconnect_to_server_handler=_next_server,
                connect_timeout=_CONNECT_TIMEOUT_S,
                ping_interval=_PING_INTERVAL_S,
            )
            connection._check_version()
        except BaseException:
            await connection.close()
            raise
        connection.is_open = True
        return connection

    # Writing.

    @property
    def takes_more(self) -> bool:
        """Whether it is open, and the socket takes what is written; else `drain_writes` before writing more."""
        return self.is_open and not self.protocol.is_congested

    async def drain_writes(self) -> None:
        """Wait until the socket takes more.

        Raises:
            UnavailableError: There is no connection, or it was lost.
        """
        await self.require_open()
        assert self._transport is not None
        self._uncork()
        try:
            await self._transport.drain()  # type: ignore[no-untyped-call]  # nats-py's
        except OSError as error:
            raise UnavailableError(f"the connection was lost: {error}") from error

    def send(self, subject: str, data: bytes, *, reply: str = "", headers: str = "") -> None:
        """Publish; dropped while there is no connection.

        Args:
            subject: A validated subject.
            data: The payload.
            reply: Where an answer goes.
            headers: The complete header block, from `NATS/1.0` to the empty line.
        """
        if headers:
            size = len(headers) if headers.isascii() else len(headers.encode())
            head = f"HPUB {subject} {reply} {size} {size + len(data)}\r\n{headers}"
        else:
            head = f"PUB {subject} {reply} {len(data)}\r\n"
        self.write(head.encode(), data, b"\r\n")

    def write(self, *pieces: bytes) -> None:
        """Write pieces of raw frames.

        The first frame goes out at once, and those of the same tick together when it is over. While more than one comes
        in a tick, all of a few ticks go out together: each time the socket is written the server wakes up.
        """
        if not self.is_open:
            return
        if not self._is_corked:
            self.cork()
            if not self._is_busy:
                self.wire.write(b"".join(pieces))
                return
        self._outgoing += pieces

    def cork(self) -> None:
        """Let what is written in this tick go out together."""
        if not self._is_corked:
            self._is_corked = True
            self._corked_until_s = self._loop.time() + _GATHERED_S_MAX
            self._loop.call_soon(self._uncork_after, _PASSES_WHILE_BUSY if self._is_busy else 0)

    def _uncork_after(self, passes: int) -> None:
        if passes and self._loop.time() < self._corked_until_s:
            self._loop.call_soon(self._uncork_after, passes - 1)
        else:
            self._uncork()

    def _uncork(self) -> None:
        self._is_corked = False
        outgoing = self._outgoing
        self._is_busy = len(outgoing) > _PIECES_OF_A_FRAME
        if outgoing and self.is_open:
            self.wire.write(b"".join(outgoing))
        outgoing.clear()

    async def confirm(self) -> None:
        """Return when the server has treated all that was written before.

        Raises:
            UnavailableError: There is no connection, it was lost meanwhile, or the server is silent.
        """
        await self.require_open()
        future: asyncio.Future[bool] = self._loop.create_future()
        self._confirming.add(future)
        self._uncork()
        self._future_pongs().append(future)
        self.wire.write(b"PING\r\n")
        try:
            async with asyncio.timeout(_CONFIRM_TIMEOUT_S):
                await future
        except TimeoutError as error:
            raise UnavailableError(f"the server did not answer a ping in {_CONFIRM_TIMEOUT_S:g} s") from error
        finally:
            self._confirming.discard(future)

    async def require_open(self) -> None:
        """Raise `UnavailableError` if there is no connection now."""
        if not self.is_open:
            # Whoever tries again at once, and for ever, must not keep the loop from making the connection.
            await asyncio.sleep(0)
            raise UnavailableError(f"there is no connection to NATS now ({self._reason()})")

    # Listening.

    def listen(self, subject: str, receive: Receive) -> Listening:
        """Call `receive` for each message; the server knows of it after the next `confirm`."""
        self._sid += 1
        sid = self._sid
        self._direct[b"%d" % sid] = receive
        # nats-py subscribes again after a reconnect to whatever stands in its table.
        self._subs[sid] = Subscription(self, sid, subject)
        frame = f"SUB {subject} {sid}\r\n".encode()
        if self.is_open:
            self.write(frame)
        else:
            self._unsent_subscriptions[sid] = frame
        return Listening(self, sid)

    def unsubscribe(self, sid: int) -> None:
        """See `Listening.end`."""
        self._unsent_subscriptions.pop(sid, None)
        if self._subs.pop(sid, None) is not None:
            self.write(b"UNSUB %d\r\n" % sid)

    def undirect(self, sid: int) -> None:
        """See `Listening.forget`."""
        self._direct.pop(b"%d" % sid, None)

    # Life.

    async def close(self) -> None:
        """Send what was written, and end for good. Repeatable."""
        self._uncork()
        self._lose()
        await super().close()

    def _check_version(self) -> None:
        version = self.connected_server_version
        if (version.major, version.minor) < SERVER_VERSION_MIN:
            wanted = ".".join(map(str, SERVER_VERSION_MIN))
            found = f"{version.major}.{version.minor}.{version.patch}"
            raise UnsuitableServerError(f"nats-server {found} is too old; install nats-server {wanted} or later")

    async def _on_error(self, error: Exception) -> None:
        text = str(error) or repr(error)
        self._err = error
        # One refused connection after the other says the same; so does each publish without permission.
        if text != self._last_warning:
            self._last_warning = text
            _log.warning("connection_error", connection=self._name, error=text)

    async def _on_disconnected(self) -> None:
        if not self.is_closed:
            _log.warning("connection_lost", connection=self._name)

    async def _on_reconnected(self) -> None:
        self.is_open = True
        self._last_warning = ""
        for frame in self._unsent_subscriptions.values():
            self.write(frame)
        self._unsent_subscriptions.clear()
        _log.info("connection_restored", connection=self._name)
        for restored in tuple(self.on_restored):
            restored()

    def _lose(self) -> None:
        """Everybody who waits is told at once; nats-py's own callback comes only after it has closed the socket."""
        if not self.is_open:
            return
        self.is_open = False
        self._outgoing.clear()
        for future in self._confirming:
            if not future.done():
                future.set_exception(UnavailableError("the connection was lost"))
        for lost in tuple(self.on_lost):
            lost()

    # Overridden parts of nats-py.

    def _new_transport(self) -> DirectTransport:
        return DirectTransport()

    async def _read_loop(self) -> None:
        """Treat what is rare; messages never come here but straight from the transport."""
        transport = self._transport
        assert isinstance(transport, DirectTransport)
        self.wire, self.protocol = transport.wire, transport.protocol
        lane: _SlowLane = asyncio.Queue()
        self._slow_lane = lane
        frames = FrameReader(self._on_message, self._on_control)

        def feed(data: bytes) -> None:
            try:
                frames.feed(data)
            except (ProtocolError, ValueError, IndexError) as error:
                ended(error)

        def ended(error: Exception | None) -> None:
            if self._slow_lane is lane:
                self._lose()
            lane.put_nowait(_Ended(error))

        transport.switch(feed, ended)
        while not isinstance(item := await lane.get(), _Ended):
            if isinstance(item, bytes):
                await self._treat_line(item)
            else:
                await super()._process_msg(*item)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # takes None
        await self._process_op_err(errors.UnexpectedEOF())

    def _on_message(self, sid: bytes, subject: bytes, reply: bytes, data: bytes, headers: bytes | None) -> None:
        receive = self._direct.get(sid)
        if receive is None:
            self._slow_lane.put_nowait((int(sid), subject, reply, data, headers))
            return
        try:
            receive(subject, reply, data, headers)
        except Exception:  # noqa: BLE001 - supervisor of all receivers: one that fails must not end the others' connection
            _log.error(
                "receiver_failed",
                connection=self._name,
                subject=subject.decode(errors="replace"),
                exception=traceback.format_exc(),
            )

    def _on_control(self, line: bytes) -> None:
        if line.startswith(b"PING"):
            self.wire.write(b"PONG\r\n")
        else:
            self._slow_lane.put_nowait(line)

    async def _treat_line(self, line: bytes) -> None:
        # The line goes through nats-py's parser: only that knows what it does about INFO and -ERR.
        await self._ps.parse(line + b"\r\n")

    async def _process_err(self, err_msg: str) -> None:
        # nats-py closes for good at most errors. A worker must survive all of them: the server may change its mind.
        error = errors.Error(f"nats: {err_msg.strip(chr(39))}")
        await self._on_error(error)
        if "permissions violation" not in err_msg:
            await self._process_op_err(error)

    async def _process_op_err(self, e: Exception) -> None:
        self._lose()
        await super()._process_op_err(e)


def _check_urls(urls: tuple[str, ...]) -> None:
    for url in urls:
        scheme, separator, _ = url.partition("://")
        if separator and scheme not in ("nats", "tls"):
            raise InvalidValueError(
                "servers", "", f"{scheme[:20]!r} is no scheme of a NATS server", "pass a url like nats://host:4222"
            )


def _next_server(servers: list[Server], _info: dict[str, Any]) -> tuple[Server, float]:
    """Choose the server that failed least, and how long to wait: longer each time, never all clients at once."""
    server = min(servers, key=lambda one: one.reconnects)
    delay_s: float = min(_RECONNECT_FIRST_S * 2 ** min(server.reconnects, 10), _RECONNECT_MAX_S)
    return server, delay_s * random.uniform(0.5, 1.0)
