"""`ctx.signal` and `Child.signal`: sent at least once and counted once, whatever happens between the two runs."""

from __future__ import annotations

import pytest
from tests.crash.workers_in_memory import WorkersInMemory

from relight import RunFailed, WorkflowContext, workflow
from relight.config.limits import LIMITS
from relight.subjects import records as r
from relight.testing.memory import Faults, Operation
from relight.testing.memory.faults import Outcome


@workflow
async def listens(ctx: WorkflowContext) -> str:
    return await ctx.wait_for_signal("word", type=str)


@workflow
async def tells(ctx: WorkflowContext, to: str) -> str:
    await ctx.signal(to, "word", "hello")
    return "told"


@workflow
async def tells_its_child(ctx: WorkflowContext) -> str:
    child = await ctx.start(listens)
    await child.signal("word", "hello")
    return await child.result()


async def test_a_signal_that_ended_its_run_is_not_refused_when_it_is_sent_again(site: WorkersInMemory) -> None:
    unknown: list[Outcome] = ["written"]

    def once(operation: Operation) -> Outcome:
        return unknown.pop() if unknown and ".wake." in operation.subject and operation.by == "client" else "known"

    await site.add(listens, tells)
    listening = await site.result(site.client.start(listens, id="listens"))
    await site.until(lambda: bool(site.records("listens", r.SignalAwaited)))
    site.server.faults = Faults(outcome=once)

    telling = await site.result(site.client.start(tells, "listens"))

    assert await site.result(listening.result()) == "hello"
    assert await site.result(telling.result()) == "told"
    assert len(site.records(telling.id, r.StepAttemptFailed)) == 1


async def test_another_signal_to_a_run_that_has_ended_is_refused(site: WorkersInMemory) -> None:
    await site.add(listens, tells)
    listening = await site.result(site.client.start(listens, id="listens"))
    await site.result(listening.signal("word", "goodbye", id="mine"))
    assert await site.result(listening.result()) == "goodbye"
    telling = await site.result(site.client.start(tells, "listens"))

    with pytest.raises(RunFailed, match="has ended"):
        await site.result(telling.result())


@pytest.mark.parametrize("id", ["p" * 111, "p" * 112, "p" * LIMITS.id_characters_max, "soft\xadhyphen"])
async def test_whatever_a_runs_id_is_it_signals_its_child(site: WorkersInMemory, id: str) -> None:
    await site.add(listens, tells_its_child)

    run = await site.result(site.client.start(tells_its_child, id=id))

    assert await site.result(run.result()) == "hello"


async def test_a_signal_is_sent_until_it_is_durable(site: WorkersInMemory) -> None:
    await site.add(listens, tells_its_child)
    back_ms = site.server.clock.now_ms() + 600_000

    def away(operation: Operation) -> Outcome:
        is_away = site.server.clock.now_ms() < back_ms
        return "lost" if is_away and ".wake." in operation.subject and operation.by == "client" else "known"

    site.server.faults = Faults(outcome=away)
    run = await site.result(site.client.start(tells_its_child))

    assert await site.result(run.result()) == "hello"
    assert site.server.clock.now_ms() >= back_ms
