"""What the code does when a person lets its run go on: it may have left the very step that was decided on."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from tests.crash.workers_in_memory import WorkersInMemory, workers_in_memory

from relight import Retry, WorkflowContext, step, workflow
from relight.subjects import records as r
from relight.testing import replay


@pytest.fixture
async def site() -> AsyncIterator[WorkersInMemory]:
    async with workers_in_memory() as made:
        yield made


@step(retry=Retry(attempts=1), on_exhausted="park")
async def fails() -> str:
    raise OSError("no network")


@workflow
async def gives_up(ctx: WorkflowContext, continues: bool) -> str:
    """Leave the step when a word comes."""
    word = asyncio.ensure_future(ctx.wait_for_signal("word", type=str))
    doing = asyncio.ensure_future(fails())
    await asyncio.wait((word, doing), return_when=asyncio.FIRST_COMPLETED)
    if doing.done():
        return doing.result()
    doing.cancel()
    await asyncio.wait((doing,))
    if continues:
        ctx.continue_as_new(False)
    return word.result()


@pytest.mark.parametrize("decides", ["retry", "rerun", "resolve", "fail"])
@pytest.mark.parametrize("continues", [False, True])
async def test_a_decision_about_a_step_that_the_code_leaves_when_it_goes_on_changes_nothing(
    site: WorkersInMemory, decides: str, continues: bool
) -> None:
    await site.add(gives_up)
    run = await site.result(site.client.start(gives_up, continues))
    await site.until(lambda: bool(site.records(run.id, r.Parked)))
    await site.result(run.signal("word", "enough"))
    await site.until(lambda: bool(site.records(run.id, r.SignalReceived)))

    match decides:
        case "retry":
            await site.result(run.retry())
        case "rerun":
            await site.result(run.resolve("fails#1", rerun=True))
        case "resolve":
            await site.result(run.resolve("fails#1", result="done"))
        case _:
            await site.result(run.resolve("fails#1", error="gone"))
    if continues:
        await site.until(lambda: bool(site.records(run.id, r.Continued)))
        await site.until(lambda: bool(site.records(run.id, r.Parked)))
        await site.result(run.signal("word", "enough"))
        await site.until(lambda: bool(site.records(run.id, r.SignalReceived)))
        await site.result(run.resolve("fails#2", rerun=True))

    assert await site.result(run.result()) == "enough"
    replay([one async for one in run.history()], workflows=[gives_up])
