"""Worker processes that start in milliseconds: each is forked from one that has imported everything already."""

from __future__ import annotations

import asyncio
import json
import multiprocessing
import os
from collections.abc import Mapping
from pathlib import Path
from typing import final

import structlog
from tests.crash import apps
from tests.processes import MARK

__all__ = ("Forked",)

_forks = multiprocessing.get_context("forkserver")
_forks.set_forkserver_preload([apps.__name__])


@final
class Forked:
    """One such process, with the part of `asyncio.subprocess.Process` that tests use. What it says goes to `log`."""

    def __init__(self, orders: apps.Orders, log: Path, environment: Mapping[str, str]) -> None:
        arguments = (apps.text_of(orders), log, dict(environment))
        self._process = _forks.Process(target=_work, args=arguments, daemon=True)
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
        await asyncio.to_thread(self._process.join)
        assert self._process.exitcode is not None, "it has ended"
        return self._process.exitcode


def _work(orders: str, log: Path, environment: dict[str, str]) -> None:
    said = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    for stream in (1, 2):
        os.dup2(said, stream)
    os.environ.clear()
    os.environ.update(environment)
    structlog.configure(logger_factory=structlog.PrintLoggerFactory())
    asyncio.run(apps.main(apps.Orders(**json.loads(orders))))
