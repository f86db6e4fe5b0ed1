"""A step gets its arguments as they were when it was called: of these is the digest by which a replay finds it."""

from __future__ import annotations

import asyncio
from threading import Lock
from typing import Any

import pytest
from pydantic import BaseModel, PrivateAttr

from relight import InvalidValueError, Retry, RunFailed, WorkflowContext, step, workflow
from relight.testing import TestEnvironment, crash_everywhere

Order = dict[str, int]


@step
async def enrich(order: Order) -> None:
    order["price"] = 5


@step
async def other() -> None:
    return


@step
async def size(order: Order) -> int:
    return len(order)


@step(retry=Retry(attempts=2, delay=0.1, jitter=0))
async def takes_one(jobs: list[int]) -> int:
    jobs.pop()
    if len(jobs) == 2 and info_attempt() == 1:
        raise ConnectionError("down")
    return len(jobs)


def info_attempt() -> int:
    return step.info().attempt


@workflow
async def is_changed_by_a_step(ctx: WorkflowContext) -> list[int]:
    order: Order = {}
    await enrich(order)
    return [await size(order), len(order)]


@workflow
async def changes_it_while_the_step_waits(ctx: WorkflowContext) -> int:
    order: Order = {"a": 1}
    sized = asyncio.create_task(size(order))
    await other()
    order["b"] = 2
    await other()
    return await sized


@workflow
async def changes_it_before_the_step_begins(ctx: WorkflowContext) -> int:
    order: Order = {"a": 1}
    sized = asyncio.create_task(size(order))
    await asyncio.sleep(0)
    order["b"] = 2
    return await sized


@workflow
async def is_changed_by_an_attempt(ctx: WorkflowContext) -> int:
    return await takes_one([1, 2, 3])


@pytest.mark.parametrize(
    ("code", "result"),
    [
        (is_changed_by_a_step, [0, 0]),
        (changes_it_while_the_step_waits, 1),
        (changes_it_before_the_step_begins, 1),
        (is_changed_by_an_attempt, 2),
    ],
)
async def test_what_a_step_or_its_workflow_changes_later_is_another_object(code: Any, result: object) -> None:
    async with TestEnvironment([code]) as env:
        run = await env.start(code)
        assert await run.result() == result
        await env.replay(run)
    await crash_everywhere(code)


class Guarded(BaseModel):
    _lock: Any = PrivateAttr(default_factory=Lock)


@step
async def takes_guarded(guarded: Guarded) -> None:
    return


@workflow
async def passes_what_can_not_be_copied(ctx: WorkflowContext) -> None:
    await takes_guarded(Guarded())


async def test_what_can_not_be_copied_is_refused_with_a_remedy() -> None:
    async with TestEnvironment([passes_what_can_not_be_copied]) as env:
        run = await env.start(passes_what_can_not_be_copied)
        with pytest.raises(RunFailed, match=r"takes_guarded: an argument can't be copied") as failed:
            await run.result()
    assert failed.value.error_type == f"{InvalidValueError.__module__}.{InvalidValueError.__name__}"


class Fickle(BaseModel):
    """Can be copied once."""

    name: str

    def __deepcopy__(self, memo: dict[int, Any] | None = None) -> Fickle:
        if self.name == "copy":
            raise RuntimeError("once is enough")
        return Fickle(name="copy")


@step
async def takes_fickle(fickle: Fickle) -> None:
    return


@workflow
async def passes_what_can_be_copied_once(ctx: WorkflowContext) -> None:
    await takes_fickle(Fickle(name="first"))


async def test_what_an_attempt_can_not_copy_fails_the_step_and_not_its_worker() -> None:
    async with TestEnvironment([passes_what_can_be_copied_once]) as env:
        run = await env.start(passes_what_can_be_copied_once)
        with pytest.raises(RunFailed, match=r"can't be copied \(RuntimeError: once is enough\)"):
            await run.result()
