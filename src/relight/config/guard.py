"""The guard: a tiny process that holds one nats-server and ends it when nobody uses it any more.

A server must not outlive its users, however these die. `PR_SET_PDEATHSIG` alone can't promise that: macOS lacks it, on
Linux it fires when the *thread* that forked ends, and a server shared by several processes has no single parent. File
locks can: the system frees a dead process's `flock`, and no process id has to be believed. So each user holds a shared
lock on `users.lock`, and the guard waits in the kernel for the exclusive one, at no cost. Once it is granted nobody is
left; the guard keeps it until the server has ended, so that whoever comes meanwhile waits and then starts afresh.

The server is the guard's child, so a signal never hits a reused process id. It inherits `server.lock`, which tells
the next starter whether a server still writes to the data, even if its guard was killed. On Linux the server dies
with its guard; elsewhere the next starter ends it.

The file is run as a script by a bare interpreter (`-I -S`) in the server's directory and imports nothing that costs
time. SIGTERM ends the server in order, SIGUSR1 kills it. It writes one line once the server is ready, and none if the
server ended instead.
"""

from __future__ import annotations

import ctypes
import fcntl
import json
import os
import signal
import sys
import time
from _thread import start_new_thread
from contextlib import suppress
from types import FrameType
from typing import NoReturn

__all__ = ("main",)

READY_S = 120.0
STOP_S = 5.0
RESTART_PAUSE_S = 0.1
QUICK_DEATH_S = 5.0
QUICK_DEATHS_MAX = 5
_POLL_S = 0.002
_USERS_GONE = 0
_PR_SET_PDEATHSIG = 1


def main(binary: str, port: int, *, guard_lock: int, restart: bool) -> int:
    """Run one server until its users are gone and return the exit code. With `restart` a dead server is replaced."""
    os.set_inheritable(guard_lock, False)
    server_lock = _locked("server.lock")
    wakeups = _wakeups()
    server = _start(binary, server_lock)
    if server is None:
        return 1
    _write_state(server, port)
    _announce()
    quick_deaths = 0
    while True:
        started_at = time.monotonic()
        if not _ended_by_itself(server, wakeups):
            return 0
        _remove_state()
        quick_deaths = quick_deaths + 1 if time.monotonic() - started_at < QUICK_DEATH_S else 0
        server = None
        while server is None:
            if not restart or quick_deaths > QUICK_DEATHS_MAX:
                return 1
            # Longer each time: what keeps it from starting, such as another process on its port, may pass.
            time.sleep(RESTART_PAUSE_S * 2**quick_deaths)
            server = _start(binary, server_lock)
            quick_deaths += server is None
        _write_state(server, port)


def _locked(name: str) -> int:
    descriptor = os.open(name, os.O_RDWR | os.O_CREAT, 0o600)
    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    return descriptor


def _wakeups() -> int:
    """Return a pipe that gets a byte for each signal, and one when the last user has gone."""
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    signal.set_wakeup_fd(writer)
    for number in (signal.SIGCHLD, signal.SIGTERM, signal.SIGUSR1, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, _only_wake_up)
    start_new_thread(_wait_for_the_last_user, (writer,))
    return reader


def _only_wake_up(_number: int, _frame: FrameType | None) -> None:
    """The byte in the pipe is what counts; without a handler the signal would end the guard."""


def _wait_for_the_last_user(writer: int) -> None:
    # Never closed: the exclusive lock is what newcomers wait for until this process has ended.
    users = os.open("users.lock", os.O_RDWR | os.O_CREAT, 0o600)
    fcntl.flock(users, fcntl.LOCK_EX)
    os.write(writer, bytes((_USERS_GONE,)))


def _start(binary: str, server_lock: int) -> int | None:
    """Start the server and return its process id once it listens; None if it ended or took too long."""
    server = _spawn(binary, server_lock)
    ports = os.path.join("ports", f"{os.path.basename(binary)}_{server}.ports")
    deadline = time.monotonic() + READY_S
    while not os.path.exists(ports):
        if _has_ended(server):
            return None
        if time.monotonic() > deadline:
            sys.stderr.write(f"it was not ready after {READY_S:g} s, and was killed\n")
            _end(server, signal.SIGKILL)
            return None
        time.sleep(_POLL_S)
    return server


def _spawn(binary: str, server_lock: int) -> int:
    # Loaded before the fork: the child of a process with threads should do as little as it can.
    libc = ctypes.CDLL(None) if sys.platform == "linux" else None
    guard = os.getpid()
    server = os.fork()
    if server == 0:
        try:
            _become_server(binary, server_lock, guard, libc)
        finally:
            os._exit(127)
    return server


def _become_server(binary: str, server_lock: int, guard: int, libc: ctypes.CDLL | None) -> NoReturn:
    if libc is not None:
        libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != guard:
            os._exit(127)
    os.set_inheritable(server_lock, True)
    os.dup2(2, 1)
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    os.execv(binary, (binary, "-c", "server.conf"))


def _ended_by_itself(server: int, wakeups: int) -> bool:
    """Wait; return True when the server died, False when the guard has ended it because it was to."""
    while True:
        # One at a time: what comes after the server's death must still be there when its successor runs.
        wakeup = os.read(wakeups, 1)[0]
        if wakeup in (_USERS_GONE, signal.SIGTERM, signal.SIGUSR1):
            # First, so that a newcomer never believes in a server that is about to end.
            _remove_state()
            _end(server, signal.SIGKILL if wakeup == signal.SIGUSR1 else signal.SIGTERM)
            return False
        if wakeup == signal.SIGCHLD and _has_ended(server):
            return True


def _end(server: int, first: signal.Signals) -> None:
    os.kill(server, first)
    deadline = time.monotonic() + STOP_S
    while not _has_ended(server):
        if time.monotonic() > deadline:
            os.kill(server, signal.SIGKILL)
        time.sleep(_POLL_S)


def _has_ended(server: int) -> bool:
    try:
        return os.waitpid(server, os.WNOHANG)[0] == server
    except ChildProcessError:
        return True


def _write_state(server: int, port: int) -> None:
    state = {"guard": os.getpid(), "server": server, "port": port}
    descriptor = os.open("state.new", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with open(descriptor, "w", encoding="utf-8") as file:
        json.dump(state, file)
    os.replace("state.new", "state.json")


def _remove_state() -> None:
    # Only one's own: who empties the directory while it is in use has another server started there.
    with suppress(OSError, ValueError, LookupError, TypeError), open("state.json", encoding="utf-8") as file:
        if json.load(file)["guard"] == os.getpid():
            os.unlink("state.json")


def _announce() -> None:
    # The starter may have been killed meanwhile; others may have joined already, so the guard goes on without him.
    with suppress(BrokenPipeError):
        os.write(1, b"ready\n")
    os.dup2(2, 1)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], int(sys.argv[2]), guard_lock=int(sys.argv[3]), restart=sys.argv[4] == "restart"))
