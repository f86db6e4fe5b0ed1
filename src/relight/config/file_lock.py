"""A lock on a file that the system frees when its holder dies, however it dies."""

from __future__ import annotations

import fcntl
import os
import time
from pathlib import Path
from typing import Literal, final

__all__ = ("FileLock", "Mode", "wait_for_lock")

Mode = Literal["shared", "exclusive"]

_FLAGS = {"shared": fcntl.LOCK_SH, "exclusive": fcntl.LOCK_EX}
_POLL_S = 0.002


@final
class FileLock:
    """One open file and the `flock` on it. Two of them in one process are as far apart as two processes.

    The file is never removed: whoever waits for it must wait for the same one as everybody else. The lock is one of the
    open file, so a process that is forked would hold it on for as long as it lives: it closes the file first thing,
    unless the lock is `kept_in_forks`.
    """

    def __init__(self, path: Path, *, kept_in_forks: bool = False) -> None:
        self.path = path
        self._kept_in_forks = kept_in_forks
        self.descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        if not kept_in_forks:
            _closed_in_forks.add(self)

    def take(self, mode: Mode) -> bool:
        """Take or convert the lock now, if nobody prevents it. A refused conversion may have lost the old lock."""
        try:
            fcntl.flock(self.descriptor, _FLAGS[mode] | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def is_at_its_path(self) -> bool:
        """Whether others that lock this path now lock the same file. Raises `FileNotFoundError` if there is none."""
        return os.path.samestat(os.fstat(self.descriptor), self.path.stat())

    def close(self) -> None:
        """Free the lock, also in forks that kept it, but not in a process that was started with the file."""
        _closed_in_forks.discard(self)
        if self.descriptor >= 0:
            if self._kept_in_forks:
                fcntl.flock(self.descriptor, fcntl.LOCK_UN)
            os.close(self.descriptor)
            self.descriptor = -1


_closed_in_forks: set[FileLock] = set()


def _close_in_fork() -> None:
    for lock in tuple(_closed_in_forks):
        lock.close()


os.register_at_fork(after_in_child=_close_in_fork)


def wait_for_lock(path: Path, mode: Mode, *, seconds: float, kept_in_forks: bool = False) -> FileLock | None:
    """Return the lock, or None if others held it for so many seconds."""
    lock = FileLock(path, kept_in_forks=kept_in_forks)
    deadline = time.monotonic() + seconds
    while not lock.take(mode):
        if time.monotonic() > deadline:
            lock.close()
            return None
        time.sleep(_POLL_S)
    return lock
