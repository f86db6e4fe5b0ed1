"""Code that asks for something else than was recorded: the run is parked as stuck, and goes on after a fix."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
from tests.runs import kinds, suspended, until

from relight import Relight, RunCancelled, Worker, Workflow, WorkflowContext, step, workflow
from relight.testing.stage import Stage

executed: list[str] = []

Body = Callable[[WorkflowContext], Coroutine[Any, Any, str]]


@step
async def charge(cents: int) -> str:
    executed.append(f"charge {cents}")
    return f"charged {cents}"


@step
async def refund(cents: int) -> str:
    executed.append(f"refund {cents}")
    return f"refunded {cents}"


async def as_recorded(ctx: WorkflowContext) -> str:
    paid = await charge(5)
    await ctx.suspend("pause")
    return paid


async def with_another_step(ctx: WorkflowContext) -> str:
    paid = await refund(5)
    await ctx.suspend("pause")
    return paid


async def with_other_arguments(ctx: WorkflowContext) -> str:
    paid = await charge(6)
    await ctx.suspend("pause")
    return paid


async def with_nothing_more(ctx: WorkflowContext) -> str:
    return await charge(5)


async def with_another_suspension(ctx: WorkflowContext) -> str:
    paid = await charge(5)
    await ctx.suspend("other")
    return paid


async def with_one_step_more(ctx: WorkflowContext) -> str:
    paid, _ = await asyncio.gather(charge(5), refund(5))
    await ctx.suspend("pause")
    return paid


async def with_an_error(ctx: WorkflowContext) -> str:
    await charge(5)
    raise LookupError("new bug")


def version(body: Body) -> Workflow[[], str]:
    """Of one workflow, as deployed at some time."""
    return workflow(name="order")(body)


def line(body: Body, offset: int) -> str:
    return f"integration/test_divergence.py:{body.__code__.co_firstlineno + offset}"


DIVERGED: dict[Body, tuple[str, str, str, str]] = {
    with_another_step: ("step charge#1", line(as_recorded, 1), "step refund#1", line(with_another_step, 1)),
    with_other_arguments: ("step charge#1", line(as_recorded, 1), "step charge#1", line(with_other_arguments, 1)),
    with_nothing_more: ("suspension 'pause'", line(as_recorded, 2), "the end of the workflow", ""),
    with_another_suspension: (
        "suspension 'pause'",
        line(as_recorded, 2),
        "suspension 'other'",
        line(with_another_suspension, 2),
    ),
    with_one_step_more: ("step charge#1", "", "step refund#1", line(with_one_step_more, 1)),
    with_an_error: ("suspension 'pause'", line(as_recorded, 2), "the workflow with builtins.LookupError", ""),
}


@pytest.mark.parametrize("body", DIVERGED, ids=lambda body: body.__name__)
async def test_a_divergence_parks_the_run_names_both_sides_and_a_fix_lets_it_go_on(client: Relight, body: Body) -> None:
    executed.clear()
    run = await client.start("order", type=str)
    async with Worker(client, [version(as_recorded)]):
        await suspended(run, "pause")
    async with Worker(client, [version(body)]):
        await run.resume("pause")
        described = await until(run, lambda described: described.status == "parked")
        size = described.history_records
    assert described.parked == "stuck"
    assert described.last_error is not None
    for part in DIVERGED[body]:
        assert part in described.last_error
    assert "\n" not in described.last_error

    async with Worker(client, [version(as_recorded)]):
        await run.retry()

        assert await run.result(timeout=10) == "charged 5"
    assert executed == ["charge 5"]
    assert "RunFailed" not in await kinds(run)
    assert (await run.describe()).history_records < size + 6, "nothing looped"


async def test_what_comes_while_a_run_is_stuck_is_kept(client: Relight) -> None:
    run = await client.start("order", type=str)
    async with Worker(client, [version(as_recorded)]):
        await suspended(run, "pause")
    async with Worker(client, [version(with_another_step)]):
        await run.cancel(reason="enough")
        await until(run, lambda described: described.parked == "stuck")
    async with Worker(client, [version(as_recorded)]):
        await run.retry()

        with pytest.raises(RunCancelled, match="enough"):
            await run.result(timeout=10)


async def test_code_that_never_blocks_parks_the_run_instead_of_hanging_its_worker(client: Relight) -> None:
    @workflow
    async def spins(ctx: WorkflowContext) -> None:
        while True:
            await asyncio.sleep(0)

    @workflow
    async def fine(ctx: WorkflowContext) -> str:
        return await charge(1)

    async with Worker(client, [spins, fine]):
        run = await client.start(spins)
        described = await until(run, lambda described: described.status == "parked")
        assert await client.call(fine) == "charged 1"

    assert described.parked == "stuck"
    assert "test_divergence.py" in str(described.last_error)


async def test_a_workflow_unknown_to_a_worker_is_given_back_and_not_failed(client: Relight) -> None:
    @workflow
    async def other(ctx: WorkflowContext) -> str:
        return "other"

    run = await client.start("order", type=str)
    async with Worker(client, [other]):
        assert await client.call(other) == "other"
        assert (await run.describe()).status == "queued"
    async with Worker(client, [version(as_recorded)]):
        await run.resume("pause")

        assert await run.result(timeout=15) == "charged 5"


async def test_a_run_that_kills_its_worker_three_times_is_quarantined() -> None:
    executed.clear()

    @step
    async def kills_its_worker() -> None:
        executed.append("kill")
        workers[-1].kill()
        await asyncio.Event().wait()

    @workflow
    async def deadly(ctx: WorkflowContext) -> None:
        await kills_its_worker()

    async with Stage([deadly]) as stage:
        workers = [await stage.open_worker()]
        run = await stage.client.start(deadly)
        for count in (1, 2, 3):
            async with asyncio.timeout(10):
                while executed.count("kill") < count:
                    await asyncio.sleep(0)
            workers.append(await stage.open_worker())
            if count < 3:
                await stage.until(lambda count=count: executed.count("kill") > count)  # type: ignore[misc]
        await stage.until(lambda: stage.observer.state(run.id).parked is not None)

        described = await run.describe()
        assert described.parked == "quarantined"
        assert described.last_error is not None
        assert "3 workers died while they ran it" in described.last_error
    assert executed.count("kill") == 3
