"""A worker process of the rows."""

from __future__ import annotations

import logging
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import structlog

from benchmarks.event_loop import run
from benchmarks.workflows import WORKFLOWS
from relight import Relight, Worker


async def main() -> None:
    """Work until SIGTERM."""
    # Nothing may go to standard output but the word that a worker is ready.
    quiet = structlog.make_filtering_bound_logger(logging.WARNING)
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(file=sys.stderr), wrapper_class=quiet)
    async with Relight() as relight:
        await Worker(relight, WORKFLOWS, lifespan=_say_ready).run()


@asynccontextmanager
async def _say_ready() -> AsyncIterator[None]:
    print("ready", flush=True)
    yield


if __name__ == "__main__":
    run(main())
