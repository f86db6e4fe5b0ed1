"""A nats-py connection that never gives up and never floods the log."""

from __future__ import annotations

import traceback
from collections.abc import Awaitable, Callable
from typing import Literal

import structlog
from nats.aio.client import Client
from nats.aio.msg import Msg

from relight.actors.jetstream.client import WORLD_ERRORS, Access, SturdyClient
from relight.errors import UnavailableError
from relight.subjects.ids import WorkerId

__all__ = ("confirm", "connect", "connection_name", "subscribe", "worker_of")

_PREFIX = "relight-worker/"

_log = structlog.stdlib.get_logger("relight.keeper")


def connection_name(worker: str, part: Literal["main", "keeper"]) -> str:
    """Return the name under which a part of a worker connects, so that others can see the worker's death."""
    return f"{_PREFIX}{worker}/{part}"


def worker_of(name: str) -> tuple[WorkerId, str] | None:
    """Return worker and part of a connection's name; None if it is no worker's."""
    worker, slash, part = name.removeprefix(_PREFIX).rpartition("/")
    if not name.startswith(_PREFIX) or not slash or part not in ("main", "keeper"):
        return None
    return WorkerId(worker), part


async def connect(access: Access, *, name: str, reconnected: Callable[[], None], closed: Callable[[], None]) -> Client:
    """Connect and stay connected: after a loss it tries again for ever; `reconnected` is called each time.

    What is published while there is no connection is refused, not kept: a late renewal would renew what others own.
    `closed` is called when the server has refused for good, for example because it no longer knows the user.

    Raises:
        UnavailableError: Not connected within `access.connect_timeout_s`.
    """
    client = SturdyClient()
    voice = _Voice(client, name, reconnected, closed)
    try:
        await client.enter(
            access,
            name=name,
            error_cb=voice.error,
            disconnected_cb=voice.disconnected,
            reconnected_cb=voice.reconnected,
            closed_cb=voice.closed,
            ping_interval=2,
        )
    except UnavailableError:
        await client.close()
        raise
    return client


async def subscribe(client: Client, subject: str, receive: Callable[[Msg], Awaitable[None]]) -> None:
    """Call `receive` with each message, one after the other; again after each reconnect."""
    await client.subscribe(subject, cb=receive)  # pyright: ignore[reportUnknownMemberType]  # nats-py leaves a gap


async def confirm(client: Client) -> None:
    """Return when the server has taken what was written before.

    nats-py writes its PING before what is still in its buffer, so only the second answer covers that. Its `flush` would
    not do: besides, while it reconnects, that returns at once, without any answer.

    Raises:
        UnavailableError: There is no connection now.
        `WORLD_ERRORS`: It was lost, or the server is silent.
    """
    for _ in range(2):
        if not client.is_connected:
            raise UnavailableError("the server is not connected now")
        await client.rtt()


class _Voice:
    """Logs one line when the connection is lost and one when it is back, whatever nats-py reports in between."""

    def __init__(self, client: Client, name: str, reconnected: Callable[[], None], closed: Callable[[], None]) -> None:
        self._client = client
        self._name = name
        self._reconnected = reconnected
        self._closed = closed
        self.last_error: Exception | None = None

    async def error(self, error: Exception) -> None:
        is_known = repr(error) == repr(self.last_error)
        self.last_error = error
        if isinstance(error, WORLD_ERRORS):
            if not is_known:  # While the server is away it says the same several times a second.
                _log.debug("connection_error", connection=self._name, error=repr(error))
        else:
            # nats-py hands over what a callback of ours raises.
            said = "".join(traceback.format_exception(error))
            _log.error("callback_failed", connection=self._name, exception=said)

    async def disconnected(self) -> None:
        if self._client.is_closed:
            return  # By ourselves: nothing is lost.
        _log.info("connection_lost", connection=self._name, error=repr(self.last_error))

    async def reconnected(self) -> None:
        _log.info("connection_back", connection=self._name)
        self._reconnected()

    async def closed(self) -> None:
        self._closed()
