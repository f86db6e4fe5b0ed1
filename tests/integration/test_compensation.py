"""`ctx.compensate`: what undoes the steps of a run that fails or is cancelled."""

from __future__ import annotations

import asyncio
import sys

import pytest
from tests.runs import recorded, suspended, until

from relight import (
    InvalidValueError,
    Relight,
    Retry,
    RunCancelled,
    RunFailed,
    RunTerminated,
    RunTimedOut,
    StepFailed,
    Worker,
    WorkflowContext,
    step,
    workflow,
)
from relight.subjects import records as r
from relight.testing import TestEnvironment

happened: list[str] = []


@pytest.fixture(autouse=True)
def nothing_happened() -> None:
    happened.clear()


@step
async def book(what: str) -> str:
    happened.append(f"book {what}")
    return what


@step
async def unbook(what: str, *, fee: int = 0) -> None:
    happened.append(f"unbook {what}")


@step(retry=Retry(attempts=2, delay=0.01))
async def unbook_in_vain(what: str) -> None:
    happened.append(f"in vain {what}")
    raise ConnectionError(f"{what} is away")


@step(retry=Retry(attempts=1))
async def pay() -> None:
    raise PermissionError("no money")


@workflow
async def trip(ctx: WorkflowContext) -> str:
    for what in ("flight", "hotel", "car"):
        ctx.compensate(unbook, what, fee=1)
        await book(what)
    await pay()
    return "paid"


async def test_undos_run_in_reverse_order_when_a_run_fails_and_keep_its_error(client: Relight) -> None:
    async with Worker(client, [trip]):
        run = await client.start(trip)
        with pytest.raises(RunFailed, match="no money") as failed:
            await run.result(timeout=10)

    assert failed.value.matches(StepFailed)
    assert failed.value.not_undone == {}
    assert happened[3:] == ["unbook car", "unbook hotel", "unbook flight"]
    registered = await recorded(client, run, r.CompensationRegistered)
    scheduled = [one for one in await recorded(client, run, r.StepScheduled) if one.step.startswith("unbook")]
    assert [one.digest for one in reversed(registered)] == [one.digest for one in scheduled]
    assert all("test_compensation.py" in one.place for one in scheduled)


@workflow
async def waits(ctx: WorkflowContext) -> str:
    ctx.compensate(unbook, "first")
    try:
        return await ctx.suspend("review", type=str)
    finally:
        await book("clean-up")


async def test_undos_run_when_a_run_is_cancelled_after_its_own_clean_up(client: Relight) -> None:
    async with Worker(client, [waits]):
        run = await client.start(waits)
        await suspended(run, "review")
        await run.cancel(reason="enough")
        with pytest.raises(RunCancelled, match="enough"):
            await run.result(timeout=10)

    assert happened == ["book clean-up", "unbook first"]


@workflow
async def succeeds(ctx: WorkflowContext) -> str:
    ctx.compensate(unbook, "never")
    return "done"


async def test_a_run_that_ends_well_undoes_nothing() -> None:
    async with TestEnvironment([succeeds]) as env:
        run = await env.start(succeeds)

        assert await run.result() == "done"

    assert happened == []


@workflow
async def fails_to_undo(ctx: WorkflowContext) -> str:
    ctx.compensate(unbook, "first")
    ctx.compensate(unbook_in_vain, "second")
    ctx.compensate(unbook, "third")
    raise LookupError("nothing there")


async def test_an_undo_that_fails_is_named_and_the_others_still_run() -> None:
    async with TestEnvironment([fails_to_undo]) as env:
        run = await env.start(fails_to_undo)
        with pytest.raises(RunFailed, match="nothing there") as failed:
            await run.result()
        described = await run.describe()
        await env.replay(run)

    assert failed.value.error_type == "builtins.LookupError"
    assert failed.value.not_undone == {"unbook_in_vain#1": "builtins.ConnectionError: second is away"}
    assert "not undone: unbook_in_vain#1" in str(failed.value)
    assert "not undone: unbook_in_vain#1" in str(described.last_error)
    assert happened == ["unbook third", "in vain second", "in vain second", "unbook first"]


@step
async def begins_and_waits(gate: str) -> None:
    happened.append("begins")
    gates[gate] = asyncio.Event()
    await gates[gate].wait()
    happened.append("ends")


gates: dict[str, asyncio.Event] = {}


@workflow
async def undoes_while_cancelled(ctx: WorkflowContext) -> str:
    ctx.compensate(unbook, "first")
    ctx.compensate(begins_and_waits, "gate")
    raise LookupError("nothing there")


async def test_a_cancellation_that_comes_while_undos_run_does_not_stop_them(client: Relight) -> None:
    async with Worker(client, [undoes_while_cancelled]):
        run = await client.start(undoes_while_cancelled)
        async with asyncio.timeout(10):
            while "begins" not in happened:
                await asyncio.sleep(0.005)
        await run.cancel(reason="too late")
        async with asyncio.timeout(10):
            while not await recorded(client, run, r.CancelRequested):
                await asyncio.sleep(0.01)
        gates["gate"].set()
        with pytest.raises(RunFailed, match="nothing there"):
            await run.result(timeout=10)

    assert happened == ["begins", "ends", "unbook first"]


async def test_a_run_that_is_terminated_or_times_out_runs_no_undo(client: Relight) -> None:
    async with Worker(client, [waits]):
        terminated = await client.start(waits)
        await suspended(terminated, "review")
        await terminated.terminate()
        late = await client.start(waits, timeout=0.3)

        with pytest.raises(RunTerminated):
            await terminated.result(timeout=10)
        with pytest.raises(RunTimedOut):
            await late.result(timeout=10)

    assert happened == []


@workflow
async def changes_its_argument(ctx: WorkflowContext) -> None:
    items = ["a"]
    ctx.compensate(note, items)
    items.append("b")
    raise LookupError("nothing there")


@step
async def note(items: list[str]) -> None:
    happened.append(",".join(items))


async def test_arguments_count_as_they_were_when_the_undo_was_registered() -> None:
    async with TestEnvironment([changes_its_argument]) as env:
        run = await env.start(changes_its_argument)
        with pytest.raises(RunFailed):
            await run.result()
        await env.replay(run)

    assert happened == ["a"]


@workflow
async def returns_what_is_no_result(ctx: WorkflowContext) -> int:
    ctx.compensate(unbook, "first")
    return object()  # type: ignore[return-value]  # pyright: ignore[reportReturnType]  # what is refused


@workflow
async def forgets_to_await(ctx: WorkflowContext) -> None:
    ctx.compensate(unbook, "first")
    book("never")  # type: ignore[unused-coroutine]  # pyright: ignore[reportUnusedCoroutine]  # what is refused


@pytest.mark.parametrize("refused", ["returns_what_is_no_result", "forgets_to_await"])
async def test_a_run_that_fails_after_its_code_has_returned_is_undone_too(refused: str) -> None:
    async with TestEnvironment([returns_what_is_no_result, forgets_to_await]) as env:
        run = await env.client.start(refused, type=int)
        with pytest.raises(RunFailed):
            await run.result()

    assert happened == ["unbook first"]


@workflow
async def registers_what_is_refused(ctx: WorkflowContext) -> list[str]:
    problems: list[str] = []
    for undo, args in ((book, (object(),)), (book, ()), (print, ("x",))):
        try:
            ctx.compensate(undo, *args)  # type: ignore[arg-type]  # pyright: ignore  # what is refused
        except (InvalidValueError, TypeError) as error:
            problems.append(str(error))
    return problems


async def test_what_is_no_step_or_no_call_of_it_is_refused_at_once() -> None:
    async with TestEnvironment([registers_what_is_refused]) as env:
        run = await env.start(registers_what_is_refused)
        problems = await run.result()

    assert "argument 'what'" in problems[0]
    assert "missing" in problems[1]
    assert "is no step; decorate it with @step" in problems[2]


@workflow
async def parks_its_undo(ctx: WorkflowContext) -> None:
    ctx.compensate(unbook, "first")
    ctx.compensate(unbook_in_vain.options(on_exhausted="park"), "second")
    raise LookupError("nothing there")


async def test_an_undo_that_parks_waits_for_a_person_before_the_others_go_on(client: Relight) -> None:
    async with Worker(client, [parks_its_undo]):
        run = await client.start(parks_its_undo)
        await until(run, lambda described: described.status == "parked")
        assert "unbook first" not in happened
        await run.resolve("unbook_in_vain", result=None)
        with pytest.raises(RunFailed, match="nothing there") as failed:
            await run.result(timeout=10)

    assert failed.value.not_undone == {}
    assert happened[-1] == "unbook first"


@workflow
async def exits(ctx: WorkflowContext) -> None:
    ctx.compensate(unbook, "flight")
    await book("flight")
    sys.exit("enough")


@workflow
async def sleeps(ctx: WorkflowContext) -> None:
    await ctx.sleep(60)


@workflow
async def books_while_it_waits_for_a_child(ctx: WorkflowContext) -> None:
    async def leg(what: str, after_s: int) -> None:
        await ctx.sleep(after_s)
        ctx.compensate(unbook, what)
        await book(what)

    async def pays() -> None:
        await ctx.sleep(2)
        await pay()

    await ctx.start(sleeps, on_parent_close="wait")
    await asyncio.gather(leg("hotel", 1), leg("flight", 10), pays())


async def test_a_run_whose_code_exits_is_undone_like_any_that_fails() -> None:
    async with TestEnvironment([exits]) as environment:
        with pytest.raises(RunFailed, match="enough"):
            await (await environment.start(exits)).result()

    assert happened == ["book flight", "unbook flight"]


async def test_what_is_registered_while_a_failed_run_waits_for_its_children_is_undone_too() -> None:
    async with TestEnvironment([books_while_it_waits_for_a_child, sleeps]) as environment:
        with pytest.raises(RunFailed, match="no money"):
            await (await environment.start(books_while_it_waits_for_a_child)).result()

    assert happened == ["book hotel", "unbook hotel", "book flight", "unbook flight"]
