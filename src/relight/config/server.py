"""A real nats-server as a child of this process, with nothing shared: for tests, demos and benchmarks."""

from __future__ import annotations

from pathlib import Path
from types import TracebackType
from typing import Self, final

from relight.config.file_lock import FileLock, Mode, wait_for_lock
from relight.config.guarded import Endpoint, GuardedServer, prepare
from relight.config.server_config import Cluster, Sync, check_sync
from relight.errors import UnavailableError

__all__ = ("EmbeddedServer",)

_TAKE_OVER_S = 2.0


@final
class EmbeddedServer:
    """A nats-server with JetStream on a free port of 127.0.0.1, with its data in one directory.

    Clients need no credentials and share the account RELIGHT; the system account's password is in a file that only
    the owner of the directory may read. The server never outlives this process, also if that is killed; Ctrl-C in the
    terminal does not reach it. A stopped or killed server can be started again: same data, same port.
    """

    def __init__(self, directory: Path | str, *, sync: Sync = "default", cluster: Cluster | None = None) -> None:
        """Start nothing yet.

        Args:
            directory: Made if missing. What an earlier server left there is taken over.
            sync: When to fsync: "default" (nats-server's two minutes: survives a killed process, not a power loss),
                "always" (before each acknowledgement), or a duration such as "1s".
            cluster: Makes the server a node with these routes.

        Raises:
            InvalidValueError: `sync` is none of these.
        """
        self.directory = Path(directory).absolute()
        self._sync = check_sync(sync)
        self._cluster = cluster
        self._port: int | None = None
        self._users_lock: FileLock | None = None
        self._running: GuardedServer | None = None

    def start(self) -> Self:
        """Start the server and return it once it listens. Blocks for about 0.1 s.

        Raises:
            InvalidValueError: The directory may be somebody else's.
            UnsuitableServerError: No nats-server is installed.
            UnavailableError: The server did not start, or another one uses the directory. Nothing is left running.
        """
        assert self._running is None, "the server is started already"
        prepare(self.directory)
        guard_lock = self._lock("guard.lock", "exclusive")
        try:
            self._users_lock = self._lock("users.lock", "shared")
            self._running = GuardedServer.start(
                self.directory, guard_lock=guard_lock, sync=self._sync, port=self._port, cluster=self._cluster
            )
        finally:
            guard_lock.close()
            if self._running is None:
                self._forget()
        self._port = self.endpoint.port
        return self

    def stop(self) -> None:
        """End the server in order; what it acknowledged is on disk. A server that hangs is killed after some seconds.

        Does nothing if the server is not running.
        """
        self._end(in_order=True)

    def kill(self) -> None:
        """End the server as `kill -9` does. Does nothing if it is not running."""
        self._end(in_order=False)

    @property
    def is_running(self) -> bool:
        """Whether the server was started, and has neither been ended nor died by itself."""
        return self._running is not None and self._running.process.poll() is None

    @property
    def endpoint(self) -> Endpoint:
        """Where the running server listens, and its processes."""
        assert self._running is not None, "the server is not running"
        return self._running.endpoint

    @property
    def url(self) -> str:
        """For clients; they land in the account RELIGHT."""
        return self.endpoint.url

    @property
    def system_url(self) -> str:
        """For the system account, with its password in it: not for logs."""
        return self.endpoint.system_url

    @property
    def process_id(self) -> int:
        """Of the nats-server itself."""
        return self.endpoint.server_process

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()

    def _lock(self, name: str, mode: Mode) -> FileLock:
        # The guard of an owner that has just died needs an instant to end its server.
        lock = wait_for_lock(self.directory / name, mode, seconds=_TAKE_OVER_S)
        if lock is None:
            raise UnavailableError(f"another server runs in {self.directory}; stop it or choose another directory")
        return lock

    def _end(self, *, in_order: bool) -> None:
        if self._running is not None:
            self._running.end(in_order=in_order)
        self._running = None
        self._forget()

    def _forget(self) -> None:
        if self._users_lock is not None:
            self._users_lock.close()
        self._users_lock = None
