"""Steps go on telling how they go on while nothing can be recorded: only the latest that each has told is kept."""

from __future__ import annotations

import asyncio

import pytest
from tests.crash.workers_in_memory import WorkersInMemory

from relight import WorkflowContext, step, workflow
from relight.subjects import records as r
from relight.testing.memory import Faults

BEATS = 300
finished = asyncio.Event()


@pytest.fixture(autouse=True)
def fresh() -> None:
    global finished
    finished = asyncio.Event()


@step
async def beats(step_number: int) -> int:
    for number in range(BEATS):
        step.heartbeat([step_number, number])
        await asyncio.sleep(0)
    await finished.wait()
    return step_number


@workflow
async def lives(ctx: WorkflowContext) -> list[int]:
    return list(await asyncio.gather(beats(1), beats(2)))


async def test_only_the_latest_heartbeat_of_each_step_is_kept_until_it_can_be_recorded(site: WorkersInMemory) -> None:
    worker = await site.add(lives)
    site.server.faults = Faults(outcome=lambda operation: "lost" if ".log." in operation.subject else "known")
    run = await site.result(site.client.start(lives))
    await site.pass_time(2)
    for _ in range(2 * BEATS):
        await asyncio.sleep(0)
    actor = worker.host._live.actors[run.id]  # pyright: ignore[reportPrivateUsage]
    assert len(actor._attempts.outcomes) == 2  # pyright: ignore[reportPrivateUsage]

    finished.set()
    await site.passes()
    site.server.faults = Faults()

    assert await site.result(run.result()) == [1, 2]
    beaten = [bytes(one.details) for one in site.records(run.id) if isinstance(one, r.StepHeartbeat)]
    assert beaten[-2:] == [b"[1,299]", b"[2,299]"]
    kinds = [type(one) for one in site.records(run.id)]
    assert kinds.index(r.StepCompleted) > kinds.index(r.StepHeartbeat)
