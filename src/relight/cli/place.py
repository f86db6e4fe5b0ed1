"""Which server a verb talks to."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, final

from relight.errors import InvalidValueError

if TYPE_CHECKING:
    from pathlib import Path

    from relight.actors.jetstream.client import Access
    from relight.config.settings import Settings
    from relight.sdk._client import Relight

__all__ = ("Place", "find_place", "is_local_directory")


@final
@dataclass(frozen=True)
class Place:
    """The servers of the settings, or the local one of a directory."""

    settings: Settings
    is_local: bool

    def client(self) -> Relight:
        """A client, not open yet."""
        from relight.sdk._client import Relight

        settings = self.settings
        if self.is_local:
            return Relight.local(settings.local_directory, namespace=settings.namespace)
        return Relight(settings.servers, namespace=settings.namespace, credentials=settings.credentials)

    @asynccontextmanager
    async def access(self) -> AsyncGenerator[tuple[Access, Access | None]]:
        """How to reach the servers, and how as the system account, without making anything there."""
        from relight.actors.jetstream.client import Access
        from relight.config.local import LocalServer
        from relight.sdk._backend import JetStreamBackend

        if self.is_local:
            with LocalServer.join(self.settings.local_directory, sync=self.settings.sync) as local:
                yield Access(servers=(local.url,)), Access(servers=(local.system_url,))
            return
        backend = JetStreamBackend(self.settings, is_local=False)
        yield backend.access(), backend.system_access()


def find_place(*, url: str | None, namespace: str | None, credentials: str | None) -> Place:
    """Return the server that is meant: the argument's, the setting's, or the local one where there is one.

    Raises:
        InvalidValueError: A setting is not acceptable, or no server is named and none is in this directory.
    """
    from relight.config.settings import Settings
    from relight.subjects.ids import token

    settings = Settings.read(url=url, namespace=namespace, credentials=credentials)
    token("namespace (RELIGHT_NAMESPACE)", settings.namespace)
    if settings.servers:
        return Place(settings, is_local=False)
    if is_local_directory(settings.local_directory):
        return Place(settings.model_copy(update={"replicas": 1}), is_local=True)  # As `Relight.local()` has it.
    raise InvalidValueError(
        "url",
        "",
        "no server is named",
        "pass --url, set RELIGHT_URL, or use Relight.local(), as `relight dev app.py` does in this directory",
    )


def is_local_directory(directory: Path) -> bool:
    """Whether a local server has ever run there: it can be joined, or started again."""
    return (directory / "users.lock").is_file()
