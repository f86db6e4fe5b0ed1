"""What is running: found by a mark in the environment, which every process that a test starts inherits."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

__all__ = ("MARK", "eventually", "eventually_ended", "is_running", "marked", "unreaped_child")

MARK = "STARTED_BY_TEST"


def marked(mark: str) -> dict[int, str]:
    """Return command lines by process id of the living processes with this mark, other than this one.

    Empty where there is no /proc (macOS): the check is Linux's.
    """
    wanted = f"{MARK}={mark}".encode()
    found: dict[int, str] = {}
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            is_marked = wanted in (entry / "environ").read_bytes().split(b"\0")
            command = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except (FileNotFoundError, ProcessLookupError, PermissionError):
            continue  # It has ended, or belongs to another user.
        if is_marked and int(entry.name) != os.getpid():
            found[int(entry.name)] = command
    return found


def is_running(process: int) -> bool:
    """Whether the process lives; one that has ended and was not reaped does not."""
    try:
        state = Path(f"/proc/{process}/stat").read_text(encoding="utf-8").rpartition(") ")[2][0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"


def unreaped_child() -> int | None:
    """Return the process id of a child that has ended and whose exit code nobody has taken."""
    try:
        ended = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return None
    return None if ended is None else ended.si_pid


def eventually_ended(process: int) -> None:
    """Return when the process has ended.

    Raises:
        TimeoutError: It still runs after twenty seconds, twice the time after which a lease lapses.
    """
    eventually(lambda: not is_running(process))


def eventually(condition: Callable[[], bool]) -> None:
    """Return when the condition holds.

    Raises:
        TimeoutError: It does not after twenty seconds, twice the time after which a lease lapses.
    """
    deadline = time.monotonic() + 20
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError("the condition did not come true")
        time.sleep(0.002)
