"""Processes that start in milliseconds: each is forked from one that has imported everything already."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, final

from tests.processes import MARK

__all__ = ("Forked", "become")

_forks = multiprocessing.get_context("forkserver")
_forks.set_forkserver_preload(["tests.preloaded"])


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
        return self._process.exitcode

    def kill(self) -> None:
        self._process.kill()

    async def wait(self) -> int:
        return await asyncio.to_thread(self.join)

    def join(self) -> int:
        """Wait for its end and return its exit code."""
        self._process.join()
        assert self._process.exitcode is not None, "it has ended"
        return self._process.exitcode


def become(environment: Mapping[str, str], *, out: Path, err: Path) -> None:
    """Take on an environment, and add all that is said to the end of these files."""
    for stream, path in ((1, out), (2, err)):
        said = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        os.dup2(said, stream)
        os.close(said)
    os.environ.clear()
    os.environ.update(environment)
