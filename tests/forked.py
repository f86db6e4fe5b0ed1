"""Processes that start in milliseconds: each is forked from one that has imported everything already."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import threading
from collections.abc import Callable, Mapping
from multiprocessing.connection import wait
from pathlib import Path
from typing import Any, final

from tests.processes import MARK

__all__ = ("Forked", "become")

_forks = multiprocessing.get_context("forkserver")
_forks.set_forkserver_preload(["tests.preloaded"])
_looks = threading.Lock()
"""Each start looks at all processes; of two that read one's exit code at once, one is told 255."""


@final
class Forked:
    """One such process, with the part of `asyncio.subprocess.Process` that tests use.

    Args:
        work: What it does: a function of a module that `tests.preloaded` imports. It calls `become` first.
        arguments: Plain values.
    """

    def __init__(self, work: Callable[..., None], *arguments: Any) -> None:
        self._process = _forks.Process(target=work, args=arguments, daemon=True)
        mark = os.environ.pop(MARK, None)  # Whoever forks outlives the test.
        try:
            with _looks:
                self._process.start()
        finally:
            if mark is not None:
                os.environ[MARK] = mark

    @property
    def pid(self) -> int:
        assert self._process.pid is not None, "it was started"
        return self._process.pid

    @property
    def returncode(self) -> int | None:
        with _looks:
            return self._process.exitcode

    def kill(self) -> None:
        self._process.kill()

    async def wait(self) -> int:
        return await asyncio.to_thread(self.join)

    def join(self) -> int:
        """Wait for its end and return its exit code."""
        wait([self._process.sentinel])
        code = self.returncode
        assert code is not None, "it has ended"
        return code


def become(environment: Mapping[str, str], *, out: Path, err: Path) -> None:
    """Take on an environment, and add all that is said to the end of these files."""
    for stream, path in ((1, out), (2, err)):
        said = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        os.dup2(said, stream)
        os.close(said)
    os.environ.clear()
    os.environ.update(environment)
