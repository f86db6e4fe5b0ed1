"""Steps: all their forms, durable before anything follows, decoded live as in replay."""

from __future__ import annotations

import asyncio
import contextvars
import threading
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any

import pytest
from pydantic import BaseModel
from tests.runs import kinds, recorded, suspended, turns

from relight import Relight, RelightError, Retry, RunFailed, StepFailed, Worker, WorkflowContext, step, workflow
from relight.subjects import records as r

executed: list[str] = []


@pytest.fixture(autouse=True)
def nothing_executed() -> None:
    executed.clear()


@step
async def asynchronous(text: str) -> str:
    executed.append(f"async {text}")
    return f"async {text}"


@step
def threaded(text: str, *, times: int = 1) -> str:
    executed.append(f"thread {text}")
    return f"{threading.current_thread().name.split('_')[0]} {text * times}"


def plain(text: str) -> str:
    executed.append(f"plain {text}")
    return f"plain {text}"


class Caller:
    async def method(self, text: str) -> str:
        executed.append(f"method {text}")
        return f"method {text}"


@workflow
async def every_form(ctx: WorkflowContext) -> list[str]:
    results = [
        await asynchronous("a"),
        await threaded("b", times=2),
        await ctx.step("c", plain, "c"),
        await ctx.step("d", Caller().method, "d"),
        await ctx.step("e", lambda: "lambda"),
        await ctx.step("f", step(plain, retry=Retry(attempts=1)), "f"),
        await asynchronous.options(name="renamed")("g"),
    ]
    await ctx.suspend("pause")
    return results


async def test_every_form_of_a_step_runs_once_and_gives_the_same_in_replay(client: Relight) -> None:
    run = await client.start(every_form)
    async with Worker(client, [every_form]):
        await suspended(run, "pause")
    before = list(executed)

    async with Worker(client, [every_form]):
        await run.resume("pause")
        results = await run.result(timeout=10)

    assert results == [
        "async a",
        "relight-step bb",
        "plain c",
        "method d",
        "lambda",
        "plain f",
        "async g",
    ]
    assert executed == before
    assert [one.step for one in await recorded(client, run, r.StepScheduled)] == [
        "asynchronous#1",
        "threaded#1",
        "c#1",
        "d#1",
        "e#1",
        "f#1",
        "renamed#1",
    ]


async def test_a_result_is_durable_before_the_code_after_its_await_has_any_effect(client: Relight) -> None:
    stored: list[list[str]] = []

    @step
    async def looks_at_its_own_history(run_id: str) -> None:
        stored.append(await kinds(client.get_run(run_id)))

    @workflow
    async def looks(ctx: WorkflowContext) -> None:
        await asynchronous("before")
        await looks_at_its_own_history(ctx.run_id)

    async with Worker(client, [looks]):
        await client.call(looks)

    assert stored == [["RunStarted", "StepScheduled", "StepCompleted", "StepScheduled"]]


@step
async def waits_for_everybody(number: int) -> int:
    together.add(number)
    if len(together) == 20:
        everybody.set()
    await everybody.wait()
    return number


together: set[int] = set()
everybody = asyncio.Event()


@workflow
async def twenty_at_once(ctx: WorkflowContext) -> list[int]:
    return await asyncio.gather(*(waits_for_everybody(number) for number in range(20)))


async def test_steps_that_finish_together_share_turns(client: Relight) -> None:
    together.clear()
    everybody.clear()
    async with Worker(client, [twenty_at_once]):
        run = await client.start(twenty_at_once)
        assert await run.result(timeout=10) == list(range(20))

    completed = [sum(isinstance(one, r.StepCompleted) for one in turn.records) for turn in await turns(client, run)]

    assert sum(completed) == 20
    assert max(completed) > 1


class Animal(BaseModel):
    name: str


class Dog(Animal):
    breed: str = "mixed"


@step
async def returns_a_subclass() -> Animal:
    return Dog(name="Rex")


@step
async def returns_a_date_like_text() -> datetime | str:
    return "2026-01-01T00:00:00Z"


@step
async def returns_an_unannotated_tuple():  # type: ignore[no-untyped-def]  # what users write
    return (1, 2)


@workflow
async def refused_result(ctx: WorkflowContext, which: str) -> str:
    steps: dict[str, Any] = {
        "subclass": returns_a_subclass,
        "text": returns_a_date_like_text,
        "tuple": returns_an_unannotated_tuple,
    }
    try:
        await steps[which]()
    except StepFailed as error:
        return f"{error.error_type}: {error}"
    return "accepted"


@pytest.mark.parametrize("which", ["subclass", "text", "tuple"])
async def test_a_result_that_would_come_back_changed_is_refused_at_the_step_without_a_retry(
    client: Relight, which: str
) -> None:
    async with Worker(client, [refused_result]):
        run = await client.start(refused_result, which)
        told = await run.result(timeout=10)

    assert told.startswith("relight.errors.InvalidValueError: the result of step 'returns_a")
    assert ";" in told, "the remedy follows"
    assert "\n" not in told
    assert "StepAttemptFailed" not in await kinds(run)


@workflow
async def keeps_an_object(ctx: WorkflowContext) -> list[bool]:
    animal = await ctx.step("make", make_animal)
    return [animal is made[0], animal == made[0]]


made: list[Animal] = []


async def make_animal() -> Animal:
    made[:] = [Animal(name="Rex")]
    return made[0]


async def test_the_workflow_receives_the_decoded_value_at_the_first_execution_too(client: Relight) -> None:
    async with Worker(client, [keeps_an_object]):
        assert await client.call(keeps_an_object) == [False, True]


async def test_a_step_outside_a_run_simply_runs() -> None:
    assert await asynchronous("alone") == "async alone"
    assert (await threaded("x", times=3)).endswith("xxx")
    assert asynchronous.function is not asynchronous


@step
async def tells_its_info() -> list[str]:
    info = step.info()
    return [info.run_id, info.name, str(info.attempt), info.idempotency_key, str(info.deadline)]


async def test_a_step_outside_a_run_has_attempt_one_and_a_fresh_key() -> None:
    first, second = await tells_its_info(), await tells_its_info()

    assert first[:3] == ["", "tells_its_info", "1"]
    assert first[3]
    assert first[3] != second[3]


@step
async def calls_a_step() -> list[list[str]]:
    return [await tells_its_info(), [step.info().name]]


@workflow
async def nested(ctx: WorkflowContext) -> list[list[str]]:
    return await calls_a_step()


async def test_a_step_called_in_a_step_simply_runs_and_is_not_recorded(client: Relight) -> None:
    async with Worker(client, [nested]):
        run = await client.start(nested)
        (inner, outer) = await run.result(timeout=10)

    assert inner[0] == run.id
    assert inner[1:3] == ["tells_its_info", "1"]
    assert outer == ["calls_a_step"]
    assert (await kinds(run)).count("StepScheduled") == 1


class Deps:
    greeting = "hello"


class Other:
    name = "other"


@asynccontextmanager
async def lifespan() -> AsyncGenerator[Deps]:
    executed.append("entered")
    yield Deps()
    executed.append("left")


@step
async def greets_async() -> str:
    return step.deps(Deps).greeting


@step
def greets_in_a_thread() -> str:
    return step.deps(Deps).greeting


@step(retry=Retry(attempts=1))
async def wants_other_deps() -> str:
    return step.deps(Other).name


@workflow
async def greets(ctx: WorkflowContext) -> list[str]:
    return [await greets_async(), await greets_in_a_thread()]


@workflow
async def wants_too_much(ctx: WorkflowContext) -> str:
    return await wants_other_deps()


async def test_steps_reach_what_the_lifespan_yielded_and_it_is_left_at_the_end(client: Relight) -> None:
    async with Worker(client, [greets], lifespan=lifespan):
        assert await client.call(greets) == ["hello", "hello"]
        assert executed == ["entered"]

    assert executed == ["entered", "left"]


async def test_deps_of_another_type_are_an_error_that_names_both(client: Relight) -> None:
    async with Worker(client, [wants_too_much], lifespan=lifespan):
        with pytest.raises(RunFailed, match="the lifespan yielded Deps, not Other"):
            await client.call(wants_too_much)


async def test_deps_without_a_lifespan_are_an_error_that_names_the_remedy(client: Relight) -> None:
    async with Worker(client, [wants_too_much]):
        with pytest.raises(RunFailed, match=r"without a worker's lifespan; pass one to Worker\(lifespan=…\)"):
            await client.call(wants_too_much)
    with pytest.raises(RelightError, match="without a worker's lifespan"):
        await greets_async()


@workflow
async def leaves_its_context(ctx: WorkflowContext) -> str:
    async def call() -> str:
        return await asynchronous("unrecorded")

    return await asyncio.create_task(call(), context=contextvars.Context())


async def test_a_step_called_in_a_context_of_its_own_is_refused_instead_of_run_unrecorded(client: Relight) -> None:
    async with Worker(client, [leaves_its_context]):
        with pytest.raises(RunFailed, match=r"step 'asynchronous' in a context of its own .*copy_context"):
            await client.call(leaves_its_context)

    assert executed == []


async def test_a_worker_that_is_entered_again_runs_plain_steps_again(client: Relight) -> None:
    @workflow
    async def in_a_thread(ctx: WorkflowContext) -> str:
        return await threaded("again")

    worker = Worker(client, [in_a_thread])

    for _ in range(2):
        async with worker:
            assert await client.call(in_a_thread, timeout=20) == "relight-step again"
