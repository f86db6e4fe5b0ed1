"""Steps whose time is up: what was cut off may have happened, and time in which the run was held is not counted."""

from __future__ import annotations

import asyncio
import threading

import pytest
from tests.runs import kinds

from relight import Async, Relight, Retry, RunFailed, Step, Worker, Workflow, WorkflowContext, step, workflow
from relight.testing import TestEnvironment
from relight.testing.stage import Stage

begun: list[int] = []
is_mended: list[bool] = []


@pytest.fixture(autouse=True)
def nothing_yet() -> None:
    begun.clear()
    is_mended.clear()


@step(effect="unsafe", timeout=0.05)
async def pays() -> str:
    begun.append(step.info().attempt)
    if not is_mended:
        await asyncio.Event().wait()
    return "paid"


@step(effect="unsafe", timeout=0.05)
async def pays_and_cleans_up() -> str:
    begun.append(step.info().attempt)
    try:
        await asyncio.Event().wait()
    except asyncio.CancelledError:
        raise OSError("the connection was closed") from None
    return "paid"


def paying(payment: Step[[], str]) -> Workflow[[], str]:
    @workflow
    async def pays_once(ctx: WorkflowContext) -> str:
        payment_of_the_run: Async[str] = payment()
        return await payment_of_the_run

    return pays_once


pays_once = paying(pays)


@pytest.mark.parametrize("payment", [pays, pays_and_cleans_up])
async def test_an_unsafe_attempt_that_took_too_long_is_not_repeated_but_asked_about(payment: Step[[], str]) -> None:
    flow = paying(payment)
    async with Stage([flow]) as stage:
        await stage.open_worker()
        run = await stage.client.start(flow)
        await stage.until(lambda: stage.observer.state(run.id).parked is not None)

        described = await run.describe()
        assert described.parked == "unknown_outcome"
        asked = f"step {payment.name}#1 was cut off by a time-out: did it happen?"
        assert described.last_error == f"unknown_outcome: {asked}"
        await run.resolve(payment.name, result="paid, says the bank")

        assert await run.result() == "paid, says the bank"
    assert begun == [1]


async def test_an_unsafe_attempt_that_took_too_long_is_asked_about_once_more_by_whoever_takes_over() -> None:
    async with Stage([pays_once]) as stage:
        first = await stage.open_worker()
        run = await stage.client.start(pays_once)
        await stage.until(lambda: stage.observer.state(run.id).parked is not None)
        first.kill()
        await stage.open_worker()

        is_mended.append(True)
        await run.resolve("pays", rerun=True)

        assert await run.result() == "paid"
        assert (await kinds(run)).count("Parked") == 1
    assert begun == [1, 1]


released = threading.Event()


@step(effect="unsafe", timeout=0.05, retry=Retry(delay=0.01, attempts=3))
def pays_in_a_thread() -> None:
    begun.append(step.info().attempt)
    released.wait(20)


@workflow
async def pays_once_in_a_thread(ctx: WorkflowContext) -> None:
    await pays_in_a_thread()


async def test_a_thread_that_took_too_long_is_not_joined_by_another_one(client: Relight) -> None:
    released.clear()
    try:
        async with Worker(client, [pays_once_in_a_thread]):
            run = await client.start(pays_once_in_a_thread)
            async with asyncio.timeout(20):
                while (await run.describe()).parked != "unknown_outcome":
                    await asyncio.sleep(0.01)
            assert begun == [1]
            await run.terminate()
    finally:
        released.set()


# The total time-out.


@step(total_timeout=60, on_exhausted="park", retry=Retry(attempts=None, delay=25, factor=1, jitter=0))
async def is_refused() -> str:
    begun.append(step.info().attempt)
    if not is_mended:
        raise OSError("no")
    return "accepted"


@workflow
async def asks(ctx: WorkflowContext) -> str:
    return await is_refused()


async def test_a_person_who_retries_gives_a_step_all_its_time_again() -> None:
    async with TestEnvironment([asks]) as env:
        run = await env.start(asks)
        async with asyncio.timeout(20):
            while (await run.describe()).parked != "retries_exhausted":
                await env.skip(1)
        assert begun == [1, 2, 3]
        await env.skip(3600)

        await run.retry()
        async with asyncio.timeout(20):
            while len(begun) < 4:
                await env.skip(1)
        is_mended.append(True)

        assert await run.result() == "accepted"
    assert begun == [1, 2, 3, 1, 2]


async def test_the_time_in_which_a_run_was_paused_is_not_counted() -> None:
    async with TestEnvironment([asks]) as env:
        run = await env.start(asks)
        async with asyncio.timeout(20):
            while len(begun) < 1:
                await env.skip(0.1)
        await run.pause()
        await env.skip(3600)

        await run.unpause()
        is_mended.append(True)

        assert await run.result() == "accepted"
    assert begun == [1, 2]


@step(total_timeout=60)
async def is_interrupted() -> None:
    begun.append(step.info().attempt)
    await asyncio.Event().wait()


@workflow
async def is_overtaken(ctx: WorkflowContext) -> None:
    await is_interrupted()


async def test_an_attempt_for_which_no_time_is_left_is_not_begun() -> None:
    async with Stage([is_overtaken]) as stage:
        first = await stage.open_worker()
        run = await stage.client.start(is_overtaken)
        await stage.until(lambda: bool(stage.observer.state(run.id).steps) and begun == [1])
        first.kill()
        await stage.skip(61)
        await stage.open_worker()

        with pytest.raises(RunFailed, match="attempt 1 was not begun: all 60 s had passed"):
            await run.result()
    assert begun == [1]


# Signs of life.


@step(retry=Retry(delay=0))
async def beats(details: int | None) -> str:
    if step.info().attempt == 1:
        if details is not None:
            step.heartbeat(details)
        step.heartbeat()
        raise OSError("again")
    return f"found {step.last_heartbeat(int)}"


@workflow
async def lives(ctx: WorkflowContext, details: int | None) -> str:
    return await beats(details)


@pytest.mark.parametrize(("details", "found"), [(None, "found None"), (7, "found 7")])
async def test_a_heartbeat_without_details_leaves_those_that_were_left_before(details: int | None, found: str) -> None:
    async with TestEnvironment([lives]) as env:
        run = await env.start(lives, details)

        assert await run.result() == found
