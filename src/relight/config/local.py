"""One nats-server for all processes that work in a directory, such as `./.relight`: it ends with the last of them.

Who joins holds a shared lock on `users.lock` until he leaves or dies; the guard (see `guard.py`) ends the server once
nobody holds it. `start.lock` puts those who join and those who leave in a row, so that what one of them sees stays
true until he has acted on it. Locks are always taken in the order users, start, guard.
"""

from __future__ import annotations

import os
import signal
import socket
import threading
import time
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Self, final

from relight.config.file_lock import FileLock, Mode, wait_for_lock
from relight.config.guarded import Endpoint, GuardedServer, prepare, read_endpoint, signal_process
from relight.config.server_config import Sync, check_sync
from relight.errors import InvalidValueError, UnavailableError

__all__ = ("LocalServer",)

_SETTING = "local_directory (RELIGHT_LOCAL_DIRECTORY)"
_WAIT_S = 20.0
_POLL_S = 0.002


@final
class LocalServer:
    """This process's share in the server of a directory."""

    def __init__(
        self, directory: Path, endpoint: Endpoint, users_lock: FileLock, started: GuardedServer | None
    ) -> None:
        self.directory = directory
        self._endpoint = endpoint
        self._users_lock = users_lock
        self._started = started
        self._process = os.getpid()
        self._has_left = False

    @classmethod
    def join(cls, directory: Path | str = ".relight", *, sync: Sync = "default") -> LocalServer:
        """Join the server that runs in the directory, or start it, and return once it listens.

        Blocks: some milliseconds for a server that runs, about 0.1 s for one that has to be started. Any number of
        processes may join, and each may join several times. The server runs until the last of them has left or died;
        one that dies by itself is started again on the same port, also by who joins next if its guard died with it. The
        data stays for the next time.

        Args:
            directory: Made if missing; its data is its owner's only.
            sync: The fsync policy of the server, if this call starts it (see `EmbeddedServer`).

        Raises:
            InvalidValueError: `sync` is no fsync policy, or the directory can't be used: it may be somebody else's.
            UnsuitableServerError: No nats-server is installed.
            UnavailableError: The server did not start, or processes that hang hold the directory. This process is not
                a user.
        """
        check_sync(sync)
        with _usable(Path(directory)):
            return cls._joined(_prepare(Path(directory)), sync)

    @classmethod
    def _joined(cls, prepared: Path, sync: Sync) -> LocalServer:
        users_lock = _held(prepared / "users.lock", "shared", kept_in_forks=True)
        start_lock: FileLock | None = None
        try:
            start_lock = _held(prepared / "start.lock", "exclusive")
            endpoint, started = _found_or_started(prepared, sync)
        except BaseException:
            users_lock.close()
            raise
        finally:
            if start_lock is not None:
                start_lock.close()
        return cls(prepared, endpoint, users_lock, started)

    def leave(self) -> None:
        """Leave. When the last user leaves, the server has ended in order when this returns. Idempotent.

        In a fork it does nothing: that is no user, and must not leave in its parent's name.

        Raises:
            UnavailableError: The server did not end in time; its guard goes on trying.
        """
        if self._has_left or self._process != os.getpid():
            return
        self._has_left = True
        start_lock: FileLock | None = None
        has_ended = False
        try:
            # If the directory was removed, what is found there now is the server of others; nor is there anything to do
            # without the lock (somebody hangs while starting): the guard alone does what is needed.
            with suppress(FileNotFoundError):
                if self._users_lock.is_at_its_path():
                    start_lock = wait_for_lock(self.directory / "start.lock", "exclusive", seconds=_WAIT_S)
                has_ended = start_lock is not None and _end_if_last(self.directory, self._users_lock)
        finally:
            self._users_lock.close()
            if start_lock is not None:
                start_lock.close()
            self._reap(has_ended=has_ended)

    @property
    def url(self) -> str:
        """For clients; they land in the account RELIGHT."""
        return self._endpoint.url

    @property
    def system_url(self) -> str:
        """For the system account, with its password in it: not for logs."""
        return self._endpoint.system_url

    def endpoint(self) -> Endpoint | None:
        """Where the server listens now, and its processes; None while there is none."""
        return read_endpoint(self.directory)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.leave()

    def _reap(self, *, has_ended: bool) -> None:
        if self._started is None:
            return
        if has_ended:
            self._started.process.wait()
            return
        # A guard that goes on for others is still this process's child: somebody has to take its exit code one day.
        threading.Thread(target=self._started.process.wait, name="relight-guard-exit", daemon=True).start()


def _prepare(directory: Path) -> Path:
    # In a directory of somebody's own git would not see his files any more. One with just this was left half made.
    is_ours = not directory.exists() or [one.name for one in directory.iterdir()] == ["ports"]
    prepared = prepare(directory, what=_SETTING)
    if is_ours:
        (prepared / ".gitignore").write_text("*\n", encoding="utf-8")
    return prepared


@contextmanager
def _usable(directory: Path) -> Generator[None]:
    try:
        yield
    except OSError as error:
        raise InvalidValueError(
            _SETTING,
            "",
            f"{str(directory)[:80]!r} can't be used: {error.strerror}",
            "give the path of a directory that you may make and write in",
        ) from error


def _held(path: Path, mode: Mode, *, kept_in_forks: bool = False) -> FileLock:
    lock = wait_for_lock(path, mode, seconds=_WAIT_S, kept_in_forks=kept_in_forks)
    if lock is None:
        raise UnavailableError(
            f"{path} was held by other processes for {_WAIT_S:.0f} s; if a server recovers much data there, try again, "
            "else look for one that hangs"
        )
    return lock


def _found_or_started(directory: Path, sync: Sync) -> tuple[Endpoint, GuardedServer | None]:
    """Return the running server, or start one. The caller is a user and holds the start lock."""
    deadline = time.monotonic() + _WAIT_S
    while time.monotonic() < deadline:
        guard_lock = FileLock(directory / "guard.lock")
        try:
            if guard_lock.take("exclusive"):
                started = GuardedServer.start(directory, guard_lock=guard_lock, sync=sync, port=None, restart=True)
                return started.endpoint, started
        finally:
            guard_lock.close()
        endpoint = read_endpoint(directory)
        if endpoint is not None and _answers(endpoint):
            return endpoint, None
        # Its guard is ending, or replaces a server that died, or was started by a process that died before the end.
        time.sleep(_POLL_S)
    raise UnavailableError(
        f"nats-server in {directory} was not ready after {_WAIT_S:.0f} s; if it recovers much data, try again"
    )


def _answers(endpoint: Endpoint) -> bool:
    # A killed guard's lock is freed an instant after its server has died, and the state tells of both as alive. Nor is
    # a connection enough: the system makes one for as long as a thread of the dead server has not been cleared away.
    try:
        with socket.create_connection(("127.0.0.1", endpoint.port), timeout=1) as connection:
            return connection.recv(1) != b""
    except OSError:
        return False


def _end_if_last(directory: Path, users_lock: FileLock) -> bool:
    """End the server if nobody else uses it; return whether it has ended.

    The caller is a user and holds the start lock, so nobody else joins or leaves. Raises `FileNotFoundError` if the
    directory was removed.
    """
    if not users_lock.is_at_its_path():
        return False
    if users_lock.take("exclusive"):
        _end(directory)
        return True
    if users_lock.take("shared"):
        return False
    # Giving the shared lock up to get the exclusive one has let the guard in: it is ending the server.
    _end(directory)
    return True


def _end(directory: Path) -> None:
    told: int | None = None
    deadline = time.monotonic() + _WAIT_S
    while not _is_free(directory / "guard.lock"):
        if time.monotonic() > deadline:
            raise UnavailableError(f"nats-server in {directory} did not end within {_WAIT_S:.0f} s; its guard goes on")
        # There is no endpoint while the guard replaces a server that died, so it may have to be told later.
        endpoint = read_endpoint(directory)
        if endpoint is not None and endpoint.guard_process != told:
            told = endpoint.guard_process
            # First, so that nobody who comes when this process has died here believes in the server that ends.
            (directory / "state.json").unlink(missing_ok=True)
            signal_process(told, signal.SIGTERM)
        time.sleep(_POLL_S)


def _is_free(path: Path) -> bool:
    lock = FileLock(path)
    taken = lock.take("exclusive")
    lock.close()
    return taken
