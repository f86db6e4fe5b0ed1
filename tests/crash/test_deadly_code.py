"""A run whose code ends its worker before anything is recorded: it is quarantined, and a person can end it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from typing import Literal

import pytest
from structlog.testing import capture_logs
from tests.crash.deadly import (
    deaths,
    die,
    dies_at_once,
    dies_when_cancelled,
    dies_when_woken,
    fresh,
    is_quarantined,
    kill_workers,
)
from tests.crash.workers_in_memory import WorkersInMemory, workers_in_memory

from relight import (
    Retry,
    Run,
    RunCancelled,
    RunTerminated,
    Workflow,
    WorkflowContext,
    step,
    workflow,
)
from relight.actors import journal
from relight.subjects import records as r
from relight.testing.memory import MemoryDoor, Operation


@pytest.fixture
async def site() -> AsyncGenerator[WorkersInMemory]:
    async with workers_in_memory() as site:
        fresh(site)
        yield site


@workflow
async def dies_in_time(ctx: WorkflowContext) -> None:
    await ctx.sleep(60)
    die(ctx.run_id)


@workflow
async def dies_anew(ctx: WorkflowContext, generation: int) -> None:
    if generation:
        die(ctx.run_id)
    await ctx.suspend("go")
    ctx.continue_as_new(generation + 1)


undone: list[str] = []


@step
async def undo(what: str) -> None:
    undone.append(what)


@workflow(name="dies_at_once")
async def undoes(ctx: WorkflowContext) -> None:
    ctx.compensate(undo, "what it may have done")
    await ctx.suspend("go")


@step
async def works() -> None: ...


@workflow
async def dies_after_a_step(ctx: WorkflowContext) -> None:
    asking = asyncio.ensure_future(ctx.suspend("go"))
    await works()
    die(ctx.run_id)
    await asking


@workflow(name="dies_after_a_step")
async def waits_after_a_step(ctx: WorkflowContext) -> None:
    asking = asyncio.ensure_future(ctx.suspend("go"))
    await works()
    await asking


@workflow
async def dies_while_it_retries(ctx: WorkflowContext) -> None:
    retried = asyncio.ensure_future(fails())
    await ctx.suspend("go")
    die(ctx.run_id)
    await retried


@step(retry=Retry(delay=3600))
async def fails() -> None:
    raise ConnectionError("later")


@workflow
async def begins_late(ctx: WorkflowContext) -> None:
    if len(deaths) < 2:
        die(ctx.run_id)
    await ctx.suspend("go")
    if len(deaths) < 4:
        die(ctx.run_id)


@workflow
async def continues_at_once(ctx: WorkflowContext, generation: int) -> None:
    if not deaths:
        die(ctx.run_id)
    if generation == 0:
        ctx.continue_as_new(1)
    await ctx.suspend("go")


@workflow
async def logs(ctx: WorkflowContext) -> None:
    ctx.log.info("it begins")
    if len(deaths) < 2:
        die(ctx.run_id)
    await ctx.suspend("go")


@workflow(name="dies_at_once")
async def begins(ctx: WorkflowContext) -> None:
    """Mended."""


@workflow(name="dies_when_woken")
async def dies_in_its_replay(ctx: WorkflowContext) -> None:
    die(ctx.run_id)
    await ctx.suspend("go")


@workflow
async def waits_twice(ctx: WorkflowContext) -> None:
    await ctx.suspend("one")
    await ctx.suspend("two")


@workflow(name="waits_twice")
async def dies_in_its_first_page(ctx: WorkflowContext) -> None:
    die(ctx.run_id)


@workflow(name="dies_when_cancelled")
async def is_cancelled(ctx: WorkflowContext) -> None:
    await ctx.suspend("go")


@workflow
async def hears(ctx: WorkflowContext, count: int) -> None:
    for number in range(count):
        await ctx.suspend(f"go {number}")
        if len(deaths) <= 2 * number + 1:
            die(ctx.run_id)


async def begun(site: WorkersInMemory, run: Run[None], code: Workflow[..., None]) -> None:
    """Have the run wait in nobody's hands."""
    worker = await site.add(code)
    await site.until(lambda: bool(site.records(run.id, r.Suspended, r.TimerArmed)))
    await site.pass_time(5)
    worker.kill()


async def is_ended_by(site: WorkersInMemory, run: Run[None], code: Workflow[..., None]) -> None:
    before = len(deaths)
    await site.result(run.terminate(reason="deadly"))
    await site.add(code)

    with pytest.raises(RunTerminated, match="deadly"):
        await site.result(run.result())
    assert len(deaths) == before


@pytest.mark.parametrize("count", [1, 2])
async def test_a_start_that_has_ended_its_workers_can_be_terminated(site: WorkersInMemory, count: int) -> None:
    run = await site.result(site.client.start(dies_at_once))
    await kill_workers(site, dies_at_once, count)

    await is_ended_by(site, run, dies_at_once)


@pytest.mark.parametrize("count", [1, 2])
async def test_so_can_a_run_whose_code_ends_its_worker_when_it_is_woken(site: WorkersInMemory, count: int) -> None:
    run = await site.result(site.client.start(dies_when_woken))
    await begun(site, run, dies_when_woken)
    await site.result(run.resume("go"))
    await kill_workers(site, dies_when_woken, count)
    await site.pass_time(60)  # So that what woke it comes before the word that ends it.

    await is_ended_by(site, run, dies_when_woken)


async def test_a_start_that_ends_three_workers_is_quarantined(site: WorkersInMemory) -> None:
    run = await site.result(site.client.start(dies_at_once))

    await is_quarantined(site, run, dies_at_once, deaths_more=3)


async def test_so_is_a_run_whose_code_ends_three_that_wake_it(site: WorkersInMemory) -> None:
    run = await site.result(site.client.start(dies_when_woken))
    await begun(site, run, dies_when_woken)
    await site.result(run.resume("go"))

    await is_quarantined(site, run, dies_when_woken, deaths_more=3)


async def test_so_is_one_that_ends_them_when_time_wakes_it(site: WorkersInMemory) -> None:
    run = await site.result(site.client.start(dies_in_time))
    await begun(site, run, dies_in_time)

    await is_quarantined(site, run, dies_in_time, deaths_more=3)


async def test_so_is_one_that_ends_them_while_a_step_waits_for_its_next_attempt(site: WorkersInMemory) -> None:
    run = await site.result(site.client.start(dies_while_it_retries))
    await begun(site, run, dies_while_it_retries)
    await site.result(run.resume("go"))

    await is_quarantined(site, run, dies_while_it_retries, deaths_more=3)


async def test_so_is_one_that_ends_them_after_it_has_continued_as_new(site: WorkersInMemory) -> None:
    run = await site.result(site.client.start(dies_anew, 0))
    await begun(site, run, dies_anew)
    await site.result(run.resume("go"))

    await is_quarantined(site, run, dies_anew, deaths_more=3)


async def test_so_is_a_fork_whose_code_ends_them(site: WorkersInMemory) -> None:
    run = await site.result(site.client.start(waits_after_a_step))
    await begun(site, run, waits_after_a_step)
    fork = await site.result(run.fork(after="works#1"))

    await is_quarantined(site, fork, dies_after_a_step, deaths_more=3)


async def test_so_is_one_that_other_code_ends_while_it_replays_and_a_message_brings_no_replay_then(
    site: WorkersInMemory,
) -> None:
    run = await site.result(site.client.start(dies_when_woken))
    await begun(site, run, dies_when_woken)
    await site.result(run.resume("go"))

    await is_quarantined(site, run, dies_in_its_replay, deaths_more=3)
    await site.result(run.signal("word", "heard"))
    await site.until(lambda: bool(site.records(run.id, r.SignalReceived)))
    assert len(deaths) == 3


async def test_so_is_one_that_is_taken_up_for_another_message_each_time(site: WorkersInMemory) -> None:
    run = await site.result(site.client.start(dies_when_woken))
    await begun(site, run, dies_when_woken)
    await site.result(run.resume("go"))
    await kill_workers(site, dies_when_woken, 2)

    await site.pass_time(2)
    await site.result(run.signal("note", "heard"))
    await kill_workers(site, dies_when_woken, 1)
    await site.pass_time(2)
    await site.result(run.signal("note", "heard"))
    await is_quarantined(site, run, dies_when_woken, deaths_more=0)


async def test_so_is_one_of_several_pages_that_other_code_ends_in_the_first_of_them(
    site: WorkersInMemory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal, "_PAGE_TURNS", 1)
    run = await site.result(site.client.start(waits_twice))
    worker = await site.add(waits_twice)
    await site.until(lambda: bool(site.records(run.id, r.Suspended)))
    await site.result(run.resume("one"))
    await site.until(lambda: len(site.turns(run.id)) == 2)
    await site.pass_time(5)
    worker.kill()
    await site.result(run.resume("two"))

    await is_quarantined(site, run, dies_in_its_first_page, deaths_more=4)


async def test_a_retry_lets_it_go_on_until_three_more_have_died(site: WorkersInMemory) -> None:
    run = await site.result(site.client.start(dies_at_once))
    await is_quarantined(site, run, dies_at_once, deaths_more=3)
    site.workers[-1].kill()

    await site.result(run.retry())
    await is_quarantined(site, run, dies_at_once, deaths_more=3)


async def a_retry_helps(site: WorkersInMemory, run: Run[None], mended: Workflow[..., None]) -> None:
    site.workers[-1].kill()
    await site.add(mended, code="mended")

    await site.result(run.retry())
    await site.result(run.result())
    assert len(deaths) == 3


async def test_with_other_code_a_retry_helps(site: WorkersInMemory) -> None:
    run = await site.result(site.client.start(dies_at_once))
    await is_quarantined(site, run, dies_at_once, deaths_more=3)
    await a_retry_helps(site, run, begins)


async def test_a_start_that_is_cancelled_after_that_undoes_what_it_may_have_done(site: WorkersInMemory) -> None:
    undone.clear()
    run = await site.result(site.client.start(dies_at_once))
    await is_quarantined(site, run, dies_at_once, deaths_more=3)
    site.workers[-1].kill()
    await site.add(undoes, code="mended")

    await site.result(run.cancel())
    with pytest.raises(RunCancelled):
        await site.result(run.result())
    assert undone == ["what it may have done"]


async def test_the_cancel_that_ended_them_does_not_let_it_go_on(site: WorkersInMemory) -> None:
    run = await site.result(site.client.start(dies_when_cancelled))
    await begun(site, run, dies_when_cancelled)
    await site.result(run.cancel())
    await is_quarantined(site, run, dies_when_cancelled, deaths_more=3)
    assert site.records(run.id, r.CancelRequested)
    site.workers[-1].kill()
    await site.add(is_cancelled, code="mended")

    await site.result(run.retry())
    with pytest.raises(RunCancelled):
        await site.result(run.result())
    assert len(deaths) == 3


@step(retry=Retry(attempts=1), on_exhausted="park")
async def fails_for_good() -> None:
    raise OSError("for good")


@workflow
async def dies_when_let_go_on(ctx: WorkflowContext) -> None:
    failing = asyncio.ensure_future(fails_for_good())
    await ctx.suspend("go")
    die(ctx.run_id)
    await failing


@workflow(name="dies_when_let_go_on")
async def does_without(ctx: WorkflowContext) -> None:
    failing = asyncio.ensure_future(fails_for_good())
    await ctx.suspend("go")
    failing.cancel()


async def test_a_retry_that_ended_them_is_not_taken_for_one_that_is_still_to_come(site: WorkersInMemory) -> None:
    worker = await site.add(dies_when_let_go_on)
    run = await site.result(site.client.start(dies_when_let_go_on))
    await site.until(lambda: bool(site.records(run.id, r.Parked)))
    await site.result(run.resume("go"))
    await site.until(lambda: bool(site.records(run.id, r.AnswerReceived)))
    await site.pass_time(60)
    worker.kill()
    await site.result(run.retry())
    await is_quarantined(site, run, dies_when_let_go_on, deaths_more=3)
    await a_retry_helps(site, run, does_without)


async def test_a_quarantined_run_is_ended_without_its_code(site: WorkersInMemory) -> None:
    run = await site.result(site.client.start(dies_at_once))
    await is_quarantined(site, run, dies_at_once, deaths_more=3)

    await is_ended_by(site, run, dies_at_once)


async def test_workers_that_die_while_it_rests_are_not_counted(site: WorkersInMemory) -> None:
    run = await site.result(site.client.start(dies_when_woken))
    await begun(site, run, dies_when_woken)
    await site.result(run.signal("note", "heard"))
    dead: list[MemoryDoor] = []

    def die_before_the_lease_goes(door: MemoryDoor, operation: Operation, now: Literal["before", "after"]) -> None:
        last = site.turns(run.id)[-1].records[-1]
        rests = not isinstance(last, r.Claimed) or last.cause == r.RESUMED
        if operation.name == "ack" and now == "before" and rests:
            door.kill()
            dead.append(door)

    site.server.on_operation = die_before_the_lease_goes
    for _ in range(5):
        worker = await site.add(dies_when_woken)
        await site.until(lambda worker=worker: worker.door in dead)  # type: ignore[misc]
        worker.kill()
    site.server.on_operation = None
    await site.add(dies_when_woken)
    await site.pass_time(60)

    assert len(site.records(run.id, r.SignalReceived)) == 1
    assert site.records(run.id, r.Parked) == []


async def test_deaths_before_what_was_recorded_since_are_not_counted(site: WorkersInMemory) -> None:
    run = await site.result(site.client.start(hears, 3))
    await begun(site, run, hears)
    for number in range(3):
        await site.result(run.resume(f"go {number}"))
        await kill_workers(site, hears, 2)
        worker = await site.add(hears)
        await site.until(lambda: len(site.records(run.id, r.AnswerReceived)) > number)  # noqa: B023
        await site.pass_time(5)
        worker.kill()

    await site.result(run.result())
    assert site.records(run.id, r.Parked) == []


async def test_deaths_before_the_code_went_on_are_not_counted(site: WorkersInMemory) -> None:
    run = await site.result(site.client.start(begins_late))
    await kill_workers(site, begins_late, 2)
    await begun(site, run, begins_late)
    await site.result(run.resume("go"))
    await kill_workers(site, begins_late, 2)
    await site.add(begins_late)

    await site.result(run.result())
    assert site.records(run.id, r.Parked) == []


async def test_what_opens_a_history_is_a_turn_of_its_own_in_a_start_that_comes_again(
    site: WorkersInMemory,
) -> None:
    run = await site.result(site.client.start(continues_at_once, 0))
    await kill_workers(site, continues_at_once, 1)
    await site.add(continues_at_once)
    await site.until(lambda: bool(site.records(run.id, r.Suspended)))

    assert [type(one) for one in site.turns(run.id)[0].records] == [r.Continued, r.RunStarted]


async def test_what_the_code_logs_after_its_claim_is_told(site: WorkersInMemory) -> None:
    with capture_logs() as lines:
        run = await site.result(site.client.start(logs))
        await kill_workers(site, logs, 2)
        await site.add(logs)
        await site.until(lambda: bool(site.records(run.id, r.Suspended)))
        await site.pass_time(5)

    assert [one["event"] for one in lines if one["event"] == "it begins"] == ["it begins"]
