"""What stood still for hours in the middle of a run's end leaves the next run of that id alone."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import timedelta

import pytest
from msgspec import Raw
from tests.crash.workers_in_memory import WorkersInMemory

from relight import Run, WorkflowContext, workflow
from relight.actors.retire import retire
from relight.config.limits import LIMITS
from relight.subjects.codec import encode
from relight.subjects.messages import Signal
from relight.testing.memory import MemoryDoor, Operation


@workflow
async def waits_for_hours(ctx: WorkflowContext) -> str:
    return await ctx.wait_for_signal("go", type=str, timeout=timedelta(hours=6))


@workflow
async def ends_at_once(ctx: WorkflowContext) -> None:
    pass


Stops = Callable[[Operation], bool]


def purges_timers(operation: Operation) -> bool:
    return operation.name == "purge" and ".timer." in operation.subject


def purges_mailbox(operation: Operation) -> bool:
    return operation.name == "purge" and ".wake." in operation.subject


def entombs_the_start(operation: Operation) -> bool:
    return operation.name == "entomb" and ".start." in operation.subject


def stop_at(site: WorkersInMemory, door: MemoryDoor, stops: Stops) -> None:
    """Stop the process behind this door when it is about to do that."""

    def hook(by: MemoryDoor, operation: Operation, now: str) -> None:
        if by is door and now == "before" and stops(operation):
            site.server.on_operation = None
            door.stop()

    site.server.on_operation = hook


def timers(site: WorkersInMemory) -> int:
    return len(site.server.stream.subjects(site.client.subjects.timers("run"), limit=9))


async def next_run(site: WorkersInMemory, zombie: MemoryDoor) -> Run[str]:
    """Retire the run, and start another one under its id as soon as that may be; then nobody else is there."""
    for worker in site.workers:
        if worker.door is not zombie:
            worker.kill()
    worker = await site.add(waits_for_hours)
    await site.pass_time(60)
    await site.result(retire(site.server.door("janitor"), site.client.subjects, "run"))
    await site.pass_time(LIMITS.tombstone_s + 120)
    run = await site.result(site.client.start(waits_for_hours, id="run"))
    await site.until(lambda: timers(site) == 1)
    worker.kill()
    return run


async def test_a_worker_that_stood_still_as_it_finished_a_run(site: WorkersInMemory) -> None:
    zombie = await site.add(waits_for_hours)
    run = await site.result(site.client.start(waits_for_hours, id="run"))
    await site.pass_time(5)
    stop_at(site, zombie.door, purges_timers)
    await site.result(run.signal("go", "on"))
    await site.until(lambda: zombie.door.process.is_stopped)

    await next_run(site, zombie.door)
    zombie.door.resume()
    await site.pass_time(1)

    assert timers(site) == 1


@pytest.mark.parametrize("stops", [purges_timers, purges_mailbox, entombs_the_start], ids=lambda one: one.__name__)
async def test_a_retirement_that_stood_still(site: WorkersInMemory, stops: Stops) -> None:
    worker = await site.add(waits_for_hours)
    run = await site.result(site.client.start(waits_for_hours, id="run"))
    await site.pass_time(5)
    await site.result(run.signal("go", "on"))
    await site.result(run.result())
    worker.kill()
    mailbox = site.client.subjects.wake("default", "run")
    await site.server.door("sender").publish(mailbox, encode(Signal("late", Raw(b"1"))))
    janitor = site.server.door("zombie")
    stop_at(site, janitor, stops)
    retiring = asyncio.ensure_future(retire(janitor, site.client.subjects, "run"))
    await site.until(lambda: janitor.process.is_stopped)

    run = await next_run(site, janitor)
    await site.result(run.signal("go", "on"))
    janitor.resume()
    await asyncio.gather(retiring, site.pass_time(1), return_exceptions=True)

    assert timers(site) == 1
    assert (await site.result(run.describe())).status == "waiting"
    await site.add(waits_for_hours)
    await site.pass_time(5)
    assert await site.result(run.result()) == "on"


async def test_an_old_handle_sends_to_the_queue_of_the_run_that_has_the_id_now(site: WorkersInMemory) -> None:
    first = await site.add(ends_at_once)
    old = await site.result(site.client.start(ends_at_once, id="run"))
    await site.result(old.result())
    await site.result(retire(site.client.door, site.client.subjects, "run"))
    await site.pass_time(LIMITS.tombstone_s + 60)
    first.kill()
    await site.add(waits_for_hours, queue="other")
    new = await site.result(site.client.start(waits_for_hours, id="run", queue="other"))

    await site.result(old.signal("go", "now"))

    assert await site.result(new.result()) == "now"
