"""A worker that was stopped for longer than tombstones stand finds nothing left of what it had in hand."""

from __future__ import annotations

import asyncio

from tests.crash.workers_in_memory import workers_in_memory

from relight import WorkflowContext, step, workflow
from relight.actors.retire import retire
from relight.config.limits import LIMITS

executed: list[str] = []
gate = asyncio.Event()


@step
async def note() -> None:
    executed.append("note")
    await gate.wait()


@workflow
async def one_step(ctx: WorkflowContext) -> None:
    await note()


async def test_a_retired_run_is_not_run_again_by_a_worker_that_was_stopped_for_hours() -> None:
    async with workers_in_memory() as site:
        zombie = await site.add(one_step)
        run = await site.result(site.client.start(one_step, id="run"))
        await site.until(lambda: executed == ["note"])
        await site.pass_time(1)
        zombie.door.stop()
        await site.add(one_step)
        await site.until(lambda: executed == ["note"] * 2)
        gate.set()
        await site.result(run.result())
        await site.result(retire(site.server.door("janitor"), site.client.subjects, "run"))
        await site.pass_time(2 * LIMITS.tombstone_s)

        zombie.door.resume()
        await site.pass_time(60)

        assert executed == ["note"] * 2
        assert site.turns("run") == []
