"""A worker process for the tests: one workflow, whose step says where it runs and waits to be let go."""

import asyncio
import os
import sys
from pathlib import Path

from relight import Relight, Worker, WorkflowContext, step, workflow


@step
async def first(directory: str) -> str:
    note(directory, "first")
    return "one"


@step
async def second(directory: str, before: str) -> str:
    note(directory, "second")
    while not Path(directory, "go").exists():
        await asyncio.sleep(0.01)
    return f"{before} two"


@workflow
async def slice_of_life(ctx: WorkflowContext, directory: str) -> str:
    return await second(directory, await first(directory))


def note(directory: str, name: str) -> None:
    """One line for each execution: an append is atomic."""
    with Path(directory, "executions").open("a") as file:
        file.write(f"{name} {os.getpid()}\n")


async def main() -> None:
    async with Relight(sys.argv[1], namespace=sys.argv[2]) as relight:
        await Worker(relight, [slice_of_life]).run()


if __name__ == "__main__":
    asyncio.run(main())
