"""Messages that fit no type, or that can't be read at all: their run goes on with the next one."""

from __future__ import annotations

import asyncio

import pytest
from tests.crash.workers_in_memory import WorkersInMemory

from relight import RequestRejected, WorkflowContext, workflow
from relight.subjects import records as r

LONG_KEY = {"k" * 2_000_000: "no number"}


@workflow
async def suspends(ctx: WorkflowContext) -> int:
    return len(await ctx.suspend("go", type=dict[str, int]))


@workflow
async def hears(ctx: WorkflowContext) -> int:
    return len(await ctx.wait_for_signal("go", type=dict[str, int]))


@workflow
async def answers(ctx: WorkflowContext) -> int:
    async for asked in ctx.requests("go", type=dict[str, int]):
        await asked.reply(0)
        return len(asked.data)
    return 0


async def test_of_an_answer_with_a_long_key_that_does_not_fit_the_next_one_counts(site: WorkersInMemory) -> None:
    await site.add(suspends)
    run = await site.result(site.client.start(suspends, id="run"))
    await site.until(lambda: bool(site.records("run", r.Suspended)))

    await site.result(run.resume("go", LONG_KEY))
    await site.until(lambda: len(site.records("run", r.Suspended)) == 2)
    await site.result(run.resume("go", {"a": 5}))

    assert await site.result(run.result()) == 1


async def test_of_a_signal_with_a_long_key_that_does_not_fit_the_next_one_counts(site: WorkersInMemory) -> None:
    await site.add(hears)
    run = await site.result(site.client.start(hears, id="run"))

    await site.result(run.signal("go", LONG_KEY))
    await site.result(run.signal("go", {"a": 5}))

    assert await site.result(run.result()) == 1


async def test_a_request_with_a_long_key_that_does_not_fit_is_rejected_in_few_words(site: WorkersInMemory) -> None:
    await site.add(answers)
    run = await site.result(site.client.start(answers, id="run"))

    asked = asyncio.ensure_future(run.request("go", LONG_KEY, type=int))
    with pytest.raises(RequestRejected) as rejected:
        await site.result(asked)
    assert await site.result(run.request("go", {"a": 5}, type=int)) == 0

    assert len(str(rejected.value)) < 1_000
    assert await site.result(run.result()) == 1
