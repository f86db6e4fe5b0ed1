"""A worker process of the demo. It says on standard output, a JSON line each, what really runs in it."""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import structlog
from examples.demo.json_server import exit_with_parent
from examples.demo.shop import Services, process_order

from relight import Interceptor, Relight, RunCall, StepCall, Worker

__all__ = ("Reporter",)

CONCURRENCY = 10
"""Small, so that 500 orders take long enough to see some workers die."""


class Reporter(Interceptor):
    """Tells when a workflow begins to replay, and when a step's function is really called."""

    async def run(self, call: RunCall, next: Any) -> Any:
        report("replays" if call.is_replaying() else "begins", run=call.run_id)
        return await next(call)

    async def step(self, call: StepCall, next: Any) -> Any:
        report("calls", run=call.info.run_id, step=call.info.name)
        return await next(call)


def report(what: str, **fields: str) -> None:
    print(json.dumps({"what": what, "at": time.time(), **fields}), flush=True)


async def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--provider", required=True)
    parser.add_argument("--model", required=True)
    parser.add_argument("--without-key", action="store_true")
    options = parser.parse_args()

    @asynccontextmanager
    async def lifespan() -> AsyncGenerator[Services, None]:
        async with httpx.AsyncClient(base_url=options.provider) as provider:
            async with httpx.AsyncClient(base_url=options.model, timeout=30) as model:
                yield Services(provider, model, sends_key=not options.without_key)

    async with Relight.local() as relight:
        worker = Worker(relight, [process_order], concurrency=CONCURRENCY, lifespan=lifespan, interceptors=[Reporter()])
        async with worker:
            print(json.dumps({"ready": worker.id}), flush=True)
            await asyncio.Event().wait()  # Until the demo ends this process, one way or another.


if __name__ == "__main__":
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
    exit_with_parent()
    asyncio.run(main())
