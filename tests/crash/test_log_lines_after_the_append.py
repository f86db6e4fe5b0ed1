"""A workflow's log tells what has happened: nothing that might not come true."""

from __future__ import annotations

from structlog.testing import capture_logs
from tests.crash.workers_in_memory import WorkersInMemory

from relight import WorkflowContext, step, workflow
from relight.subjects import records as r
from relight.testing.memory import Faults


@step
async def count() -> int:
    return 1


@workflow
async def tells(ctx: WorkflowContext) -> None:
    ctx.log.info("before")
    await count()
    ctx.log.info("after")


async def test_no_line_is_written_before_the_append_of_its_turn_is_acknowledged(site: WorkersInMemory) -> None:
    await site.add(tells)
    site.server.faults = Faults(outcome=lambda operation: "lost" if ".log." in operation.subject else "known")
    with capture_logs() as lines:
        run = await site.result(site.client.start(tells))
        await site.pass_time(5)
        assert [one["event"] for one in lines if one.get("run") == run.id] == []

        site.server.faults = Faults()
        await site.result(run.result())

    assert [one["event"] for one in lines if one["event"] in ("before", "after")] == ["before", "after"]


@workflow
async def begins_twice(ctx: WorkflowContext, history: int) -> None:
    ctx.log.info("begins", history=history)
    await count()
    if history == 1:
        ctx.continue_as_new(2)


async def test_nor_of_a_new_history_before_its_own_turn_is(site: WorkersInMemory) -> None:
    first = await site.add(begins_twice)
    with capture_logs() as lines:
        run = await site.result(site.client.start(begins_twice, 1, id="run"))
        await site.passes(lambda: any(one["event"] == "begins" for one in lines))
        first.kill()
        assert [type(one) for one in site.records("run")] == [r.Continued, r.RunStarted]
        await site.add(begins_twice)
        await site.result(run.result())

    assert [one["history"] for one in lines if one["event"] == "begins"] == [1, 2]
