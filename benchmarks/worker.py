"""A worker process of the rows."""

from __future__ import annotations

import asyncio
import signal
import sys

import structlog

from benchmarks.event_loop import run
from benchmarks.workflows import WORKFLOWS
from relight import Relight, Worker


async def main() -> None:
    """Work until SIGTERM."""
    # Nothing may go to standard output but the word that a worker is ready.
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(file=sys.stderr))
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    async with Relight() as relight, Worker(relight, WORKFLOWS):
        print("ready", flush=True)
        await stop.wait()


if __name__ == "__main__":
    run(main())
