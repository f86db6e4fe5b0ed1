"""A workflow's log tells what has happened: nothing that might not come true."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from structlog.testing import capture_logs
from tests.crash.workers_in_memory import WorkersInMemory, workers_in_memory

from relight import WorkflowContext, step, workflow
from relight.testing.memory import Faults


@pytest.fixture
async def site() -> AsyncIterator[WorkersInMemory]:
    async with workers_in_memory() as site:
        yield site


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
