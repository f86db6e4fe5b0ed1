"""A history that grows and grows: first a warning, then the run is parked, and nothing of it is lost."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace

import pytest
from structlog.testing import capture_logs
from tests.crash.workers_in_memory import WorkersInMemory, workers_in_memory

from relight import WorkflowContext, step, workflow
from relight.actors import run_actor
from relight.actors.run import length
from relight.config.limits import LIMITS
from relight.subjects import records as r
from relight.subjects.codec import encode

SHORT = replace(LIMITS, history_records_warn=20, history_records_max=40, history_records_more=10)


@workflow(name="counts")
async def counts(ctx: WorkflowContext) -> int:
    count = 0
    while await ctx.wait_for_signal("one", type=bool):
        count += 1
    return count


@workflow(name="counts")
async def mended(ctx: WorkflowContext, count: int = 0) -> int:
    while await ctx.wait_for_signal("one", type=bool):
        count += 1
        if ctx.patched(f"cut-{count}"):
            ctx.continue_as_new(count)
    return count


@step
async def reply(conversation: list[str]) -> str:
    return f"{len(conversation)} ".ljust(4_096, "x")


@workflow
async def converses(ctx: WorkflowContext, turns: int) -> int:
    conversation: list[str] = []
    for _ in range(turns):
        conversation.append(await reply(conversation))
    return len(conversation)


@pytest.fixture
async def site(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[WorkersInMemory]:
    monkeypatch.setattr(length, "LIMITS", SHORT)
    monkeypatch.setattr(run_actor, "LIMITS", SHORT)
    async with workers_in_memory() as site:
        yield site


async def test_a_long_history_is_warned_of_once(site: WorkersInMemory) -> None:
    await site.add(counts)
    with capture_logs() as lines:
        run = await site.result(site.client.start(counts, id="run"))
        for number in range(12):
            await run.signal("one", True)
            await site.until(lambda: len(site.records("run", r.SignalAwaited)) == number + 2)  # noqa: B023

    assert [one["run"] for one in lines if one["event"] == "history_long"] == ["run"]
    assert "continue_as_new" in (await run.describe()).warnings[0]


async def test_one_that_is_too_long_parks_its_run_which_goes_on_when_it_is_mended(site: WorkersInMemory) -> None:
    worker = await site.add(counts)
    run = await site.result(site.client.start(counts, id="run"))
    for number in range(30):
        await run.signal("one", True, id=str(number))
    await site.until(lambda: bool(site.records("run", r.Parked)))
    described = await run.describe()
    assert described.parked == "stuck"
    assert "continue_as_new" in str(described.last_error)

    await run.retry()
    await site.until(lambda: len(site.records("run", r.Parked)) == 2)
    worker.kill()
    await site.add(mended, code="mended")
    await run.signal("one", False)

    assert await site.result(run.result()) == 30


async def test_what_a_turn_stores_does_not_grow_with_what_its_steps_are_passed() -> None:
    async with workers_in_memory() as site:
        await site.add(converses)
        run = await site.result(site.client.start(converses, 100))
        await site.result(run.result())

        sizes = [len(encode(turn)) for turn in site.turns(run.id)][1:-1]

    assert sum(sizes[-10:]) < 1.01 * sum(sizes[:10])
