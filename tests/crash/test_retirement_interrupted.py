"""Wherever a retirement dies, it can be done again later, and then nothing is left of the run.

Later means: also when the tombstones of the first attempt have gone. As long as anything else is left the journal has
to be, because it says that the run has ended: without it the rest would belong to a run that has not begun, and those
are never retired.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from datetime import timedelta
from typing import Literal

from tests.crash.disturbing import kill_at
from tests.crash.workers_in_memory import WorkersInMemory

from relight import WorkflowContext, workflow
from relight.actors.retire import retire
from relight.config.limits import LIMITS
from relight.errors import RunNotFoundError
from relight.subjects.codec import encode
from relight.subjects.messages import Signal
from relight.testing.memory import MemoryDoor, Operation


@workflow
async def waits(ctx: WorkflowContext) -> str:
    return await ctx.suspend("answer", type=str, timeout=timedelta(days=10))


async def with_remains_of_each_kind(site: WorkersInMemory) -> str:
    """Return a run that has ended, but whose timer and mailbox its dead worker left behind."""
    worker = await site.add(waits)
    run = await site.result(site.client.start(waits))
    await site.pass_time(2)
    kill_at(site, worker, "publish", ".log.", "after")
    await site.result(run.resume("answer", "yes"))
    await site.until(lambda: not worker.door.process.is_alive)
    await site.server.door("late").publish(site.client.subjects.wake("default", run.id), encode(Signal(name="late")))
    return run.id


def kinds_left(site: WorkersInMemory) -> list[str]:
    return [one.subject.split(".")[2] for one in site.server.stream.every("relight.memory.>")]


async def retire_and_die(site: WorkersInMemory, run: str, *, after: int) -> int:
    """Retire in a process that dies after so many operations; return how many there were."""
    janitor = site.server.door("janitor")
    done = 0

    def hook(door: MemoryDoor, operation: Operation, now: Literal["before", "after"]) -> None:
        nonlocal done
        if door is janitor and now == "after":
            done += 1
            if done == after:
                janitor.kill()

    site.server.on_operation = hook
    retiring = asyncio.ensure_future(retire(janitor, site.client.subjects, run))
    await site.passes(retiring.done)
    await site.passes(retiring.done)
    retiring.cancel()
    site.server.on_operation = None
    return done


async def test_a_retirement_that_died_after_any_of_its_operations_is_done_again_later(site: WorkersInMemory) -> None:
    for deadly in range(1, 7):
        run = await with_remains_of_each_kind(site)
        assert set(kinds_left(site)) == {"log", "wake", "timer", "start"}

        done = await retire_and_die(site, run, after=deadly)
        await site.pass_time(2 * LIMITS.tombstone_s)
        with suppress(RunNotFoundError):
            await retire(site.server.door("next janitor"), site.client.subjects, run)
        await site.pass_time(2 * LIMITS.tombstone_s)

        assert kinds_left(site) == [], f"died after operation {deadly}"
        assert done == min(deadly, 5)  # Timers, mailbox, start, tombstone in its place, journal.
