"""Worker processes with the example workflows; they note each attempt of a step, and who they are, in a file before
it begins.

For each line that comes in, one worker is forked: it starts in milliseconds, because everything is imported already. It
says its process id and its worker's name when it works. When the input ends, so do all.
"""

from __future__ import annotations

import asyncio
import os
import random
import signal
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import structlog
from tests.crash.workflows import SCENARIOS, SECRETS

from relight import Interceptor, Relight, StepCall, Worker

EXECUTIONS = Path(sys.argv[3]) if len(sys.argv) > 3 else Path(os.devnull)


class Noting(Interceptor):
    async def step(self, call: StepCall, next: Any) -> Any:
        with EXECUTIONS.open("a") as file:  # One write of a line at the end of a file is atomic.
            file.write(f"{call.info.idempotency_key} {call.info.attempt} {os.getpid()}\n")
        return await next(call)


async def work() -> None:
    async with Relight(sys.argv[1], namespace=sys.argv[2]) as relight:
        workflows = {known.name: known for one in SCENARIOS.values() for known in (one.workflow, *one.others)}
        worker = Worker(relight, list(workflows.values()), interceptors=[Noting()], version="1", secrets=SECRETS.get)
        async with worker:
            print(os.getpid(), worker.id, flush=True)
            await asyncio.Event().wait()


def fork_worker() -> int:
    worker = os.fork()
    if not worker:
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        random.seed()
        asyncio.run(work())
        os._exit(1)  # It works until it is killed.
    return worker


def main() -> None:
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # Nobody waits for them here.
    workers = [fork_worker() for _ in sys.stdin]
    for worker in workers:
        with suppress(ProcessLookupError):
            os.kill(worker, signal.SIGKILL)


if __name__ == "__main__":
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
    main()
