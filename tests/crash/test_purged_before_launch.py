"""Between the append that asks for a step and its launch the mailbox is purged: that may take any time."""

from __future__ import annotations

import asyncio

import pytest
from tests.crash.disturbing import stop_after
from tests.crash.workers_in_memory import WorkersInMemory

from relight import WorkflowContext, step, workflow
from relight.config.limits import LIMITS
from relight.testing.memory import Faults

TIMEOUT_S = 30
SIGNALS = LIMITS.mailbox_purge // 2 - 1
"""Each makes two records, as the beginning does: the turn that asks for the step is the first after which is purged."""

executed: list[float] = []
finished = asyncio.Event()


@pytest.fixture(autouse=True)
def fresh() -> None:
    global finished
    executed.clear()
    finished = asyncio.Event()


@step(timeout=TIMEOUT_S)
async def follow() -> float:
    deadline = step.info().deadline
    executed.append(deadline.timestamp() if deadline else 0.0)
    await finished.wait()
    return executed[-1]


@workflow
async def reads_a_full_mailbox(ctx: WorkflowContext) -> float:
    for _ in range(SIGNALS):
        await ctx.wait_for_signal("word", type=int)
    return await follow()


async def test_a_worker_that_was_stopped_while_it_purged_launches_nothing_that_another_has_launched(
    site: WorkersInMemory,
) -> None:
    zombie = await site.add(reads_a_full_mailbox)
    run = await site.result(site.client.start(reads_a_full_mailbox, id="run-1"))
    await site.pass_time(2)
    stop_after(site, zombie, "purge", ".wake.")
    for number in range(SIGNALS):
        await site.result(run.signal("word", number))
    await site.until(lambda: zombie.door.process.is_stopped)
    assert executed == []

    await site.add(reads_a_full_mailbox)
    await site.until(lambda: len(executed) == 1)
    zombie.door.resume()
    await site.pass_time(1)
    finished.set()
    await site.result(run.result())

    assert len(executed) == 1


async def test_a_steps_time_begins_when_it_begins_however_long_the_purge_took(site: WorkersInMemory) -> None:
    finished.set()
    await site.add(reads_a_full_mailbox)
    run = await site.result(site.client.start(reads_a_full_mailbox, id="run-1"))
    await site.pass_time(2)
    site.server.faults = Faults(outcome=lambda operation: "lost" if operation.name == "purge" else "known")
    for number in range(SIGNALS):
        await site.result(run.signal("word", number))
    await site.pass_time(60)
    assert executed == []

    before_s = site.server.clock.now_ms() / 1000
    site.server.faults = Faults()
    await site.result(run.result())

    assert executed[0] >= before_s + TIMEOUT_S
