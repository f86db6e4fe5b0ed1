"""A start that comes when its deadline has passed already."""

from __future__ import annotations

import pytest
from tests.crash.workers_in_memory import WorkersInMemory

from relight import RunTimedOut, WorkflowContext, step, workflow

executed: list[str] = []


@pytest.fixture(autouse=True)
def fresh() -> None:
    executed.clear()


@step
async def act() -> None:
    executed.append("act")


@workflow
async def acts(ctx: WorkflowContext) -> None:
    await act()


async def test_nothing_of_it_is_launched(site: WorkersInMemory) -> None:
    await site.add(acts)

    run = await site.result(site.client.start(acts, timeout=0.0001))

    with pytest.raises(RunTimedOut):
        await site.result(run.result())
    assert executed == []
