"""A worker that was stopped acknowledges nothing of a run that it has lost, and tells nothing in its name.

It may have been stopped between any two lines, without knowing: so it looks before each of these.
"""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Literal

import pytest
from tests.crash.workers_in_memory import MemoryWorker, WorkersInMemory

from relight import Retry, WorkflowContext, step, workflow
from relight.actors.door import Stored
from relight.actors.retire import retire
from relight.config.limits import LIMITS
from relight.subjects.codec import encode
from relight.subjects.messages import Cancel
from relight.testing.memory import MemoryDoor, Operation

executed: list[str] = []
gate = asyncio.Event()


@pytest.fixture(autouse=True)
def fresh() -> None:
    global gate
    executed.clear()
    gate = asyncio.Event()


def acknowledgements_of(site: WorkersInMemory, worker: MemoryWorker) -> list[bool]:
    """Collect, for each message of `run` that the worker acknowledges, whether the last turn is its own then."""
    found: list[bool] = []

    def hook(door: MemoryDoor, operation: Operation, now: Literal["before", "after"]) -> None:
        is_it = door is worker.door and operation.name == "ack" and operation.subject.endswith(".run")
        if is_it and now == "after":
            found.append(site.turns("run")[-1].owner == worker.host.worker)

    site.server.on_operation = hook
    return found


def stop_at_last_look(site: WorkersInMemory, worker: MemoryWorker, monkeypatch: pytest.MonkeyPatch) -> None:
    """Stop the only worker after its next timer is armed, when it looks for mail, but does not know yet of any."""
    look = site.server.stream.next

    def look_and_stop(subject: str, *, after: int) -> Stored | None:
        monkeypatch.undo()
        worker.door.stop()
        return look(subject, after=after)

    def hook(_door: MemoryDoor, operation: Operation, now: Literal["before", "after"]) -> None:
        if operation.name == "schedule" and now == "after":
            monkeypatch.setattr(site.server.stream, "next", look_and_stop)
            site.server.on_operation = None

    site.server.on_operation = hook


@step(retry=Retry(delay=0.5, factor=200, delay_max=100, jitter=0))
async def fails_twice() -> None:
    executed.append("attempt")
    if len(executed) < 3:
        raise ConnectionError("not yet")


@workflow
async def waits_for_its_next_attempt(ctx: WorkflowContext) -> str:
    await fails_twice()
    return "done"


async def test_who_was_stopped_at_its_last_look_acknowledges_nothing_that_another_has_by_now(
    site: WorkersInMemory, monkeypatch: pytest.MonkeyPatch
) -> None:
    zombie = await site.add(waits_for_its_next_attempt, concurrency=1)  # Its own lease does not come to it again.
    stop_at_last_look(site, zombie, monkeypatch)
    run = await site.result(site.client.start(waits_for_its_next_attempt, id="run"))
    await site.until(lambda: zombie.door.process.is_stopped)
    heir = await site.add(waits_for_its_next_attempt)
    await site.pass_time(LIMITS.ack_wait_s - 1)
    # Wakes are delivered in turn: this one is the zombie's, so that the heir's own goes to the heir.
    await site.server.door("x").publish(site.client.subjects.wake("default", "nobody"), encode(Cancel()))
    await site.until(lambda: site.turns("run")[-1].owner == heir.host.worker)
    await site.pass_time(1)

    acknowledged_as_owner = acknowledgements_of(site, zombie)
    zombie.door.resume()
    await site.pass_time(1)

    assert False not in acknowledged_as_owner
    assert await site.result(run.result(timeout=600)) == "done"
    assert executed == ["attempt"] * 3


@step
async def lingers() -> None:
    executed.append("lingers")
    try:
        await asyncio.Event().wait()
    except asyncio.CancelledError:
        await gate.wait()
        executed.append("lingered")
        raise


@workflow
async def ends_beside_a_step(ctx: WorkflowContext, text: str) -> str:
    task = asyncio.ensure_future(lingers())
    await ctx.sleep(timedelta(seconds=1))
    task.cancel()
    return text


@workflow
async def sleeps(ctx: WorkflowContext, text: str) -> str:
    await ctx.sleep(timedelta(hours=1))
    return text


async def test_who_was_stopped_before_it_told_of_an_end_tells_nothing_of_the_next_run_of_this_id(
    site: WorkersInMemory,
) -> None:
    zombie = await site.add(ends_beside_a_step, sleeps, concurrency=1)  # The second start does not go to it.
    await site.result(site.client.start(ends_beside_a_step, "first", id="run"))
    await site.until(lambda: executed == ["lingers"])
    await site.pass_time(2)
    zombie.door.stop()
    await site.add(ends_beside_a_step, sleeps)
    await site.pass_time(2 * LIMITS.ack_wait_s)
    await site.result(retire(site.server.door("janitor"), site.client.subjects, "run"))
    await site.pass_time(2 * LIMITS.tombstone_s)
    second = await site.result(site.client.start(sleeps, "second", id="run"))
    waiting = asyncio.ensure_future(second.result(timeout=7200))
    await site.pass_time(5)

    gate.set()
    await site.passes()
    zombie.door.resume()

    assert await site.result(waiting) == "second"
    assert executed == ["lingers", "lingered"]


@workflow
async def hears_twice(ctx: WorkflowContext) -> str:
    await ctx.wait_for_signal("first", type=str)
    return await ctx.wait_for_signal("second", type=str)


async def test_what_comes_while_it_proves_that_the_run_is_its_own_is_not_acknowledged_unread(
    site: WorkersInMemory, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker = await site.add(hears_twice)
    run = await site.result(site.client.start(hears_twice, id="run"))
    await site.pass_time(5)
    subjects, looks = site.client.subjects, list[str]()
    next_, last = MemoryDoor.next, MemoryDoor.last

    async def slow_next(door: MemoryDoor, subject: str, *, after: int) -> Stored | None:
        found = await next_(door, subject, after=after)
        if door is worker.door and subject == subjects.wake("default", "run") and found is None and not looks:
            looks.append("slow")
            answered = asyncio.get_running_loop().create_future()
            door.clock.call_later(LIMITS.ack_wait_s * 0.6, lambda: answered.set_result(None))
            await answered
        return found

    async def last_and_signal(door: MemoryDoor, subject: str) -> Stored | None:
        found = await last(door, subject)
        if door is worker.door and subject == subjects.log("run") and looks == ["slow"]:
            looks.append("signalled")
            await run.signal("second", "heard")
            await site.passes()
        return found

    await site.result(run.signal("first", ""))
    monkeypatch.setattr(MemoryDoor, "next", slow_next)
    monkeypatch.setattr(MemoryDoor, "last", last_and_signal)

    assert await site.result(run.result(timeout=600)) == "heard"
    assert looks == ["slow", "signalled"]
