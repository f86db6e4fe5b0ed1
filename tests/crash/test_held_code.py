"""Code that is held until it begins, or goes on behind a copy: what comes, holds or ends the run meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from pathlib import Path

import pytest
from tests.crash.deadly import deaths, die, dies_before, dies_behind_a_turn, fresh, is_quarantined
from tests.crash.workers_in_memory import WorkersInMemory, workers_in_memory
from tests.crash.workflows import LARGE

from relight import RunCancelled, WorkflowContext, step, workflow
from relight.sdk._history import History, history_of
from relight.subjects import records as r
from relight.testing.golden import check_golden
from relight.testing.memory import door as memory_door


@pytest.fixture
async def site() -> AsyncGenerator[WorkersInMemory]:
    async with workers_in_memory() as site:
        fresh(site)
        yield site


@step
async def works() -> str:
    return "worked"


@workflow
async def waits(ctx: WorkflowContext) -> None:
    await ctx.suspend("go")


@workflow
async def only_works(ctx: WorkflowContext) -> str:
    return await works()


@workflow(name="works_and_waits")
async def works_and_waits(ctx: WorkflowContext) -> None:
    await works()
    await ctx.suspend("go")


@workflow(name="works_and_waits")
async def dies_first(ctx: WorkflowContext) -> None:
    die(ctx.run_id)


@workflow(name="is_delayed", timeout=600)
async def breaks(ctx: WorkflowContext) -> None:
    while True:
        await asyncio.sleep(0)


@workflow(name="is_delayed", timeout=600)
async def dies(ctx: WorkflowContext) -> None:
    die(ctx.run_id)


done: list[str] = []


@step
async def does(what: str) -> None:
    done.append(what)


@workflow(name="is_delayed")
async def does_and_cleans_up(ctx: WorkflowContext) -> None:
    try:
        await does("did")
        await ctx.suspend("go")
    finally:
        await does("cleaned")


@workflow
async def another(ctx: WorkflowContext) -> None: ...


@workflow
async def asks_for_much(ctx: WorkflowContext) -> None:
    await asyncio.gather(*(works() for _ in range(400)))


@workflow
async def hears_later(ctx: WorkflowContext, rounds: int) -> str:
    if rounds == 0:
        await ctx.suspend("first")
        large = await ctx.wait_for_signal("word", type=str)
        return large[:1] + await ctx.wait_for_signal("small", type=str)
    await ctx.suspend("again")
    ctx.continue_as_new(rounds - 1)


@workflow(timeout=100)
async def is_limited(ctx: WorkflowContext) -> None:
    await works()
    await ctx.suspend("go")


@workflow(timeout=100)
async def is_limited_anew(ctx: WorkflowContext, rounds: int) -> None:
    await ctx.suspend("again")
    ctx.continue_as_new(rounds - 1)


@workflow(name="is_deadly_and_limited", timeout=5_000)
async def is_deadly_and_limited(ctx: WorkflowContext) -> None:
    die(ctx.run_id)


@workflow(name="is_deadly_and_limited", timeout=5_000)
async def is_mended_and_limited(ctx: WorkflowContext) -> None:
    await works()
    await ctx.suspend("go")


async def test_nothing_is_recorded_in_a_new_history_before_its_values_are_there(site: WorkersInMemory) -> None:
    worker = await site.add(hears_later)
    run = await site.result(site.client.start(hears_later, 1))
    await site.until(lambda: bool(site.records(run.id, r.Suspended)))
    await site.result(run.signal("word", "a" * LARGE))
    await site.until(lambda: bool(site.records(run.id, r.SignalReceived)))
    await site.pass_time(60)
    worker.kill()
    await site.result(run.resume("again"))
    await site.result(run.signal("small", "b"))
    await dies_before(site, await site.add(hears_later), "publish")

    await site.add(hears_later)
    await site.pass_time(100)
    assert (await site.result(run.describe())).parked is None
    await site.result(run.resume("first"))
    assert await site.result(run.result()) == "ab"


async def test_a_fork_times_out_where_no_worker_has_its_code(site: WorkersInMemory) -> None:
    worker = await site.add(is_limited)
    run = await site.result(site.client.start(is_limited))
    await site.until(lambda: bool(site.records(run.id, r.Suspended)))
    worker.kill()
    fork = await site.result(run.fork(after="works#1"))

    await site.add(another)
    await site.pass_time(1000)
    assert (await site.result(fork.describe())).status == "timed_out"


async def test_so_does_a_run_that_has_continued_as_new(site: WorkersInMemory) -> None:
    worker = await site.add(is_limited_anew)
    run = await site.result(site.client.start(is_limited_anew, 1))
    await site.until(lambda: bool(site.records(run.id, r.Suspended)))
    await site.result(run.resume("again"))
    await dies_behind_a_turn(site, worker)

    await site.add(another)
    await site.pass_time(1000)
    assert (await site.result(run.describe())).status == "timed_out"


async def test_the_fork_of_a_quarantined_start_begins_anew(site: WorkersInMemory) -> None:
    run = await site.result(site.client.start(is_deadly_and_limited))
    await is_quarantined(site, run, is_deadly_and_limited, deaths_more=3)
    site.workers[-1].kill()
    await site.add(is_mended_and_limited, code="mended")
    await site.pass_time(3600)
    await site.result(run.retry())
    await site.until(lambda: bool(site.records(run.id, r.Suspended)))

    fork = await site.result(run.restart_from("works#1"))
    await site.pass_time(4_500)
    assert (await site.result(fork.describe())).status == "waiting"
    assert not site.records(fork.id, r.Claimed, r.Parked)


async def test_a_quarantined_start_times_out(site: WorkersInMemory) -> None:
    run = await site.result(site.client.start(is_deadly_and_limited))
    await is_quarantined(site, run, is_deadly_and_limited, deaths_more=3)

    await site.pass_time(5_000)
    assert (await site.result(run.describe())).status == "timed_out"


async def test_a_paused_start_that_is_due_waits_for_who_paused_it(site: WorkersInMemory) -> None:
    run = await site.result(site.client.start(waits, delay=10))
    await site.result(run.pause())
    await site.pass_time(60)
    await site.add(waits)
    await site.pass_time(60)

    (said,) = (await site.result(run.describe())).waits_for
    assert said.startswith("a person: paused")


async def test_a_start_that_was_parked_before_it_began_is_not_claimed_each_time_that_somebody_tries_it(
    site: WorkersInMemory, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = await site.result(site.client.start(asks_for_much))
    monkeypatch.setattr(memory_door, "_PAYLOAD_BYTES_MAX", 10_000)
    await site.add(asks_for_much)
    await site.pass_time(60)
    assert (await site.result(run.describe())).parked == "stuck"
    monkeypatch.undo()
    site.workers[0].kill()
    await site.result(run.signal("word", "x" * 50_000))

    monkeypatch.setattr(memory_door, "_PAYLOAD_BYTES_MAX", 10_000)
    await site.add(asks_for_much)
    await site.add(asks_for_much)
    await site.pass_time(1800)
    assert len(site.turns(run.id)) <= 4


async def test_that_its_start_was_claimed_makes_no_other_golden_history(site: WorkersInMemory, tmp_path: Path) -> None:
    file, histories = tmp_path / "works.jsonl", list[History]()
    for dies in (False, True):
        run = await site.result(site.client.start(only_works))
        if dies:
            await dies_before(site, await site.add(only_works), "publish")
        worker = await site.add(only_works)
        await site.result(run.result())
        worker.kill()
        assert bool(site.records(run.id, r.Claimed)) is dies
        histories.append(history_of([one async for one in run.history()]))

    check_golden(histories[0], file, workflows=[only_works], updates=True)
    check_golden(histories[1], file, workflows=[only_works], updates=False)


async def test_a_fork_of_a_claimed_start_is_quarantined_after_three_deaths(site: WorkersInMemory) -> None:
    run = await site.result(site.client.start(works_and_waits))
    await dies_before(site, await site.add(works_and_waits), "publish")
    worker = await site.add(works_and_waits)
    await site.until(lambda: bool(site.records(run.id, r.Suspended)))
    await site.pass_time(5)
    worker.kill()

    fork = await site.result(run.restart_from("works#1"))
    await is_quarantined(site, fork, dies_first, deaths_more=3)


async def test_the_time_of_a_delayed_start_that_breaks_counts_from_when_it_was_to_begin(site: WorkersInMemory) -> None:
    await site.add(breaks)
    run = await site.result(site.client.start(breaks, delay=3600))
    await site.pass_time(3660)
    assert (await site.result(run.describe())).parked == "stuck"
    await site.pass_time(600)
    assert (await site.result(run.describe())).status == "timed_out"


async def test_so_does_that_of_one_that_is_quarantined(site: WorkersInMemory) -> None:
    run = await site.result(site.client.start(dies, delay=3600))
    worker = await site.add(dies)
    await site.until(lambda: len(deaths) == 1)
    worker.kill()
    await is_quarantined(site, run, dies, deaths_more=2)


async def test_a_claimed_start_that_breaks_and_is_cancelled_undoes_what_was_done(site: WorkersInMemory) -> None:
    done.clear()
    run = await site.result(site.client.start(does_and_cleans_up))
    await dies_before(site, await site.add(does_and_cleans_up), "publish")
    assert done == ["did"]
    worker = await site.add(breaks, code="broken")
    await site.until(lambda: bool(site.records(run.id, r.Parked)))
    await site.pass_time(600)
    await site.result(run.cancel())
    await site.pass_time(60)
    assert (await site.result(run.describe())).parked == "stuck"
    worker.kill()

    await site.add(does_and_cleans_up, code="mended")
    await site.result(run.retry())
    with pytest.raises(RunCancelled):
        await site.result(run.result())
    assert done[-1] == "cleaned"
