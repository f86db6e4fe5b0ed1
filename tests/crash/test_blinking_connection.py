"""An owner that is out of reach for a moment is not dead."""

from __future__ import annotations

import asyncio

import pytest
from tests.crash.workers_in_memory import WorkersInMemory

from relight import WorkflowContext, step, workflow
from relight.config.limits import LIMITS
from relight.subjects.records import Claimed
from relight.testing.memory import Faults
from relight.testing.memory.exchange import Exchange

executed: list[str] = []
gate = asyncio.Event()


@pytest.fixture(autouse=True)
def fresh() -> None:
    global gate
    executed.clear()
    gate = asyncio.Event()


@step
async def waits_at_the_gate() -> str:
    executed.append("step")
    await gate.wait()
    return "open"


@workflow
async def works(ctx: WorkflowContext) -> str:
    return await waits_at_the_gate()


async def test_an_owner_whose_connection_blinks_while_a_signal_comes_keeps_its_run(site: WorkersInMemory) -> None:
    # It takes no starts, and is the first to be given a wake.
    bystander = await site.add(works, concurrency=0)
    owner = await site.add(works)
    run = await site.result(site.client.start(works))
    await site.until(lambda: executed == ["step"])
    await site.pass_time(1)
    naks: list[str] = []
    site.server.on_operation = lambda _door, operation, _now: (
        naks.append(operation.by) if operation.name == "nak" else None
    )

    reachable, site.server.exchange = site.server.exchange, Exchange()  # Nobody hears a question.
    await site.result(run.signal("anything"))
    await site.pass_time(2)
    site.server.exchange = reachable
    await site.pass_time(5)
    gate.set()

    assert await site.result(run.result()) == "open"
    assert bystander.host.worker in naks
    assert executed == ["step"]
    assert {turn.owner for turn in site.turns(run.id)} == {owner.host.worker}


async def test_a_start_whose_first_turn_an_outage_keeps_back_is_begun_by_nobody_who_is_back_before_its_worker(
    site: WorkersInMemory,
) -> None:
    owner = await site.add(works, concurrency=1)  # It has no place for another start.
    site.server.faults = Faults(
        outcome=lambda one: "lost" if one.by == owner.host.worker and ".log." in one.subject else "known"
    )
    run = await site.result(site.client.start(works))
    await site.until(lambda: executed == ["step"])
    await site.add(works)
    (start,) = site.server.unacknowledged(site.client.subjects.start("default", run.id))

    reachable, site.server.exchange = site.server.exchange, Exchange()  # The second one is back, the first is not.
    site.server.returning_until_ms = site.server.clock.now_ms() + 2_500
    site.server.consumer("start", "default").nak(start, owner.door, 0.0)
    await site.pass_time(1)
    site.server.exchange, site.server.faults = reachable, Faults()
    await site.pass_time(5)
    gate.set()

    assert await site.result(run.result()) == "open"
    assert executed == ["step"]
    assert {turn.owner for turn in site.turns(run.id)} == {owner.host.worker}


async def test_a_run_whose_owners_connections_blink_again_and_again_is_not_quarantined(site: WorkersInMemory) -> None:
    """Others take it over the first two times; the death that would park it is one only if the owner stays away."""
    for _ in range(2):
        await site.add(works)
    run = await site.result(site.client.start(works))
    await site.until(lambda: executed == ["step"])
    await site.pass_time(1)

    for _ in range(20):
        await blink(site, run.id)
    gate.set()

    assert await site.result(run.result()) == "open"
    claims = [one for one in site.records(run.id) if isinstance(one, Claimed)]
    assert [(one.cause, one.deaths) for one in claims] == [("owner_gone", 1), ("owner_gone", 2)]


async def blink(site: WorkersInMemory, run: str) -> None:
    """Let both connections of the owner be reset, and its leases freed, and the owner be back a moment later."""
    subjects = site.client.subjects
    reachable, site.server.exchange = site.server.exchange, Exchange()
    for sequence in site.server.unacknowledged(subjects.start("default", run)):
        site.server.consumer("start", "default").nak(sequence, "a survivor", 0.0)
    for sequence in site.server.unacknowledged(subjects.wake("default", run)):
        site.server.consumer("wake", "default").nak(sequence, "a survivor", 0.0)
    await site.pass_time(0.1)
    site.server.exchange = reachable
    await site.pass_time(LIMITS.ack_wait_s)
