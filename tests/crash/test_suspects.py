"""Whom deaths do not count against: runs that came in beside deadly code, whose workers died by chance, or left."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from dataclasses import replace
from datetime import timedelta
from typing import Literal

import pytest
from tests.crash.deadly import (
    deaths,
    die,
    dies_at_once,
    dies_before,
    dies_when_cancelled,
    dies_when_woken,
    drained,
    fresh,
    is_quarantined,
    kill_workers,
)
from tests.crash.workers_in_memory import WorkersInMemory, workers_in_memory
from tests.crash.workflows import LARGE

from relight import Retry, Run, WorkflowContext, step, workflow
from relight.actors import journal
from relight.actors.run import length
from relight.config.limits import LIMITS
from relight.subjects import records as r
from relight.testing import replay
from relight.testing.memory import MemoryDoor, Operation
from relight.testing.memory.exchange import Exchange

failed = asyncio.Event()
hung = asyncio.Event()


@pytest.fixture
async def site() -> AsyncGenerator[WorkersInMemory]:
    global failed, hung
    failed, hung = asyncio.Event(), asyncio.Event()
    async with workers_in_memory() as site:
        fresh(site)
        yield site


@workflow
async def waits(ctx: WorkflowContext) -> None:
    await ctx.suspend("go")


@workflow(name="waits")
async def waits_for_something_else(ctx: WorkflowContext) -> None:
    await ctx.suspend("other")


@workflow(name="waits")
async def dies_in_its_replay(ctx: WorkflowContext) -> None:
    die(ctx.run_id)


@step(retry=Retry(delay=36_000, delay_max=36_000))
async def fails() -> None:
    raise ConnectionError("later")


@step
async def works() -> None: ...


@workflow
async def tells_and_waits(ctx: WorkflowContext) -> None:
    ctx.set_details("x" * LARGE)
    await ctx.suspend("go")


@workflow(name="is_forked")
async def waits_with_a_step(ctx: WorkflowContext) -> None:
    failing = asyncio.ensure_future(fails())
    await ctx.sleep(5)
    await works()
    await ctx.suspend("go")
    await failing


@workflow(name="is_forked")
async def dies_with_a_step(ctx: WorkflowContext) -> None:
    failing = asyncio.ensure_future(fails())
    await ctx.sleep(5)
    await works()
    die(ctx.run_id)
    await failing


@step(retry=Retry(attempts=1), on_exhausted="park")
async def fails_and_hangs() -> None:
    if not failed.is_set():
        failed.set()
        raise ConnectionError("no")
    if not hung.is_set():
        hung.set()
        await asyncio.sleep(100_000)


@workflow
async def grows(ctx: WorkflowContext) -> None:
    done = asyncio.ensure_future(fails_and_hangs())
    await ctx.suspend("go")
    await ctx.suspend("more")
    await ctx.suspend("most")
    await done


@pytest.mark.parametrize("order", ["AB", "BA", "BAC", "BCDA", "ABCDEFGH"])
async def test_runs_that_are_woken_beside_deadly_code_are_not_quarantined(site: WorkersInMemory, order: str) -> None:
    worker = await site.add(waits, dies_when_woken)
    runs: list[Run[None]] = []
    for name in order:
        runs.append(await site.result(site.client.start(dies_when_woken if name == "A" else waits)))
        await site.until(lambda: bool(site.records(runs[-1].id, r.Suspended)))
    await site.pass_time(5)
    worker.kill()
    for run in runs:
        await site.result(run.resume("go"))

    assert await how_they_end(site, runs) == {order.index("A"): "quarantined"}


@pytest.mark.parametrize("order", ["AB", "BACD"])
async def test_nor_are_starts(site: WorkersInMemory, order: str) -> None:
    # Others store large values before their turn: whoever comes in next must not end the worker before that.
    runs = [await site.result(site.client.start(dies_at_once if name == "A" else tells_and_waits)) for name in order]

    assert await how_they_end(site, runs) == {order.index("A"): "quarantined"}
    assert all(site.records(run.id, r.Suspended) for run, name in zip(runs, order, strict=True) if name != "A")


async def how_they_end(site: WorkersInMemory, runs: list[Run[None]]) -> dict[int, str | None]:
    """Let three workers die; return which runs are parked by the fourth one, and why."""
    for _ in range(3):
        before = len(deaths)
        worker = await site.add(waits, tells_and_waits, dies_when_woken, dies_at_once)
        await site.until(lambda before=before: len(deaths) > before)  # type: ignore[misc]
        worker.kill()
    await site.add(waits, tells_and_waits, dies_when_woken, dies_at_once)
    await site.pass_time(60)
    assert len(deaths) == 3
    described = [await site.result(run.describe()) for run in runs]
    return {place: one.parked for place, one in enumerate(described) if one.parked}


async def waiting(site: WorkersInMemory) -> Run[None]:
    """Have a run wait that has heard note 1, and whose worker has left."""
    worker = await site.add(waits)
    run = await site.result(site.client.start(waits))
    await site.until(lambda: bool(site.records(run.id, r.Suspended)))
    await site.result(run.signal("note", "heard", id="1"))
    await site.pass_time(5)
    await drained(site, worker)
    return run


async def suspected(site: WorkersInMemory) -> Run[None]:
    """Have a worker die with a message in hand that leads to no record."""
    run = await waiting(site)
    worker = await site.add(waits)
    await site.result(run.signal("note", "heard", id="1"))
    await dies_before(site, worker, "ack")
    return run


async def test_workers_that_leave_in_order_are_not_counted(site: WorkersInMemory) -> None:
    run = await suspected(site)
    for _ in range(3):
        worker = await site.add(waits)
        await site.pass_time(60)
        await drained(site, worker)
        await site.result(run.signal("note", "heard", id="1"))
    await site.add(waits)
    await site.pass_time(60)

    assert site.records(run.id, r.Parked) == []


async def test_nor_against_a_stuck_run_which_mended_code_lets_go_on(site: WorkersInMemory) -> None:
    run = await waiting(site)
    await site.result(run.resume("go"))
    worker = await site.add(waits_for_something_else, code="other")
    await site.until(lambda: bool(site.records(run.id, r.Parked)))
    await dies_before(site, worker, "ack")
    for _ in range(5):
        worker = await site.add(waits_for_something_else, code="other")
        await site.pass_time(3700)
        await drained(site, worker)
    assert (await site.result(run.describe())).parked == "stuck"

    await site.add(waits)
    await site.pass_time(3 * 3600)
    await site.result(run.result())


async def test_nor_workers_that_blink_after_they_have_let_the_run_go(site: WorkersInMemory) -> None:
    run = await suspected(site)
    for _ in range(3):
        worker = await site.add(waits)
        await site.pass_time(30)
        await worker.host._wakes["default"].close()  # pyright: ignore[reportPrivateUsage]  # It lives, and takes no more.
        reachable, site.server.exchange = site.server.exchange, Exchange()
        await site.result(run.signal("note", "heard", id="1"))
        next_one = await site.add(waits)
        await site.pass_time(0.1)
        site.server.exchange = reachable
        await site.pass_time(30)
        await next_one.host._wakes["default"].close()  # pyright: ignore[reportPrivateUsage]

    assert site.records(run.id, r.Parked) == []


async def test_a_run_that_rests_after_a_claim_does_not_wait_for_an_owner_who_is_stopped(site: WorkersInMemory) -> None:
    run = await suspected(site)
    owner = await site.add(waits)
    await site.pass_time(60)
    assert site.turns(run.id)[-1].owner == owner.host.worker
    owner.door.stop()
    await site.add(waits)

    await site.result(run.resume("go"))
    await site.result(run.result())


@pytest.mark.parametrize("place", range(1, 14))
async def test_a_worker_that_leaves_while_a_run_comes_in_is_not_counted(site: WorkersInMemory, place: int) -> None:
    run = await waiting(site)
    worker = await site.add(waits)
    await site.result(run.resume("go"))
    await dies_before(site, worker, "publish")
    second = await site.add(waits)
    leaving: list[asyncio.Task[None]] = []
    operations = 0

    def leave(door: MemoryDoor, operation: Operation, now: Literal["before", "after"]) -> None:
        nonlocal operations
        operations += door is second.door
        if operations == place and not leaving:
            leaving.append(asyncio.ensure_future(drained(site, second)))

    site.server.on_operation = leave
    await site.until(lambda: bool(leaving) or site.server.clock.next_due_ms() is None)
    site.server.on_operation = None
    await asyncio.gather(*leaving)
    await site.add(waits)

    await site.result(run.result())
    assert max(one.deaths for one in site.records(run.id, r.Claimed) if isinstance(one, r.Claimed)) == 1


async def test_a_delayed_start_whose_workers_die_begins_in_time_and_not_before(site: WorkersInMemory) -> None:
    run = await site.result(site.client.start(waits, delay=timedelta(hours=5)))
    for _ in range(4):
        await dies_before(site, await site.add(waits), "schedule")
    await site.add(waits)
    await site.pass_time(4 * 3600)
    assert site.records(run.id, r.Parked, r.Suspended) == []

    await site.pass_time(2 * 3600)
    assert site.records(run.id, r.Suspended)


async def test_deaths_of_a_fork_are_counted_also_while_a_step_waits_for_its_next_attempt(site: WorkersInMemory) -> None:
    run = await site.result(site.client.start(waits_with_a_step))
    worker = await site.add(waits_with_a_step)
    await site.until(lambda: bool(site.records(run.id, r.Suspended)))
    await site.pass_time(5)
    worker.kill()
    fork = await site.result(run.fork(after="works#1"))

    await is_quarantined(site, fork, dies_with_a_step, deaths_more=3)


async def test_so_are_those_in_a_replay_that_only_a_lease_leads_to(site: WorkersInMemory) -> None:
    run = await waiting(site)
    worker = await site.add(waits)
    await site.result(run.signal("word", "heard"))
    await dies_before(site, worker, "ack")

    await is_quarantined(site, run, dies_in_its_replay, deaths_more=2)


async def test_the_cancel_that_ended_them_does_not_count_after_one_more_death_either(site: WorkersInMemory) -> None:
    run = await site.result(site.client.start(dies_when_cancelled))
    worker = await site.add(dies_when_cancelled)
    await site.until(lambda: bool(site.records(run.id, r.Suspended)))
    await site.pass_time(5)
    worker.kill()
    await site.result(run.cancel())
    await kill_workers(site, dies_when_cancelled, 3)
    parking = await site.add(dies_when_cancelled)

    def die_when_it_is_parked(door: MemoryDoor, operation: Operation, now: Literal["before", "after"]) -> None:
        if door is parking.door and now == "after" and site.records(run.id, r.Parked):
            door.kill()

    site.server.on_operation = die_when_it_is_parked
    await site.until(lambda: bool(site.records(run.id, r.Parked)))
    site.server.on_operation = None
    parking.kill()
    await is_quarantined(site, run, dies_when_cancelled, deaths_more=0)


@pytest.mark.parametrize("pages", [1, 250])
async def test_a_history_that_is_too_long_when_it_is_claimed_can_be_replayed_afterwards(
    site: WorkersInMemory, monkeypatch: pytest.MonkeyPatch, pages: int
) -> None:
    monkeypatch.setattr(journal, "_PAGE_TURNS", pages)
    run = await site.result(site.client.start(grows))
    worker = await site.add(grows)
    await site.until(lambda: bool(site.records(run.id, r.Parked)))
    await site.result(run.resume("go"))
    await site.pass_time(3)
    await site.result(run.retry())
    await site.until(hung.is_set)
    await site.pass_time(3)
    records = len(site.records(run.id))
    short = replace(LIMITS, history_records_max=records + 1, history_records_more=2)
    monkeypatch.setattr(length, "LIMITS", short)
    worker.kill()
    worker = await site.add(grows)
    await site.until(lambda: len(site.records(run.id, r.Parked)) == 2)
    await site.pass_time(0.1)
    monkeypatch.setattr(length, "LIMITS", replace(LIMITS, history_records_max=records + 100))

    await site.result(run.resume("more"))
    await site.pass_time(60)
    await site.result(run.retry())
    await site.pass_time(60)
    worker.kill()
    await site.add(grows)
    await site.result(run.resume("most"))
    await site.result(run.result())


@workflow(name="waits_twice")
async def waits_twice(ctx: WorkflowContext) -> None:
    await ctx.suspend("one")
    await ctx.suspend("two")


@workflow(name="waits_twice")
async def dies_in_its_first_page(ctx: WorkflowContext) -> None:
    die(ctx.run_id)


@pytest.mark.parametrize("is_ended", [False, True])
async def test_no_page_of_a_quarantined_run_is_replayed(
    site: WorkersInMemory, monkeypatch: pytest.MonkeyPatch, is_ended: bool
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

    await site.result(run.terminate() if is_ended else run.signal("word", "heard"))
    await site.until(lambda: bool(site.records(run.id, r.RunTerminated, r.SignalReceived)))
    await site.pass_time(5)
    assert len(deaths) == 4


@step
async def is_slow() -> None:
    await asyncio.sleep(100_000)


@workflow
async def begins_late(ctx: WorkflowContext) -> None:
    if len(deaths) < 2:
        die(ctx.run_id)
    await is_slow()


async def test_a_fork_does_not_inherit_deaths(site: WorkersInMemory) -> None:
    run = await site.result(site.client.start(begins_late))
    await kill_workers(site, begins_late, 2)
    worker = await site.add(begins_late)
    await site.until(lambda: bool(site.records(run.id, r.StepScheduled)))
    await site.pass_time(5)
    fork = await site.result(run.restart_from("is_slow#1"))
    for _ in range(2):
        worker.kill()
        worker = await site.add(begins_late)
        await site.pass_time(60)

    assert site.records(fork.id, r.Parked) == []


async def test_a_delayed_start_that_ends_its_workers_is_quarantined_when_it_begins_and_time_does_not_release_it(
    site: WorkersInMemory,
) -> None:
    run = await site.result(site.client.start(dies_at_once, delay=timedelta(hours=1)))
    worker = await site.add(dies_at_once)
    await site.pass_time(60)
    await drained(site, worker)

    await is_quarantined(site, run, dies_at_once, deaths_more=3)
    await site.result(run.signal("word", "heard"))
    await site.until(lambda: bool(site.records(run.id, r.SignalReceived)))
    await site.pass_time(60)
    assert len(deaths) == 3


async def test_what_only_claims_follow_can_be_replayed_by_mended_code(site: WorkersInMemory) -> None:
    run = await site.result(site.client.start(dies_at_once))
    await is_quarantined(site, run, dies_at_once, deaths_more=3)

    replay([one async for one in run.history()], workflows=[waits_instead])


@workflow(name="dies_at_once")
async def waits_instead(ctx: WorkflowContext) -> None:
    await ctx.suspend("go")


async def test_a_delayed_start_is_not_quarantined_before_its_time(site: WorkersInMemory) -> None:
    run = await site.result(site.client.start(waits, delay=timedelta(hours=5)))
    await dies_before(site, await site.add(waits), "schedule")
    for deaths_before in range(3):
        worker = await site.add(waits)

        def die_behind_its_claim(door: MemoryDoor, operation: Operation, now: Literal["before", "after"]) -> None:
            if door is worker.door and now == "after" and len(site.records(run.id, r.Claimed)) > deaths_before:  # noqa: B023
                door.kill()

        site.server.on_operation = die_behind_its_claim
        await site.until(lambda: len(site.records(run.id, r.Claimed)) > deaths_before)  # noqa: B023
        site.server.on_operation = None
        worker.kill()
    await site.add(waits)
    await site.pass_time(4 * 3600)
    assert site.records(run.id, r.Parked, r.Suspended) == []

    await site.pass_time(2 * 3600)
    assert site.records(run.id, r.Suspended)
