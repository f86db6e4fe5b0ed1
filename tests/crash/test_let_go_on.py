"""A stuck run is let go on while attempts of its steps are under way: they get to their end, and run once."""

from __future__ import annotations

import asyncio

import pytest
from tests.crash.workers_in_memory import WorkersInMemory

from relight import Run, RunCancelled, RunTerminated, Step, Workflow, WorkflowContext, step, workflow
from relight.subjects import records as r
from relight.testing import replay
from relight.testing.memory import Faults

executed: list[str] = []
is_broken: list[bool] = []
gate = asyncio.Event()


@pytest.fixture(autouse=True)
def fresh() -> None:
    global gate
    executed.clear()
    is_broken[:] = [True]
    gate = asyncio.Event()


async def work() -> str:
    executed.append("begun")
    try:
        await gate.wait()
    except asyncio.CancelledError:
        executed.append("stopped")
        raise
    executed.append("finished")
    return "worked"


works = step(name="works")(work)
works_unsafely = step(name="works", effect="unsafe")(work)


@step
async def is_quick() -> str:
    return "quick"


@step
async def goes_on(word: str) -> str:
    executed.append(f"went on with {word}")
    return word


def working(step_that_takes_time: Step[[], str]) -> Workflow[[], list[str]]:
    async def goes_wrong() -> str:
        word = await is_quick()
        while is_broken:  # For a value that is missing for a while.
            await asyncio.sleep(0)
        return await goes_on(word)

    @workflow
    async def works_beside(ctx: WorkflowContext) -> list[str]:
        async def heard() -> str:
            return await ctx.wait_for_signal("word", type=str)

        return list(await asyncio.gather(step_that_takes_time(), goes_wrong(), heard()))

    return works_beside


works_beside = working(works)


async def stuck(site: WorkersInMemory, flow: Workflow[[], list[str]] = works_beside) -> Run[list[str]]:
    """Return a run that is stuck at its worker, which could go on by now, while a step of it is under way."""
    await site.add(flow)
    run = await site.result(site.client.start(flow))
    await site.pass_time(3)
    assert (await site.result(run.describe())).parked == "stuck"
    is_broken.clear()
    return run


@pytest.mark.parametrize("effect", [works, works_unsafely], ids=["safe", "unsafe"])
async def test_what_is_under_way_ends_before_the_code_goes_on(site: WorkersInMemory, effect: Step[[], str]) -> None:
    flow = working(effect)
    run = await stuck(site, flow)

    await site.result(run.retry())
    await site.result(run.signal("word", "hello"))
    await site.pass_time(3)
    assert executed == ["begun"]
    gate.set()

    assert await site.result(run.result()) == ["worked", "quick", "hello"]
    assert executed == ["begun", "finished", "went on with quick"]
    assert [one.reason for one in site.records(run.id) if isinstance(one, r.Parked)] == ["stuck", "stuck"]
    replay([one async for one in run.history()], workflows=[flow])


async def test_what_comes_with_the_word_to_go_on_does_not_come_before_what_the_code_asked_for(
    site: WorkersInMemory,
) -> None:
    run = await stuck(site)
    # While the worker can append nothing, all of it comes, and is one turn.
    site.server.faults = Faults(outcome=lambda operation: "lost" if ".log." in operation.subject else "known")
    await site.result(run.signal("other", "unheard"))
    await site.passes()
    await site.result(run.retry())
    await site.result(run.signal("word", "hello"))
    await site.passes()
    site.server.faults = Faults()
    gate.set()

    assert await site.result(run.result()) == ["worked", "quick", "hello"]


async def test_a_run_whose_code_still_cannot_go_on_is_stuck_once_more(site: WorkersInMemory) -> None:
    gate.set()
    run = await stuck(site)
    is_broken.append(True)
    before = len(site.records(run.id))

    await site.result(run.retry())
    await site.pass_time(60)

    assert [type(one) for one in site.records(run.id)[before:]] == [r.Parked]
    [said] = (await site.result(run.describe())).waits_for
    assert "it was let go on" not in said
    assert "a worker with mended code goes on, or run.retry" in said


@workflow(name="turns")
async def turns_left(ctx: WorkflowContext) -> None:
    await is_quick()
    await ctx.suspend("on")


@workflow(name="turns")
async def turns_right(ctx: WorkflowContext) -> None:
    await ctx.suspend("on")


async def test_so_is_one_whose_code_still_asks_for_something_else(site: WorkersInMemory) -> None:
    worker = await site.add(turns_left)
    run = await site.result(site.client.start(turns_left))
    await site.until(lambda: bool(site.records(run.id, r.Suspended)))
    await site.pass_time(5)
    worker.kill()
    await site.add(turns_right, code="other")
    await site.result(run.resume("on"))
    await site.until(lambda: bool(site.records(run.id, r.Parked)))
    before = len(site.records(run.id))

    await site.result(run.retry())
    await site.pass_time(60)

    assert [type(one) for one in site.records(run.id)[before:]] == [r.Parked, r.Parked]
    [said] = (await site.result(run.describe())).waits_for
    assert "it was let go on" not in said


async def test_nothing_happens_while_it_waits(site: WorkersInMemory) -> None:
    run = await stuck(site)
    await site.result(run.retry())
    await site.pass_time(3)
    records = len(site.records(run.id))
    operations: list[str] = []
    site.server.on_operation = lambda _door, operation, _now: operations.append(operation.subject)

    await site.result(run.retry())
    await site.pass_time(60)

    assert len(site.records(run.id)) == records
    assert len(operations) < 100
    assert executed == ["begun"]
    said = (await site.result(run.describe())).waits_for
    assert "it goes on by itself" in said[0]
    gate.set()


async def test_a_terminate_ends_it_meanwhile(site: WorkersInMemory) -> None:
    run = await stuck(site)
    await site.result(run.retry())
    await site.pass_time(3)

    await site.result(run.terminate())

    with pytest.raises(RunTerminated):
        await site.result(run.result())
    assert executed == ["begun", "stopped"]


@pytest.mark.parametrize("is_cancelled_first", [True, False])
async def test_a_cancel_reaches_the_code_at_once(site: WorkersInMemory, is_cancelled_first: bool) -> None:
    run = await stuck(site)
    for tell in (run.cancel, run.retry) if is_cancelled_first else (run.retry, run.cancel):
        await site.result(tell())
        await site.pass_time(1)

    with pytest.raises(RunCancelled):
        await site.result(run.result())
    assert executed == ["begun", "stopped"]


@pytest.mark.parametrize("grace_s", [0, 600])
async def test_a_worker_that_is_told_to_go_hands_it_over(site: WorkersInMemory, grace_s: int) -> None:
    run = await stuck(site)
    await site.result(run.retry())
    await site.pass_time(3)
    second = await site.add(works_beside)

    draining = asyncio.ensure_future(site.workers[0].host.drain(grace_s))
    await site.passes()
    gate.set()
    await draining
    await site.result(run.signal("word", "hello"))

    assert await site.result(run.result()) == ["worked", "quick", "hello"]
    assert executed.count("begun") == (1 if grace_s else 2)
    assert site.turns(run.id)[-1].owner == second.host.worker


async def test_who_takes_it_over_from_a_dead_worker_goes_on_without_another_word(site: WorkersInMemory) -> None:
    run = await stuck(site)
    await site.result(run.retry())
    await site.pass_time(3)
    site.workers[0].kill()
    gate.set()
    await site.add(works_beside)
    await site.result(run.signal("word", "hello"))

    assert await site.result(run.result()) == ["worked", "quick", "hello"]


@workflow
async def breaks_when_cancelled(ctx: WorkflowContext) -> None:
    try:
        await works()
    finally:
        while is_broken:
            await asyncio.sleep(0)


async def test_a_cancel_that_the_code_could_not_take_does_not_wait_for_what_is_under_way(site: WorkersInMemory) -> None:
    await site.add(breaks_when_cancelled)
    run = await site.result(site.client.start(breaks_when_cancelled))
    await site.until(lambda: bool(executed))
    await site.result(run.cancel())
    await site.until(lambda: bool(site.records(run.id, r.CancelRequested)))
    assert (await site.result(run.describe())).parked == "stuck"

    is_broken.clear()
    await site.result(run.retry())
    with pytest.raises(RunCancelled):
        await site.result(run.result())
    assert executed == ["begun", "stopped"]
