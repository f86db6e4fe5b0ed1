"""What runs leave behind in a worker's memory: nothing that only the cyclic collector could find.

It looks seldom in a worker, because it costs more than the runs do, and what it has not found yet adds up.
"""

from __future__ import annotations

import asyncio
import gc
import tracemalloc
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator
from contextlib import asynccontextmanager

import pytest
from tests.runs import suspended

from relight import Relight, StepFailed, TerminalError, Worker, WorkflowContext, step, workflow
from relight.config.server import EmbeddedServer

_COUNT = 40


@pytest.fixture
def no_collection() -> Generator[None]:
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


@step
async def one() -> int:
    return 1


@step
async def fails() -> int:
    raise TerminalError("it always does")


@workflow
async def waits(ctx: WorkflowContext) -> str:
    return await ctx.suspend("answer", type=str)


@workflow
async def works(ctx: WorkflowContext) -> int:
    return await one() + await one()


@workflow
async def copes(ctx: WorkflowContext) -> str:
    try:
        return str(await fails())
    except StepFailed as error:
        return str(error)


@step
async def twice(number: int) -> int:
    return 2 * number


@workflow
async def maps(ctx: WorkflowContext, count: int) -> int:
    return len(await ctx.map(twice, range(count), concurrency=50))


@asynccontextmanager
async def _at_work(server: EmbeddedServer, namespace: str) -> AsyncGenerator[tuple[Relight, Worker]]:
    async with Relight(server.url, namespace=namespace) as relight:
        async with Worker(relight, [waits, works, copes, maps]) as worker:
            yield relight, worker


async def _cycles_left_by(act: Callable[[], Awaitable[None]]) -> int:
    """Return what each of two acts leaves: threads of earlier tests may let go of something meanwhile, but once."""
    await act()  # What is made once and kept is made now.
    gc.collect()
    left: list[int] = []
    for _ in range(2):
        await act()
        left.append(gc.collect())
    return min(left)


@pytest.mark.usefixtures("no_collection")
async def test_runs_that_wait_and_are_dropped_leave_no_cycles(shared_server: EmbeddedServer, namespace: str) -> None:
    async with _at_work(shared_server, namespace) as (relight, worker):

        async def act() -> None:
            runs = [await relight.start(waits) for _ in range(_COUNT)]
            for run in runs:
                await suspended(run, "answer")
            async with asyncio.timeout(20):
                while any(worker.host.holds(run.id) for run in runs):
                    await asyncio.sleep(0.01)

        assert await _cycles_left_by(act) < _COUNT


@pytest.mark.usefixtures("no_collection")
async def test_runs_that_end_leave_no_cycles(shared_server: EmbeddedServer, namespace: str) -> None:
    async with _at_work(shared_server, namespace) as (relight, _):

        async def act() -> None:
            for _ in range(_COUNT):
                await (await relight.start(works)).result()

        assert await _cycles_left_by(act) < _COUNT


@pytest.mark.usefixtures("no_collection")
async def test_runs_that_are_woken_leave_no_cycles(shared_server: EmbeddedServer, namespace: str) -> None:
    async with _at_work(shared_server, namespace) as (relight, _):

        async def act() -> None:
            for _ in range(_COUNT):
                run = await relight.start(waits)
                await run.resume("answer", "yes")
                await run.result()

        assert await _cycles_left_by(act) < _COUNT


@pytest.mark.usefixtures("no_collection")
async def test_steps_that_fail_leave_no_cycles(shared_server: EmbeddedServer, namespace: str) -> None:
    async with _at_work(shared_server, namespace) as (relight, _):

        async def act() -> None:
            for _ in range(_COUNT):
                await (await relight.start(copes)).result()

        assert await _cycles_left_by(act) < _COUNT


async def test_a_map_of_10000_items_holds_little_more_than_their_results(
    shared_server: EmbeddedServer, namespace: str
) -> None:
    async def most_held(count: int) -> int:
        tracemalloc.start()
        try:
            assert await relight.call(maps, count) == count
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    async with _at_work(shared_server, namespace) as (relight, _):
        await relight.call(maps, 100)  # What is made once is made now.
        few = await most_held(1_000)
        many = await most_held(10_000)

    assert many - few < 9_000 * 300
