"""Deliveries that are never new, because a node's clock is behind or all is late: leases are not changed for ever."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest
from msgspec.structs import replace
from tests.crash.workers_in_memory import WorkersInMemory

from relight import Run, WorkflowContext, step, workflow
from relight.actors.door import Delivery
from relight.actors.host import Host
from relight.config.limits import LIMITS
from relight.testing.memory import Faults, MemoryDoor, Operation

begun: list[str] = []
gate = asyncio.Event()


@pytest.fixture(autouse=True)
def fresh() -> None:
    global gate
    begun.clear()
    gate = asyncio.Event()


@step
async def works(text: str) -> None:
    begun.append(text)
    await gate.wait()


@workflow
async def hears(ctx: WorkflowContext) -> int:
    return sum([await ctx.wait_for_signal("go", type=int) for _ in range(3)])


@workflow
async def hears_or_sleeps(ctx: WorkflowContext) -> int:
    async with asyncio.timeout(24 * 3600):
        return sum([await ctx.wait_for_signal("go", type=int) for _ in range(3)])


@workflow
async def works_when_told(ctx: WorkflowContext) -> str:
    await ctx.wait_for_signal("go", type=int)
    await works("at work")
    return "done"


class Relits:
    """What workers publish into mailboxes of a server that stamps all messages too early."""

    def __init__(self, site: WorkersInMemory, *, late_s: float = 0.0) -> None:
        self.count = 0
        site.server.consumer("wake", "default")._new_s = -1.0  # pyright: ignore[reportPrivateUsage]
        site.server.on_operation = self._on_operation
        self._late_s = late_s
        site.server.faults = Faults(arrivals=self._arrivals)

    def _on_operation(self, door: MemoryDoor, operation: Operation, moment: str) -> None:
        is_one = operation.name == "publish" and ".wake." in operation.subject and door.name.startswith("worker")
        self.count += is_one and moment == "after"

    def _arrivals(self, subject: str) -> Sequence[float]:
        return (self._late_s if ".wake." in subject else 0.0,)


def _is_let_go(site: WorkersInMemory, run: Run[Any]) -> bool:
    is_acknowledged = not site.server.unacknowledged(site.client.subjects.wake("default", run.id))
    return is_acknowledged and not any(worker.host.holds(run.id) for worker in site.workers)


@pytest.mark.parametrize("late_s", [0.0, 3 * LIMITS.linger_s, 0.7 * LIMITS.ack_wait_s], ids=["skewed", "late", "later"])
@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("what", [hears, hears_or_sleeps])
async def test_a_run_whose_deliveries_are_never_new_comes_to_rest(
    site: WorkersInMemory, late_s: float, workers: int, what: object
) -> None:
    assert what in (hears, hears_or_sleeps)
    workflow_ = hears if what is hears else hears_or_sleeps
    for _ in range(workers):
        await site.add(workflow_)
    run = await site.result(site.client.start(workflow_, id="run"))
    relits = Relits(site, late_s=late_s)
    await site.pass_time(60)

    for number in range(2):
        await site.result(run.signal("go", number))
        await site.pass_time(60)
        assert _is_let_go(site, run)
        assert relits.count <= 2 * (number + 1)
    await site.pass_time(3600)

    assert relits.count <= 4
    await site.result(run.signal("go", 5))
    assert await site.result(run.result(timeout=600)) == 6


@pytest.mark.parametrize("late_s", [0.0, 0.4 * LIMITS.ack_wait_s], ids=["skewed", "late"])
async def test_a_run_at_work_whose_deliveries_are_never_new_changes_its_lease_once(
    site: WorkersInMemory, late_s: float
) -> None:
    await site.add(works_when_told)
    run = await site.result(site.client.start(works_when_told, id="run"))
    await site.pass_time(60)
    relits = Relits(site, late_s=late_s)

    await site.result(run.signal("go", 1))
    await site.pass_time(600)

    assert relits.count == 1
    assert begun == ["at work"]
    gate.set()
    assert await site.result(run.result(timeout=600)) == "done"


async def test_a_lease_that_is_late_each_time_is_changed_seldom(site: WorkersInMemory) -> None:
    await site.add(works_when_told)
    run = await site.result(site.client.start(works_when_told, id="run"))
    await site.pass_time(60)
    relits = Relits(site, late_s=0.7 * LIMITS.ack_wait_s)

    await site.result(run.signal("go", 1))
    await site.pass_time(600)

    assert relits.count <= 600 / (LIMITS.ack_wait_s / 2)
    gate.set()
    assert await site.result(run.result(timeout=600)) == "done"


async def test_a_lease_that_comes_again_each_time_is_changed_once_a_second(
    site: WorkersInMemory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As when the end of the stream is not known yet after a reconnect: no delivery is the first one then."""
    worker = await site.add(works_when_told)
    run = await site.result(site.client.start(works_when_told, id="run"))
    await site.pass_time(60)
    relits, dispatch = Relits(site), Host._dispatch  # pyright: ignore[reportPrivateUsage]

    def again(host: Host, delivery: Delivery, run: str, *, is_start: bool) -> None:
        dispatch(host, replace(delivery, delivered=2, new_until_ms=0), run, is_start=is_start)

    monkeypatch.setattr(Host, "_dispatch", again)
    await site.result(run.signal("go", 1))
    for _ in range(10):
        await site.passes()
    at_once = relits.count
    await site.pass_time(60)

    assert at_once <= 2
    assert relits.count <= 62
    assert worker.host.holds(run.id)
    gate.set()
    assert await site.result(run.result(timeout=600)) == "done"


async def test_who_takes_over_by_a_late_relit_holds_a_lease_of_its_own_before_it_appends(site: WorkersInMemory) -> None:
    await site.add(works_when_told)
    run = await site.result(site.client.start(works_when_told, id="run"))
    await site.pass_time(60)
    heir = await site.add(works_when_told)
    Relits(site)
    published: list[str] = []

    def on_operation(door: MemoryDoor, operation: Operation, moment: str) -> None:
        if operation.name != "publish" or moment == "before" or not door.name.startswith("worker"):
            return
        published.append(f"{door.name} {operation.subject.split('.')[2]}")
        if len(published) == 1:
            next(one for one in site.workers if one.door is door).kill()

    site.server.on_operation = on_operation
    await site.result(run.signal("go", 1))
    await site.until(lambda: begun == ["at work"])

    assert published[:3] == ["worker-1 wake", "worker-2 wake", "worker-2 log"]
    assert heir.host.holds(run.id)
    gate.set()
    assert await site.result(run.result(timeout=600)) == "done"
