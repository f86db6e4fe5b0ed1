"""What running steps get when a worker goes: time to end; then they are told to stop, and their runs go on elsewhere.

The time is the loop's own, also in memory; but nothing here has to wait for it.
"""

from __future__ import annotations

import asyncio

import pytest
from tests.crash.disturbing import stop_after
from tests.crash.workers_in_memory import WorkersInMemory

from relight import WorkflowContext, step, workflow
from relight.config.limits import LIMITS
from relight.subjects import records as r

executed: list[str] = []
gate = asyncio.Event()


@pytest.fixture(autouse=True)
def fresh() -> None:
    global gate
    executed.clear()
    gate = asyncio.Event()


@step
async def takes_its_time() -> str:
    executed.append("begun")
    try:
        await gate.wait()
    except asyncio.CancelledError:
        executed.append("stopped")
        raise
    executed.append("finished")
    return "done"


@workflow
async def works(ctx: WorkflowContext) -> str:
    return await takes_its_time()


async def test_a_step_that_ends_within_the_grace_is_let_end(site: WorkersInMemory) -> None:
    worker = await site.add(works)
    run = await site.result(site.client.start(works))
    await site.until(lambda: executed == ["begun"])

    draining = asyncio.ensure_future(worker.host.drain(600))
    await site.passes()
    gate.set()
    await draining
    await site.add(works)

    assert await site.result(run.result()) == "done"
    assert executed == ["begun", "finished"]


async def test_a_step_that_outlasts_the_grace_is_stopped_and_its_run_goes_on_elsewhere(site: WorkersInMemory) -> None:
    first = await site.add(works)
    run = await site.result(site.client.start(works))
    await site.until(lambda: executed == ["begun"])
    second = await site.add(works)
    began_ms = site.server.clock.now_ms()

    await first.host.drain(0)
    await site.until(lambda: executed == ["begun", "stopped", "begun"])

    # Handed over, and not left until its lease lapses.
    assert site.server.clock.now_ms() - began_ms < 1000
    gate.set()
    assert await site.result(run.result()) == "done"
    assert site.turns(run.id)[-1].owner == second.host.worker
    assert [(one.cause, one.deaths) for one in site.records(run.id) if isinstance(one, r.Claimed)] == [
        ("left", 0),
        ("handed_over", 0),
    ]


async def test_a_worker_that_was_stopped_as_it_left_a_run_changes_nothing_when_it_goes_on(
    site: WorkersInMemory,
) -> None:
    first = await site.add(works)
    run = await site.result(site.client.start(works))
    await site.until(lambda: executed == ["begun"])
    stop_after(site, first, "publish", ".log.")
    await first.host.drain(0)
    second = await site.add(works)
    await site.pass_time(2 * LIMITS.ack_wait_s)
    assert executed == ["begun", "stopped", "begun"]
    turns = len(site.turns(run.id))

    first.door.resume()  # What it gives back is the lease of the other one by now, who is asked.
    await site.pass_time(1)

    assert len(site.turns(run.id)) == turns
    gate.set()
    assert await site.result(run.result()) == "done"
    assert site.turns(run.id)[-1].owner == second.host.worker
    assert executed == ["begun", "stopped", "begun", "finished"]
