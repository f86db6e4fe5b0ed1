"""Concurrency in workflows: asyncio's and anyio's own tools, replayed exactly; what can't be replayed is refused."""

from __future__ import annotations

import asyncio
import subprocess
import threading
from collections.abc import Awaitable, Callable
from typing import TypeAlias

import anyio
import anyio.to_thread
import msgspec
import pytest
from tests.runs import recorded, suspended

from relight import Relight, Retry, RunFailed, StepFailed, Worker, Workflow, WorkflowContext, step, workflow
from relight.subjects import records as r

Seen: TypeAlias = tuple[object, object]
"""What the code has seen before its pause, in the order in which it came, and what is the same in each run."""

executed: list[str] = []


@step
async def doubles(number: int) -> int:
    executed.append(str(number))
    await asyncio.sleep(0.002 * (5 - number % 5))
    return 2 * number


@step(retry=Retry(attempts=1))
async def fails_once(number: int) -> int:
    raise LookupError(number)


@workflow
async def with_gather(ctx: WorkflowContext) -> Seen:
    outcomes = await asyncio.gather(doubles(1), fails_once(2), doubles(3), return_exceptions=True)
    seen = [str(one) for one in outcomes]
    await ctx.suspend("pause", seen)
    return seen, [*seen, str(await doubles(4))]


@workflow
async def with_task_group(ctx: WorkflowContext) -> Seen:
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(doubles(number)) for number in range(5)]
    seen = [task.result() for task in tasks]
    await ctx.suspend("pause", seen)
    return seen, seen


@workflow
async def with_failing_task_group(ctx: WorkflowContext) -> Seen:
    failed: list[str] = []
    try:
        async with asyncio.TaskGroup() as group:
            group.create_task(ctx.suspend("never"))
            group.create_task(fails_once(1))
            group.create_task(ctx.sleep(3600))
    except* StepFailed as errors:
        failed = [str(one) for one in errors.exceptions]
    await ctx.suspend("pause", failed)
    return failed, failed


@workflow
async def with_wait(ctx: WorkflowContext) -> Seen:
    tasks = [asyncio.create_task(doubles(number)) for number in range(1, 5)]
    done, pending = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    first = [task.result() for task in done]
    await ctx.suspend("pause", first)
    return first, sorted(first + [await task for task in pending])


@workflow
async def with_timeout(ctx: WorkflowContext) -> Seen:
    late = ""
    try:
        async with asyncio.timeout(0.05):
            await ctx.suspend("never")
    except TimeoutError:
        late = "too late"
    await ctx.suspend("pause", late)
    return late, late


@workflow
async def with_event_and_queue(ctx: WorkflowContext) -> Seen:
    ready, queue = asyncio.Event(), asyncio.Queue[int]()

    async def produces() -> None:
        for number in range(3):
            await queue.put(await doubles(number))
        ready.set()

    producer = asyncio.create_task(produces())
    taken = [await queue.get() for _ in range(3)]
    await ready.wait()
    await producer
    await ctx.suspend("pause", taken)
    return taken, taken


@workflow
async def with_anyio(ctx: WorkflowContext) -> Seen:
    results: list[int] = []

    async def one(number: int) -> None:
        results.append(await doubles(number))

    async with anyio.create_task_group() as group:
        for number in range(4):
            group.start_soon(one, number)
    with anyio.move_on_after(0.05) as scope:
        await ctx.suspend("never")
    with anyio.CancelScope() as outer:
        outer.cancel()
        with anyio.CancelScope(shield=True):
            results.append(await doubles(7))
        await ctx.suspend("never again")
    await ctx.suspend("pause", results)
    return results, [*sorted(results), scope.cancelled_caught, outer.cancelled_caught]


CONCURRENT: dict[str, tuple[Workflow[[], Seen], object]] = {
    "gather": (with_gather, ["2", "2", "6", "8"]),
    "task group": (with_task_group, [0, 2, 4, 6, 8]),
    "failing task group": (with_failing_task_group, ["1"]),
    "wait": (with_wait, [2, 4, 6, 8]),
    "timeout": (with_timeout, "too late"),
    "event and queue": (with_event_and_queue, [0, 2, 4]),
    "anyio": (with_anyio, [0, 2, 4, 6, 14, True, True]),
}


@pytest.mark.parametrize("which", CONCURRENT)
async def test_concurrent_code_is_replayed_exactly_and_no_step_runs_twice(client: Relight, which: str) -> None:
    executed.clear()
    flow, expected = CONCURRENT[which]
    run = await client.start(flow)
    async with Worker(client, [flow]):
        await suspended(run, "pause")
    before = list(executed)

    async with Worker(client, [flow]):
        await run.resume("pause")
        replayed, certain = await run.result(timeout=10)

    [pause] = [one for one in await recorded(client, run, r.Suspended) if one.name == "pause"]
    assert replayed == msgspec.json.decode(pause.data)
    assert (await run.describe()).parked is None
    assert executed[: len(before)] == before
    assert len(set(executed)) == len(executed)
    assert certain == expected


async def opens_a_connection() -> None:
    await asyncio.open_connection("127.0.0.1", 1)


async def starts_a_process() -> None:
    await asyncio.create_subprocess_exec("true", stdout=subprocess.DEVNULL)


async def uses_a_thread() -> None:
    await asyncio.to_thread(threading.get_ident)


async def uses_an_executor() -> None:
    await asyncio.get_running_loop().run_in_executor(None, threading.get_ident)


async def uses_anyios_thread() -> None:
    await anyio.to_thread.run_sync(threading.get_ident)


NOT_DURABLE: dict[str, Callable[[], Awaitable[None]]] = {
    "asyncio.open_connection": opens_a_connection,
    "asyncio.create_subprocess_exec": starts_a_process,
    "asyncio.to_thread": uses_a_thread,
    "loop.run_in_executor": uses_an_executor,
    "anyio.to_thread.run_sync": uses_anyios_thread,
}


@workflow
async def does(ctx: WorkflowContext, what: str) -> None:
    await NOT_DURABLE[what]()


@pytest.mark.parametrize("call", NOT_DURABLE)
async def test_a_call_that_cannot_be_replayed_fails_the_run_and_names_call_and_remedy(
    client: Relight, call: str
) -> None:
    async with Worker(client, [does]):
        with pytest.raises(RunFailed) as failed:
            await client.call(does, call)

    assert failed.value.error_type == "relight.errors.NotDurableError"
    assert str(failed.value) == f"{call} can't be replayed in a workflow; do it in a @step"
    assert NOT_DURABLE[call].__name__ in failed.value.traceback


@step
async def stops_slowly() -> str:
    try:
        await asyncio.Event().wait()
    finally:
        executed.append("asked to stop")
        await asyncio.sleep(0.2)
        executed.append("stopped")
    return "?"


async def test_a_cancel_scope_over_a_step_that_stops_slowly_ends_at_once_and_records_little(client: Relight) -> None:
    executed.clear()

    @workflow
    async def moves_on(ctx: WorkflowContext) -> bool:
        with anyio.move_on_after(0.05) as scope:
            await stops_slowly()
        executed.append("moved on")
        await doubles(1)
        return scope.cancelled_caught

    async with Worker(client, [moves_on]):
        run = await client.start(moves_on)
        assert await run.result(timeout=10) is True
        async with asyncio.timeout(5):
            while "stopped" not in executed:
                await asyncio.sleep(0.005)

    assert executed.index("moved on") < executed.index("stopped")
    assert (await run.describe()).history_records < 12
