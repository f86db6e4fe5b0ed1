"""Whoever waits for a run's end hears only what is stored, and asks only rarely by himself."""

from __future__ import annotations

import asyncio
from typing import Literal

import pytest
from tests.crash.workers_in_memory import WorkersInMemory

from relight import RunCancelled, RunFailed, RunTerminated, WorkflowContext, step, workflow
from relight.subjects import records as r
from relight.subjects.codec import encode
from relight.subjects.turn import Turn
from relight.testing.memory import MemoryDoor, Operation

_WAITS_S = 605


@step
async def one() -> int:
    return 1


@workflow
async def returns(ctx: WorkflowContext) -> int:
    return await one()


@workflow
async def raises(ctx: WorkflowContext) -> int:
    raise ValueError(await one())


@workflow
async def waits(ctx: WorkflowContext) -> str:
    return await ctx.wait_for_signal("go", type=str)


async def test_the_end_is_not_told_before_it_is_stored(site: WorkersInMemory) -> None:
    told: list[tuple[str, bool]] = []

    def hook(door: MemoryDoor, operation: Operation, now: Literal["before", "after"]) -> None:
        if operation.name == "notify" and ".done." in operation.subject and now == "before":
            id = operation.subject.rpartition(".")[2]
            told.append((id, bool(site.records(id, *r.ENDS))))

    site.server.on_operation = hook
    await site.add(returns, raises, waits)
    returned = await site.result(site.client.start(returns, id="returned"))
    failed = await site.result(site.client.start(raises, id="failed"))
    cancelled = await site.result(site.client.start(waits, id="cancelled"))
    await site.result(cancelled.cancel())

    assert await site.result(returned.result()) == 1
    with pytest.raises(RunFailed):
        await site.result(failed.result())
    with pytest.raises(RunCancelled):
        await site.result(cancelled.result())
    assert sorted(told) == [("cancelled", True), ("failed", True), ("returned", True)]


async def test_an_end_that_the_fence_refused_is_not_told(site: WorkersInMemory) -> None:
    records = (r.RunStarted("returns", "default"), r.RunTerminated("by another owner"))
    rival = Turn(v=1, number=1, append="x.1", owner="x", epoch=1, lease=0, at_ms=1, previous="", records=records)
    log = site.client.subjects.log("run")
    refused: list[int] = []

    def hook(door: MemoryDoor, operation: Operation, now: Literal["before", "after"]) -> None:
        if operation.name == "publish" and operation.subject == log and now == "before" and not refused:
            refused.append(site.server.stream.publish(log, encode(rival), fence=None, fence_subject=None))

    site.server.on_operation = hook
    await site.add(returns)
    run = await site.result(site.client.start(returns, id="run"))

    with pytest.raises(RunTerminated, match="by another owner"):
        await site.result(run.result())

    assert refused
    assert [turn.append for turn in site.turns("run")] == ["x.1"]


async def test_who_waits_looks_after_a_second_and_then_once_a_minute(site: WorkersInMemory) -> None:
    await site.add(waits)
    run = await site.result(site.client.start(waits, id="run"))
    await site.pass_time(0)
    waiting = asyncio.ensure_future(run.result())
    began_ms, messages_s = site.server.clock.now_ms(), set[int]()

    def hops(door: str) -> int:
        if door == "client":
            messages_s.add((site.server.clock.now_ms() - began_ms) // 1000)
        return 1

    site.server.hops = hops
    await site.pass_time(_WAITS_S)
    site.server.hops = lambda door: 1

    assert not waiting.done()
    assert sorted(messages_s) == [1, *range(61, _WAITS_S, 60)]
    await site.result(run.signal("go", "on"))
    assert await site.result(waiting) == "on"
