"""Where a history does not say what its code does next, the code sees the time at which it does it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from typing import Literal

import pytest
from tests.crash.deadly import deaths, dies_at_once, dies_before, dies_behind_a_turn, fresh, is_quarantined
from tests.crash.workers_in_memory import WorkersInMemory, workers_in_memory

from relight import Retry, Run, Workflow, WorkflowContext, step, workflow
from relight.subjects import records as r
from relight.testing.memory import Faults, Operation
from relight.testing.replaying import replay_history

HOUR_S = 3600

released = asyncio.Event()


@pytest.fixture
async def site() -> AsyncGenerator[WorkersInMemory]:
    async with workers_in_memory() as site:
        fresh(site)
        yield site


@step
async def works() -> str:
    return "worked"


async def waits_ten_seconds(ctx: WorkflowContext) -> str:
    try:
        return await ctx.suspend("go", type=str, timeout=10)
    except TimeoutError:
        return "too late"


@workflow(name="dies_at_once")
async def mended(ctx: WorkflowContext) -> str:
    return await waits_ten_seconds(ctx)


@workflow
async def waits_first(ctx: WorkflowContext) -> str:
    return await waits_ten_seconds(ctx)


@workflow
async def waits_anew(ctx: WorkflowContext, rounds: int) -> str:
    if rounds == 0:
        return await waits_ten_seconds(ctx)
    await ctx.suspend("again")
    ctx.continue_as_new(rounds - 1)


@workflow
async def waits_behind_a_step(ctx: WorkflowContext) -> str:
    await works()
    return await waits_ten_seconds(ctx)


@step(on_exhausted="park", retry=Retry(attempts=1))
async def fails() -> str:
    raise ValueError("no")


@workflow
async def waits_behind_a_step_of_a_person(ctx: WorkflowContext) -> str:
    await fails()
    return await waits_ten_seconds(ctx)


@step
async def works_late() -> None:
    await released.wait()


@workflow
async def waits_behind_a_step_beside_one_that_fails(ctx: WorkflowContext) -> str:
    failing = asyncio.ensure_future(fails())
    await works_late()
    answer = await waits_ten_seconds(ctx)
    return answer + await failing


@workflow(name="waits_first")
async def breaks_first(ctx: WorkflowContext) -> None:
    while True:
        await asyncio.sleep(0)


@workflow(name="waits_behind_a_step")
async def breaks_behind_a_step(ctx: WorkflowContext) -> None:
    await works()
    while True:
        await asyncio.sleep(0)


@workflow(name="waits_behind_a_step")
async def works_behind_a_step(ctx: WorkflowContext) -> str:
    return await works() + await works()


@workflow(name="waits_behind_an_answer")
async def breaks_behind_an_answer(ctx: WorkflowContext) -> None:
    await ctx.suspend("first")
    while True:
        await asyncio.sleep(0)


@workflow(name="waits_behind_an_answer")
async def waits_behind_an_answer(ctx: WorkflowContext) -> str:
    await ctx.suspend("first")
    await ctx.wait_for_signal("word", type=str)
    return await waits_ten_seconds(ctx)


@workflow
async def waits_beside_a_step(ctx: WorkflowContext) -> str:
    beside = asyncio.ensure_future(works())
    other = asyncio.ensure_future(works())
    answer = await waits_ten_seconds(ctx)
    await asyncio.gather(beside, other)
    return answer


@workflow(timeout=100)
async def is_limited(ctx: WorkflowContext) -> str:
    await works()
    return await ctx.suspend("go", type=str)


async def is_waiting(site: WorkersInMemory, run: Run[str]) -> None:
    """See that it waits for an answer, and takes it."""
    await site.pass_time(6)
    assert (await site.result(run.describe())).status == "waiting"
    await site.result(run.resume("go", "in time"))
    assert (await site.result(run.result())).startswith("in time")


async def test_a_start_whose_code_nobody_lived_to_execute_begins_when_somebody_does(site: WorkersInMemory) -> None:
    run = await site.result(site.client.start(waits_first))
    await dies_before(site, await site.add(waits_first), "publish")
    await dies_behind_a_turn(site, await site.add(waits_first))
    await site.pass_time(HOUR_S)

    await site.add(waits_first)
    await is_waiting(site, run)


async def test_a_start_whose_claim_took_long_to_be_stored_begins_then(site: WorkersInMemory) -> None:
    run = await site.result(site.client.start(waits_first))
    await dies_before(site, await site.add(waits_first), "publish")
    over_ms = site.server.clock.now_ms() + 100_000

    def lost_for_long(operation: Operation) -> Literal["lost", "known"]:
        return "lost" if ".log." in operation.subject and site.server.clock.now_ms() < over_ms else "known"

    site.server.faults = Faults(outcome=lost_for_long)
    await site.add(waits_first)
    await site.until(lambda: bool(site.records(run.id, r.Suspended)))
    await is_waiting(site, run)


async def test_so_does_one_that_was_quarantined_when_it_is_let_go_on(site: WorkersInMemory) -> None:
    run = await site.result(site.client.start(dies_at_once))
    await is_quarantined(site, run, dies_at_once, deaths_more=3)
    site.workers[-1].kill()
    await site.add(mended, code="mended")
    await site.pass_time(HOUR_S)

    await site.result(run.retry())
    await is_waiting(site, site.client.get_run(run.id, type=str))
    assert len(deaths) == 3


async def test_so_does_a_run_that_continued_as_new_when_its_worker_died(site: WorkersInMemory) -> None:
    worker = await site.add(waits_anew)
    run = await site.result(site.client.start(waits_anew, 1))
    await site.until(lambda: bool(site.records(run.id, r.Suspended)))
    await site.result(run.resume("again"))
    await dies_behind_a_turn(site, worker)
    assert isinstance(site.records(run.id)[-1], r.RunStarted)
    await site.pass_time(HOUR_S)

    await site.add(waits_anew)
    await is_waiting(site, run)


async def test_a_fork_goes_on_at_its_own_time_behind_a_step(site: WorkersInMemory) -> None:
    await site.add(waits_behind_a_step)
    run = await site.result(site.client.start(waits_behind_a_step))
    assert await site.result(run.result()) == "too late"
    await site.pass_time(HOUR_S)

    await is_waiting(site, await site.result(run.fork(after="works#1")))


@pytest.mark.parametrize("step", ["works#1", "works#2"])
async def test_and_before_one_that_was_asked_for_beside_others(site: WorkersInMemory, step: str) -> None:
    await site.add(waits_beside_a_step)
    run = await site.result(site.client.start(waits_beside_a_step))
    assert await site.result(run.result()) == "too late"
    await site.pass_time(HOUR_S)

    await is_waiting(site, await site.result(run.restart_from(step)))


async def test_and_where_its_origin_was_paused(site: WorkersInMemory) -> None:
    await site.add(waits_behind_a_step_of_a_person)
    run = await site.result(site.client.start(waits_behind_a_step_of_a_person))
    await site.until(lambda: bool(site.records(run.id, r.Parked)))
    await site.result(run.pause())
    await site.result(run.resolve("fails#1", result="by hand"))
    await site.until(lambda: bool(site.records(run.id, r.StepCompleted)))
    await site.pass_time(HOUR_S)

    await is_waiting(site, await site.result(run.fork(after="fails#1")))


async def test_and_where_its_origin_was_parked(site: WorkersInMemory) -> None:
    released.clear()
    await site.add(waits_behind_a_step_beside_one_that_fails)
    run = await site.result(site.client.start(waits_behind_a_step_beside_one_that_fails))
    await site.until(lambda: bool(site.records(run.id, r.Parked)))
    released.set()
    await site.until(lambda: bool(site.records(run.id, r.StepCompleted)))
    await site.pass_time(HOUR_S)

    fork = await site.result(run.fork(after="works_late#1"))
    await site.until(lambda: bool(site.records(fork.id, r.Suspended)))
    assert (await site.result(fork.describe())).parked == "retries_exhausted"
    await site.result(fork.resolve("fails#1", result="by hand"))
    await is_waiting(site, fork)


@pytest.mark.parametrize("again", [False, True])
@pytest.mark.parametrize("cut", ["before", "after"])
async def test_the_time_of_a_fork_is_that_of_a_run_wherever_it_is_cut(
    site: WorkersInMemory, cut: str, *, again: bool
) -> None:
    await site.add(is_limited)
    run = await site.result(site.client.start(is_limited))
    await site.pass_time(50)
    if again:
        run = await site.result(run.fork(after="works#1"))
        await site.pass_time(50)
    fork = await site.result(run.fork(after="works#1") if cut == "after" else run.restart_from("works#1"))
    await site.pass_time(95)
    assert (await site.result(fork.describe())).status == "waiting"
    await site.pass_time(10)
    assert (await site.result(fork.describe())).status == "timed_out"


@pytest.mark.parametrize("tries", [1, 2])
@pytest.mark.parametrize(
    ("breaks", "mends"), [(breaks_first, waits_first), (breaks_behind_a_step, waits_behind_a_step)]
)
async def test_what_broken_code_could_not_take_mended_code_sees_when_it_goes_on(
    site: WorkersInMemory, breaks: Workflow[..., None], mends: Workflow[..., str], tries: int
) -> None:
    worker = await site.add(breaks)
    run = await site.result(site.client.start(breaks))
    await site.until(lambda: len(site.records(run.id, r.Parked)) == 1)
    for _ in range(tries - 1):
        await site.pass_time(HOUR_S / 2)
        await site.result(run.retry())
        await site.pass_time(60)
        assert (await site.result(run.describe())).parked == "stuck"
    await site.pass_time(HOUR_S)
    worker.kill()

    await site.add(mends, code="mended")
    await site.result(run.retry())
    await is_waiting(site, site.client.get_run(run.id, type=str))
    replay_history([mends], run.id, site.turns(run.id))


async def test_also_in_a_fork_of_what_it_did_then(site: WorkersInMemory) -> None:
    worker = await site.add(breaks_behind_a_step)
    run = await site.result(site.client.start(breaks_behind_a_step))
    await site.until(lambda: bool(site.records(run.id, r.Parked)))
    worker.kill()
    await site.pass_time(HOUR_S)
    await site.add(works_behind_a_step, code="mended")
    await site.result(run.retry())
    await site.until(lambda: isinstance(site.records(run.id)[-1], r.RunCompleted))
    site.workers[-1].kill()
    await site.pass_time(HOUR_S)

    fork = await site.result(run.restart_from("works#2"))
    await site.add(waits_behind_a_step, code="other")
    await is_waiting(site, site.client.get_run(fork.id, type=str))


async def test_a_paused_run_that_breaks_when_it_goes_on_sees_it_all_when_it_is_mended(site: WorkersInMemory) -> None:
    worker = await site.add(breaks_behind_an_answer)
    run = await site.result(site.client.start(breaks_behind_an_answer))
    await site.until(lambda: bool(site.records(run.id, r.Suspended)))
    await site.result(run.pause())
    await site.result(run.resume("first"))
    await site.result(run.signal("word", "heard"))
    await site.pass_time(60)
    await site.result(run.unpause())
    await site.until(lambda: bool(site.records(run.id, r.Parked)))
    await site.pass_time(HOUR_S)
    worker.kill()

    await site.add(waits_behind_an_answer, code="mended")
    await site.result(run.retry())
    await is_waiting(site, site.client.get_run(run.id, type=str))
    assert not (await site.result(run.describe())).waits_for
    replay_history([waits_behind_an_answer], run.id, site.turns(run.id))
