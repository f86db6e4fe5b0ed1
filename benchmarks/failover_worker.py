"""A worker whose one step tells where and when it begins, and ends when it is told to; for the failover row."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time

import structlog

from benchmarks.event_loop import run
from relight import Relight, Worker, WorkflowContext, step, workflow

__all__ = ("held",)


@step
async def hold(port: int) -> None:
    """Say process and moment to a listener on loopback, and wait for its answer."""
    began = time.monotonic_ns()
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(f"{os.getpid()} {began}\n".encode())
    await reader.readline()
    writer.close()


@workflow
async def held(ctx: WorkflowContext, port: int) -> None:
    await hold(port)


async def main() -> None:
    """Work until SIGTERM."""
    # Nothing may go to standard output but the word that a worker is ready.
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(file=sys.stderr))
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    async with Relight() as relight, Worker(relight, [held]):
        print("ready", flush=True)
        await stop.wait()


if __name__ == "__main__":
    run(main())
