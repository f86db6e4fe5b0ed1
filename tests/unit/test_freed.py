"""A run that has ended is freed by reference counting alone: a busy worker's collector seldom looks."""

from __future__ import annotations

import gc

import pytest

from relight import Workflow, WorkflowContext, step, workflow
from relight.sdk._activation import Activation
from relight.testing import TestEnvironment


@step
async def act() -> int:
    return 1


@workflow
async def child(ctx: WorkflowContext) -> int:
    return 1


@workflow
async def acts(ctx: WorkflowContext) -> int:
    return await act()


@workflow
async def registers_what_undoes_it(ctx: WorkflowContext) -> int:
    ctx.compensate(act)
    return await act()


@workflow
async def keeps_its_end_back(ctx: WorkflowContext) -> int:
    await ctx.start(child, on_parent_close="wait")
    return 1


def held() -> int:
    return sum(type(one) is Activation for one in gc.get_objects())


@pytest.mark.parametrize("ends", [acts, registers_what_undoes_it, keeps_its_end_back], ids=lambda one: one.name)
async def test_nothing_leads_back_to_a_run_that_has_ended(ends: Workflow[[], int]) -> None:
    async with TestEnvironment([ends, child]) as environment:
        gc.collect()
        before = held()
        gc.disable()
        try:
            run = await environment.start(ends)
            await run.result()
            await environment.skip(100)

            assert held() == before
        finally:
            gc.enable()
