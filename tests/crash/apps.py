"""A worker process for the tests: its steps write down each execution, and wait where a test wants them to."""

from __future__ import annotations

import asyncio
import importlib
import json
import os
import signal
import sys
import time
from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import structlog

from relight import Interceptor, Relight, Retry, RunCall, Worker, Workflow, WorkflowContext, step, workflow
from relight.config.limits import LIMITS
from relight.config.settings import Settings
from relight.sdk._backend import JetStreamBackend

__all__ = (
    "Orders",
    "answers",
    "blocks",
    "brisk",
    "collects",
    "gated",
    "hears_while_it_works",
    "kills",
    "note",
    "quick",
    "relight_of",
    "retries",
    "sleeps",
    "tells_time",
    "text_of",
    "waits",
)

log = structlog.get_logger("tests.crash.apps")


@dataclass(frozen=True, kw_only=True)
class Orders:
    """How a worker process is to work.

    `variant` names a module whose workflows replace those of the same name; `limits` are the watchdog's.
    """

    url: str
    namespace: str
    workflows: tuple[str, ...] = ()
    queues: tuple[str, ...] = ("default",)
    concurrency: int = 200
    replicas: int = 1
    shards: int = 1
    variant: str = ""
    version: str = ""
    adopts: tuple[str, ...] = ()
    limits: dict[str, float] = field(default_factory=dict[str, float])


def note(directory: str, name: str) -> None:
    """One line for each execution: an append of few bytes is atomic."""
    info = step.info()
    line = json.dumps([name, info.run_id, os.getpid(), time.time()]) + "\n"
    with open(os.open(Path(directory, "executions"), os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600), "w") as file:
        file.write(line)


@step
async def one(directory: str) -> int:
    note(directory, "one")
    return 1


@step
async def two(directory: str) -> int:
    note(directory, "two")
    return 2


@step
async def three(directory: str) -> int:
    note(directory, "three")
    return 3


@step
async def brief(directory: str) -> int:
    """Long enough to be interrupted."""
    note(directory, "brief")
    await asyncio.sleep(0.15)
    return 0


@step
async def gate(directory: str) -> str:
    """Wait until the test opens the gate."""
    note(directory, "gate")
    while not Path(directory, "go").exists():
        await asyncio.sleep(0.005)
    return "open"


@step(retry=Retry(attempts=3, delay=0.9, jitter=0))
async def fails_once(directory: str) -> int:
    note(directory, "fails_once")
    if step.info().attempt == 1:
        raise RuntimeError("once")
    return 1


@step
async def blocked(directory: str) -> int:
    """The mistake itself: it blocks the worker's loop until the test opens the gate."""
    note(directory, "blocked")
    while not Path(directory, "go").exists():
        time.sleep(0.01)  # noqa: ASYNC251
    return 1


@step
async def kill_the_worker(directory: str) -> None:
    note(directory, "kill_the_worker")
    os.kill(os.getpid(), signal.SIGKILL)


@workflow
async def quick(ctx: WorkflowContext, directory: str) -> int:
    return await one(directory) + await two(directory) + await three(directory)


@workflow
async def tells_time(ctx: WorkflowContext, directory: str) -> list[str]:
    begun = ctx.now()
    await one(directory)
    return [begun.isoformat(), ctx.now().isoformat(), await gate(directory)]


@workflow
async def brisk(ctx: WorkflowContext, directory: str) -> int:
    return await brief(directory) + await one(directory) + await two(directory)


@workflow
async def gated(ctx: WorkflowContext, directory: str) -> str:
    await one(directory)
    opened = await gate(directory)
    await two(directory)
    return opened


@workflow
async def waits(ctx: WorkflowContext, directory: str) -> str:
    await one(directory)
    answer: str = await ctx.suspend("answer", type=str)
    await two(directory)
    return answer


@workflow
async def collects(ctx: WorkflowContext, directory: str, count: int) -> list[int]:
    await one(directory)
    numbers = [await ctx.wait_for_signal("number", type=int) for _ in range(count)]
    await two(directory)
    return numbers


@workflow
async def hears_while_it_works(ctx: WorkflowContext, directory: str) -> tuple[str, int]:
    """A step is under way while the run waits for a signal."""
    opened, number = await asyncio.gather(gate(directory), ctx.wait_for_signal("number", type=int))
    return opened, number


@workflow
async def answers(ctx: WorkflowContext, directory: str, count: int) -> int:
    """Answers so many requests, each when the gate is open."""
    asked = ctx.requests("number", type=int)
    for _ in range(count):
        request = await anext(asked)
        await request.reply({"number": request.data, "gate": await gate(directory)})
    return count


@workflow
async def sleeps(ctx: WorkflowContext, directory: str, seconds: float) -> int:
    await one(directory)
    await ctx.sleep(seconds)
    return await two(directory)


@workflow
async def retries(ctx: WorkflowContext, directory: str) -> int:
    return await fails_once(directory)


@workflow
async def blocks(ctx: WorkflowContext, directory: str) -> int:
    return await blocked(directory)


@workflow
async def kills(ctx: WorkflowContext, directory: str) -> None:
    await kill_the_worker(directory)


_ALL = (answers, quick, tells_time, brisk, gated, waits, collects, hears_while_it_works, sleeps, retries, blocks, kills)
WORKFLOWS: dict[str, Workflow[..., Any]] = {one.name: one for one in _ALL}


def workflows_of(orders: Orders) -> list[Workflow[..., Any]]:
    known = dict(WORKFLOWS)
    if orders.variant:
        known |= importlib.import_module(orders.variant).WORKFLOWS
    return [known[name] for name in orders.workflows]


class CountsReplays(Interceptor):
    """Says so in the log each time a workflow's code is begun: for a new run, or to replay."""

    async def run(self, call: RunCall, next: Callable[[RunCall], Awaitable[Any]]) -> Any:
        log.info("activation_begins", run=call.run_id)
        return await next(call)


def relight_of(orders: Orders) -> Relight:
    settings = Settings.read(url=orders.url, namespace=orders.namespace, replicas=orders.replicas, shards=orders.shards)
    end_s = orders.limits.get("loop_blocked_end_s", LIMITS.loop_blocked_end_s)
    limits = replace(LIMITS, loop_blocked_end_s=end_s)
    backend = JetStreamBackend(settings, is_local=False, watchdog_limits=limits)
    return Relight._on(settings, backend)  # pyright: ignore[reportPrivateUsage]  # the door that tests in memory use too


async def main(orders: Orders) -> None:
    async with relight_of(orders) as relight:
        worker = Worker(
            relight,
            workflows_of(orders),
            queues=orders.queues,
            concurrency=orders.concurrency,
            version=orders.version,
            adopts=orders.adopts,
            interceptors=[CountsReplays()],
        )
        print(worker.id, flush=True)
        await worker.run()


def text_of(orders: Orders) -> str:
    return json.dumps(asdict(orders))


if __name__ == "__main__":
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
    asyncio.run(main(Orders(**json.loads(sys.argv[1]))))
