"""A worker process with the example workflows; it notes each attempt of a step in a file before it begins."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path
from typing import Any

from tests.crash.workflows import SCENARIOS, SECRETS

from relight import Interceptor, Relight, StepCall, Worker

EXECUTIONS = Path(sys.argv[3]) if len(sys.argv) > 3 else Path(os.devnull)


class Noting(Interceptor):
    async def step(self, call: StepCall, next: Any) -> Any:
        with EXECUTIONS.open("a") as file:  # One write of a line at the end of a file is atomic.
            file.write(f"{call.info.idempotency_key} {call.info.attempt}\n")
        return await next(call)


async def main() -> None:
    async with Relight(sys.argv[1], namespace=sys.argv[2]) as relight:
        workflows = {known.name: known for one in SCENARIOS.values() for known in (one.workflow, *one.others)}
        worker = Worker(relight, list(workflows.values()), interceptors=[Noting()], version="1", secrets=SECRETS.get)
        async with worker:
            print("ready", flush=True)
            await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main())
