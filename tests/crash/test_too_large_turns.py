"""A turn that the server takes no more, because its limit was lowered for example: the run waits for a person."""

from __future__ import annotations

from typing import Literal

import pytest
from tests.crash.deadly import drained
from tests.crash.workers_in_memory import WorkersInMemory

from relight import Run, WorkflowContext, step, workflow
from relight.subjects import records as r
from relight.testing.memory import MemoryDoor, Operation
from relight.testing.memory import door as memory_door

executed: list[str] = []


@step
async def one() -> None:
    executed.append("one")


@workflow
async def listens(ctx: WorkflowContext) -> str:
    heard = await ctx.wait_for_signal("word", type=str)
    await one()
    return heard[:1]


async def unfit(site: WorkersInMemory, monkeypatch: pytest.MonkeyPatch, *, workers: int) -> Run[str]:
    for _ in range(workers):
        await site.add(listens)
    run = await site.result(site.client.start(listens, id="run"))
    await site.until(lambda: bool(site.records("run", r.SignalAwaited)))
    await site.result(run.signal("word", "x" * 50_000))
    monkeypatch.setattr(memory_door, "_PAYLOAD_BYTES_MAX", 10_000)
    await site.until(lambda: bool(site.records("run", r.Parked)))
    return run


async def test_it_is_parked_and_goes_on_when_the_limit_was_raised(
    site: WorkersInMemory, monkeypatch: pytest.MonkeyPatch
) -> None:
    executed.clear()
    run = await unfit(site, monkeypatch, workers=1)
    await site.pass_time(60)

    description = await site.result(run.describe())
    assert description.parked == "stuck"
    assert "does not fit" in description.waits_for[0]
    assert len(site.turns("run")) < 5

    monkeypatch.undo()
    await site.result(run.retry())

    assert await site.result(run.result()) == "x"
    assert executed == ["one"]


async def test_two_workers_that_try_it_in_turns_record_nothing_more(
    site: WorkersInMemory, monkeypatch: pytest.MonkeyPatch
) -> None:
    await unfit(site, monkeypatch, workers=2)
    await site.pass_time(120)
    turns = len(site.turns("run"))
    await site.pass_time(600)

    assert len(site.turns("run")) == turns < 6


async def test_workers_that_try_it_and_leave_in_order_are_not_taken_for_dead(
    site: WorkersInMemory, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = await unfit(site, monkeypatch, workers=1)
    for _ in range(5):
        await site.pass_time(300)
        await drained(site, site.workers[-1])
        await site.add(listens)
    await site.pass_time(300)

    assert (await site.result(run.describe())).parked == "stuck"


async def test_nor_do_their_tries_leave_messages_behind(site: WorkersInMemory, monkeypatch: pytest.MonkeyPatch) -> None:
    await unfit(site, monkeypatch, workers=2)
    await site.pass_time(600)
    published: list[str] = []

    def count(door: MemoryDoor, operation: Operation, now: Literal["before", "after"]) -> None:
        if now == "before" and operation.name == "publish":
            published.append(operation.subject)

    site.server.on_operation = count
    await site.pass_time(600)
    assert published == []
