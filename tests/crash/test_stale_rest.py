"""A worker still has a waiting run that another one took over: messages that lead to no record have kept it."""

from __future__ import annotations

import asyncio

from tests.crash.workers_in_memory import WorkersInMemory

from relight import Workflow, WorkflowContext, workflow
from relight.subjects import records as r

tokens: list[str] = []


def waits(*, is_broken: bool) -> Workflow[[], str]:
    @workflow(name="waits")
    async def waits_for_an_answer(ctx: WorkflowContext) -> str:
        await ctx.wait_for_signal("go", type=int)
        while is_broken:
            await asyncio.sleep(0)
        answer = ctx.awakeable(type=str)
        tokens.append(answer.token)
        return await answer

    return waits_for_an_answer


@workflow
async def listens(ctx: WorkflowContext) -> None:
    async for _ in ctx.signals("word", type=int):
        pass


async def test_it_does_not_acknowledge_what_it_could_not_understand(site: WorkersInMemory) -> None:
    broken, mended = waits(is_broken=True), waits(is_broken=False)
    former = await site.add(broken, listens, code="old")
    run = await site.result(site.client.start(broken, id="run"))
    other = await site.result(site.client.start(listens, id="other"))
    await site.pass_time(3)
    heir = await site.add(mended, listens, code="new", concurrency=0)

    # Wakes go to the two workers in turn.
    await site.result(run.signal("go", 1, id="once"))
    await site.pass_time(0.02)
    assert [type(one) for one in site.turns("run")[-1].records] == [r.Parked, r.SignalReceived]
    await site.result(other.signal("word", 1))
    await site.pass_time(0.8)
    await site.result(run.signal("go", 1, id="once"))
    await site.pass_time(0.5)
    assert former.host.holds("run")
    await site.result(run.signal("go", 1, id="once"))
    await site.pass_time(0.02)
    assert heir.host.holds("run")
    assert former.host.holds("run")

    await site.result(site.client.complete(tokens[-1], "the answer"))
    await site.pass_time(0.5)

    assert site.records("run", r.RunCompleted)
