"""Where a client's and its workers' doors come from: a NATS server, or memory."""

from __future__ import annotations

import ssl
from collections.abc import AsyncGenerator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Protocol, final

from relight.actors.door import Door
from relight.actors.jetstream.door import DoorOptions, JetStreamDoor
from relight.actors.jetstream.keeper import Access, Keeper, KeeperOptions, connection_name
from relight.actors.watchdog import Watchdog
from relight.config.limits import LIMITS, Limits
from relight.config.local import LocalServer
from relight.config.settings import Settings
from relight.errors import InvalidValueError
from relight.subjects.ids import WorkerId

__all__ = ("Backend", "JetStreamBackend")


class Backend(Protocol):
    """Opens doors. A client has one, each of its workers one of its own."""

    def client_door(self) -> AbstractAsyncContextManager[Door]: ...
    def worker_door(self, worker: WorkerId) -> AbstractAsyncContextManager[Door]: ...


@final
class JetStreamBackend:
    """Doors to the servers of the settings, or to the local server of a directory."""

    def __init__(
        self, settings: Settings, *, is_local: bool, tls: object = None, watchdog_limits: Limits = LIMITS
    ) -> None:
        if tls is not None and not isinstance(tls, ssl.SSLContext):
            raise InvalidValueError("tls", "", f"{type(tls).__name__} is none", "pass an ssl.SSLContext")
        self.settings = settings
        self._tls = tls
        self._is_local = is_local
        self._watchdog_limits = watchdog_limits
        self._local: LocalServer | None = None

    @asynccontextmanager
    async def client_door(self) -> AsyncGenerator[Door]:
        if self._is_local:
            self._local = LocalServer.join(self.settings.local_directory, sync=self.settings.sync)
        try:
            async with await JetStreamDoor.open(self._options("relight-client")) as door:
                yield door
        finally:
            if self._local is not None:
                self._local.leave()
                self._local = None

    @asynccontextmanager
    async def worker_door(self, worker: WorkerId) -> AsyncGenerator[Door]:
        watchdog = Watchdog(self._watchdog_limits)
        keeper = Keeper(
            KeeperOptions(
                namespace=self.settings.namespace, worker=worker, access=self.access(), system=self.system_access()
            ),
            watchdog=watchdog,
        )
        try:
            await keeper.start()
            async with await JetStreamDoor.open(self._options(connection_name(worker, "main")), keeper=keeper) as door:
                watchdog.attach()
                try:
                    yield door
                finally:
                    watchdog.detach()
        finally:
            await keeper.stop()

    def access(self) -> Access:
        """The servers, and as whom to connect."""
        if self._local is not None:
            return Access(servers=(self._local.url,))
        if not self.settings.servers:
            raise InvalidValueError(
                "url", "", "no server is named", "pass Relight(url), set RELIGHT_URL, or use Relight.local()"
            )
        return Access(
            servers=self.settings.servers,
            credentials=self.settings.credentials,
            tls=self._tls or self.settings.tls(),
        )

    def system_access(self) -> Access | None:
        """The servers as a user of the system account, if one is known."""
        if self._local is not None:
            return Access(servers=(self._local.system_url,))
        if not self.settings.system_servers:
            return None
        return Access(
            servers=self.settings.system_servers,
            credentials=self.settings.system_credentials,
            tls=self._tls or self.settings.tls(),
        )

    def _options(self, name: str) -> DoorOptions:
        given = self.settings.model_fields_set
        return DoorOptions(
            namespace=self.settings.namespace,
            access=self.access(),
            name=name,
            shards=self.settings.shards if "shards" in given else None,
            replicas=self.settings.replicas,
        )
