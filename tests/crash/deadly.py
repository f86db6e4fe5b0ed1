"""Code that ends its worker, and workers in memory that die of it, or by chance, or leave in order."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Literal

from tests.crash.workers_in_memory import MemoryWorker, WorkersInMemory

from relight import Run, Workflow, WorkflowContext, workflow
from relight.subjects import records as r
from relight.testing.memory import MemoryDoor, Operation

__all__ = (
    "deaths",
    "die",
    "dies_at_once",
    "dies_before",
    "dies_behind_a_turn",
    "dies_when_cancelled",
    "dies_when_woken",
    "drained",
    "fresh",
    "is_quarantined",
    "kill_workers",
)

deaths: list[str] = []
_sites: list[WorkersInMemory] = []


def fresh(site: WorkersInMemory) -> None:
    deaths.clear()
    _sites[:] = [site]


def die(run: str) -> None:
    """End the newest worker, within the code of a run."""
    deaths.append(run)
    _sites[0].workers[-1].door.kill()


@workflow
async def dies_at_once(ctx: WorkflowContext) -> None:
    die(ctx.run_id)


@workflow
async def dies_when_woken(ctx: WorkflowContext) -> None:
    await ctx.suspend("go")
    die(ctx.run_id)


@workflow
async def dies_when_cancelled(ctx: WorkflowContext) -> None:
    try:
        await ctx.suspend("go")
    finally:
        die(ctx.run_id)


async def kill_workers(site: WorkersInMemory, code: Workflow[..., None], count: int) -> None:
    """Have as many workers die of it, one after the other."""
    for _ in range(count):
        before = len(deaths)
        worker = await site.add(code)
        await site.until(lambda before=before: len(deaths) > before)  # type: ignore[misc]
        worker.kill()


async def is_quarantined(site: WorkersInMemory, run: Run[None], code: Workflow[..., None], *, deaths_more: int) -> None:
    """Have as many workers die as do, and see that the next one lives."""
    before = len(deaths)
    await kill_workers(site, code, deaths_more)
    await site.add(code)
    await site.until(lambda: _run_parked(site, run))
    await site.pass_time(60)

    assert len(deaths) == before + deaths_more
    description = await site.result(run.describe())
    assert description.parked == "quarantined"
    assert "3 workers died" in description.waits_for[0]


def _run_parked(site: WorkersInMemory, run: Run[None]) -> bool:
    last = site.turns(run.id)[-1].records[-1]
    return isinstance(last, r.Parked) and last.reason == "quarantined"


async def dies_before(site: WorkersInMemory, worker: MemoryWorker, name: str) -> None:
    """Let time pass until the worker is about to do this, and end it."""
    await _dies(site, worker, lambda operation, now: operation.name == name and now == "before")


async def dies_behind_a_turn(site: WorkersInMemory, worker: MemoryWorker) -> None:
    """Let time pass until the worker has appended a turn, and end it before it does anything else."""
    await _dies(site, worker, lambda operation, now: ".log." in operation.subject and now == "after")


async def _dies(site: WorkersInMemory, worker: MemoryWorker, is_it: Callable[[Operation, str], bool]) -> None:
    dead: list[MemoryDoor] = []

    def hook(door: MemoryDoor, operation: Operation, now: Literal["before", "after"]) -> None:
        if door is worker.door and is_it(operation, now):
            door.kill()
            dead.append(door)

    site.server.on_operation = hook
    await site.until(lambda: bool(dead))
    site.server.on_operation = None
    worker.kill()


async def drained(site: WorkersInMemory, worker: MemoryWorker) -> None:
    """Have it leave as SIGTERM does: it waits by the real clock, its runs by the virtual one."""
    leaving = asyncio.ensure_future(worker.host.drain(0.01))
    while not leaving.done():
        await asyncio.sleep(0)
        await site.passes()
    leaving.result()
    worker.kill()
