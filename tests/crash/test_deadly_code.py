"""A run whose code ends its worker before anything is recorded: a person can end it, and none of its code runs then."""

from __future__ import annotations

from collections.abc import AsyncGenerator

import pytest
from tests.crash.workers_in_memory import WorkersInMemory, workers_in_memory

from relight import Run, RunTerminated, Workflow, WorkflowContext, workflow
from relight.subjects import records as r

deaths: list[str] = []
sites: list[WorkersInMemory] = []


@pytest.fixture
async def site() -> AsyncGenerator[WorkersInMemory]:
    deaths.clear()
    async with workers_in_memory() as site:
        sites[:] = [site]
        yield site


def die(run: str) -> None:
    deaths.append(run)
    sites[0].workers[-1].door.kill()


@workflow
async def dies_at_once(ctx: WorkflowContext) -> None:
    die(ctx.run_id)


@workflow
async def dies_when_woken(ctx: WorkflowContext) -> None:
    await ctx.suspend("go")
    die(ctx.run_id)


async def kill_workers(site: WorkersInMemory, code: Workflow[..., None], count: int) -> None:
    for _ in range(count):
        before = len(deaths)
        worker = await site.add(code)
        await site.until(lambda before=before: len(deaths) > before)  # type: ignore[misc]
        worker.kill()


async def is_ended_by(site: WorkersInMemory, run: Run[None], code: Workflow[..., None]) -> None:
    before = len(deaths)
    await site.result(run.terminate(reason="deadly"))
    await site.add(code)

    with pytest.raises(RunTerminated, match="deadly"):
        await site.result(run.result())
    assert len(deaths) == before


async def test_a_start_that_has_ended_two_workers_can_be_terminated(site: WorkersInMemory) -> None:
    run = await site.result(site.client.start(dies_at_once))
    await kill_workers(site, dies_at_once, 2)

    await is_ended_by(site, run, dies_at_once)


async def test_so_can_a_run_whose_code_ends_its_worker_when_it_is_woken(site: WorkersInMemory) -> None:
    worker = await site.add(dies_when_woken)
    run = await site.result(site.client.start(dies_when_woken))
    await site.until(lambda: bool(site.records(run.id, r.Suspended)))
    worker.kill()
    await site.result(run.resume("go"))
    await kill_workers(site, dies_when_woken, 2)

    await is_ended_by(site, run, dies_when_woken)
