"""nats-py's client without what makes it hang: both connections of a worker are made of it."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Coroutine
from dataclasses import dataclass
from pathlib import Path
from ssl import SSLContext
from typing import Any

import nats.errors
from nats.aio.client import Client, Srv

from relight.actors.jetstream.transport import SturdyTransport
from relight.errors import UnavailableError

__all__ = ("INBOX", "WORLD_ERRORS", "Access", "SturdyClient")

WORLD_ERRORS = (nats.errors.Error, OSError, TimeoutError)
"""What a call on a connection raises when the server, or the way to it, is at fault."""

INBOX = "_INBOX."
"""How the subject begins at which an answer is waited for. One that is sent elsewhere could be a command there."""

_BUFFER_BYTES = 64 * 1024
_CANCELLED_AGAIN_S = 0.05


@dataclass(frozen=True, kw_only=True)
class Access:
    """Where the servers are, and as whom to connect. What is None is not used."""

    servers: tuple[str, ...]
    credentials: Path | None = None
    tls: SSLContext | None = None
    connect_timeout_s: float = 5.0

    def shown(self) -> str:
        """The servers without the users and passwords that their addresses may hold."""
        return ", ".join(_shown(one) for one in self.servers)


def _shown(address: str) -> str:
    scheme, separator, rest = address.rpartition("://")
    return scheme + separator + rest.rpartition("@")[2]


class SturdyClient(Client):
    """It stays connected: after a loss it tries again for ever. What is written meanwhile is refused, not kept."""

    async def enter(self, access: Access, **options: Any) -> None:
        """Connect, with these further options of nats-py.

        Raises:
            UnavailableError: Nobody answered, or let us in, within `access.connect_timeout_s`.
        """
        try:
            await _within(access.connect_timeout_s, self._enter(access, options))
        except WORLD_ERRORS as error:
            raise UnavailableError(
                f"no NATS server let us in at {access.shown()} within {access.connect_timeout_s:g} s ({self._reason()})"
            ) from error

    async def _enter(self, access: Access, options: dict[str, Any]) -> None:
        await self.connect(
            list(access.servers),
            user_credentials=str(access.credentials) if access.credentials else None,
            tls=access.tls,
            max_reconnect_attempts=-1,
            reconnect_time_wait=0.2,  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # it is slept
            pending_size=0,
            **options,
        )
        # The task that reads has to run once before there is something to write on.
        await self.flush()

    def _reason(self) -> str:
        error = self.last_error
        return "no answer" if error is None else (str(error) or type(error).__name__)

    # Overridden parts of nats-py.

    def _new_transport(self) -> SturdyTransport:
        return SturdyTransport()

    async def _connect_to_server(self, s: Srv) -> None:
        s.last_attempt = asyncio.get_running_loop().time()
        self._transport = transport = self._new_transport()
        await transport.connect(s.uri, buffer_size=_BUFFER_BYTES, connect_timeout=self.options["connect_timeout"])

    async def _process_connect_init(self) -> None:
        try:
            await super()._process_connect_init()
        except WORLD_ERRORS:
            raise
        except Exception as error:
            # Any other one ends nats-py's reconnecting for good: credentials that are being written, for example.
            raise nats.errors.Error(f"nats: the connection can't be begun: {error!r}") from error

    async def _process_info(self, info: dict[str, Any], initial_connection: bool = False) -> None:
        await super()._process_info(info, initial_connection)
        if self._current_server is not None:
            pool = _without_former(self._current_server, self._server_pool, info.get("connect_urls") or ())
            self._server_pool[:] = _with_user_of(self._current_server, pool)

    async def _process_headers(self, headers: bytes) -> dict[str, str] | None:
        try:
            return await super()._process_headers(headers)  # pyright: ignore[reportUnknownMemberType]
        except (IndexError, UnicodeDecodeError):
            return None  # What anybody has sent malformed would end the reading of all that follows.

    async def _process_pong(self) -> None:
        # nats-py's own fails on a future that was given up meanwhile, and its reading task with it.
        pongs = self._future_pongs()
        if pongs:
            future = pongs.pop(0)
            if not future.done():
                future.set_result(True)
        self._pongs_received += 1
        self._pings_outstanding = 0

    def _future_pongs(self) -> list[asyncio.Future[bool]]:
        return self._pongs  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]  # nats-py's


def _without_former(current: Srv, pool: list[Srv], told: Collection[str]) -> list[Srv]:
    """Forget what a server has told of, and tells of no more: each such address would cost a reconnect its time-out."""
    if not told:
        return pool
    return [one for one in pool if not one.discovered or one is current or one.uri.netloc.rpartition("@")[2] in told]


def _with_user_of(current: Srv, pool: list[Srv]) -> list[Srv]:
    """Enter as the user of the address what a server has told of: it tells of its cluster without users, and again.

    What was named without a user is entered without one.
    """
    user, has_user, _ = current.uri.netloc.rpartition("@")
    if not has_user:
        return pool
    known = {one.uri.netloc.rpartition("@")[2] for one in pool if one.uri.username or not one.discovered}
    told = [one for one in pool if one.discovered and not one.uri.username and one.uri.netloc not in known]
    for one in told:
        one.uri = one.uri._replace(netloc=f"{user}@{one.uri.netloc}")
    return [one for one in pool if one.uri.username or not one.discovered]


async def _within(seconds: float, connecting: Coroutine[Any, Any, None]) -> None:
    """Wait for so long; raise `TimeoutError` if that is not enough."""
    task = asyncio.ensure_future(connecting)
    try:
        await asyncio.wait((task,), timeout=seconds)
        if not task.done():
            raise TimeoutError
    finally:
        while not task.done():
            # `wait_for` of Python 3.11 swallows a cancellation that comes together with what it waits for.
            task.cancel()
            await asyncio.wait((task,), timeout=_CANCELLED_AGAIN_S)
    task.result()
