"""A worker that was stopped for longer than tombstones stand finds nothing left of what it had in hand."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Literal

import pytest
from tests.crash.workers_in_memory import MemoryWorker, WorkersInMemory

from relight import RunTerminated, WorkflowContext, step, workflow
from relight.actors.retire import retire
from relight.config.limits import LIMITS
from relight.testing.memory import MemoryDoor, Operation

executed: list[str] = []
gate = asyncio.Event()


@step
async def one() -> None:
    executed.append("one")
    await gate.wait()


@step
async def two() -> None:
    executed.append("two")


@workflow
async def two_steps(ctx: WorkflowContext) -> None:
    await one()
    await two()


@pytest.fixture(autouse=True)
def fresh() -> None:
    global gate
    executed.clear()
    gate = asyncio.Event()


def stopping_at_its_append(worker: MemoryWorker) -> Callable[[MemoryDoor, Operation, Literal["before", "after"]], None]:
    """Stop the worker when it has looked that the start still is there, before its turn has reached the server."""

    def hook(door: MemoryDoor, operation: Operation, now: Literal["before", "after"]) -> None:
        if door is worker.door and operation.name == "publish" and ".log." in operation.subject and now == "before":
            worker.door.stop()

    return hook


async def nothing_runs_again(site: WorkersInMemory, zombie: MemoryWorker, ran: list[str], *, tries: int = 0) -> None:
    """The run, which is under way elsewhere, ends and is retired; when its id is free again the zombie comes back.

    So often it `tries` to write to the journal.
    """
    gate.set()
    await site.result(site.client.get_run("run").result())
    await site.result(retire(site.server.door("janitor"), site.client.subjects, "run"))
    await site.pass_time(2 * LIMITS.tombstone_s)
    did: list[str] = []

    def hook(door: MemoryDoor, operation: Operation, now: Literal["before", "after"]) -> None:
        if door is zombie.door and now == "after":
            did.append("tries" if operation.name == "publish" and ".log." in operation.subject else operation.name)

    site.server.on_operation = hook
    zombie.door.resume()
    await site.pass_time(60)

    assert executed == ran
    assert site.turns("run") == []
    assert did.count("tries") == tries
    assert did[-1] == "ack", "the start does not come again and again"


async def test_a_retired_run_is_not_run_again_by_a_worker_that_was_stopped_for_hours(site: WorkersInMemory) -> None:
    zombie = await site.add(two_steps)
    await site.result(site.client.start(two_steps, id="run"))
    await site.until(lambda: executed == ["one"])
    await site.pass_time(1)
    zombie.door.stop()
    await site.add(two_steps)
    await site.until(lambda: executed == ["one"] * 2)

    await nothing_runs_again(site, zombie, ["one", "one", "two"], tries=1)


async def test_nor_by_one_that_had_not_read_its_start(site: WorkersInMemory) -> None:
    zombie = await site.add(two_steps)
    await site.passes()
    zombie.door.stop()
    await site.result(site.client.start(two_steps, id="run"))
    await site.add(two_steps)
    await site.until(lambda: executed == ["one"])

    await nothing_runs_again(site, zombie, ["one", "two"])


async def test_nor_by_one_that_held_its_first_turn_back(site: WorkersInMemory) -> None:
    zombie = await site.add(two_steps)
    await site.result(site.client.start(two_steps, id="run"))
    await site.passes(lambda: executed == ["one"])
    assert site.turns("run") == []
    zombie.door.stop()
    await site.add(two_steps)
    await site.until(lambda: executed == ["one"] * 2)

    await nothing_runs_again(site, zombie, ["one", "one", "two"])


async def test_nor_by_one_whose_first_turn_was_under_way(site: WorkersInMemory) -> None:
    zombie = await site.add(two_steps)
    await site.result(site.client.start(two_steps, id="run"))
    await site.passes(lambda: executed == ["one"])
    site.server.on_operation = stopping_at_its_append(zombie)
    await site.until(lambda: zombie.door.process.is_stopped)
    site.server.on_operation = None
    await site.add(two_steps)
    await site.until(lambda: executed == ["one"] * 2)

    await nothing_runs_again(site, zombie, ["one", "one", "two"], tries=1)


@workflow
async def another(ctx: WorkflowContext) -> None:
    """The only one that some workers have."""


async def test_nor_is_its_end_recorded_again_by_one_that_lacks_its_code(site: WorkersInMemory) -> None:
    zombie = await site.add(another)
    run = await site.result(site.client.start(two_steps, id="run"))
    site.server.on_operation = stopping_at_its_append(zombie)
    await site.result(run.terminate())
    await site.until(lambda: zombie.door.process.is_stopped)
    site.server.on_operation = None
    await site.add(another)
    with pytest.raises(RunTerminated):
        await site.result(run.result())
    await site.result(retire(site.server.door("janitor"), site.client.subjects, "run"))
    await site.pass_time(2 * LIMITS.tombstone_s)

    zombie.door.resume()
    await site.pass_time(60)

    assert site.turns("run") == []
