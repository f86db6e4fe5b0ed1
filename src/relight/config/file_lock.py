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

    The file is never removed: whoever waits for it must wait for the same one as everybody else.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)

    def take(self, mode: Mode) -> bool:
        """Take or convert the lock now, if nobody prevents it. A refused conversion may have lost the old lock."""
        try:
            fcntl.flock(self.descriptor, _FLAGS[mode] | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def close(self) -> None:
        """Free the lock, unless a process that inherited the file still holds it."""
        if self.descriptor >= 0:
            os.close(self.descriptor)
            self.descriptor = -1


def wait_for_lock(path: Path, mode: Mode, *, seconds: float) -> FileLock | None:
    """Return the lock, or None if others held it for so many seconds."""
    lock = FileLock(path)
    deadline = time.monotonic() + seconds
    while not lock.take(mode):
        if time.monotonic() > deadline:
            lock.close()
            return None
        time.sleep(_POLL_S)
    return lock
