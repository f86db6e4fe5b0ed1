"""Values that are stored apart survive a crash at every point like all else."""

from __future__ import annotations

import pytest

from relight import WorkflowContext, step, workflow
from relight.testing import TestEnvironment
from relight.testing.crash import sweep
from relight.testing.trial import Scenario

LARGE = 300_000
"""Two chunks."""


@step
async def grown(text: str) -> str:
    return text * 2


@step
async def measured(text: str) -> int:
    return len(text)


@workflow
async def gives_back(ctx: WorkflowContext, text: str) -> str:
    return text + "!"


@workflow
async def carries(ctx: WorkflowContext, text: str) -> str:
    """All is large: an argument, results of a step and a child, a signal, an answer, its own result."""
    twice = await grown(text)
    heard = await ctx.wait_for_signal("more", type=str)
    answer = await ctx.suspend("review", type=str)
    back = await ctx.call(gives_back, twice)
    assert back == f"{twice}!"
    return f"{await measured(back)} {heard}{answer}"


SCENARIO = Scenario(
    workflow=carries,
    args=("a" * LARGE,),
    signals=[("more", "s" * LARGE, "s-1")],
    answers={"review": "r" * LARGE},
    others=(gives_back,),
)


async def test_a_run_with_large_values_ends_alike_wherever_a_process_dies() -> None:
    report = await sweep(SCENARIO, workers=2)

    assert report.crashes >= 4 * report.operations


async def test_large_values_are_stored_once_and_records_hold_references() -> None:
    async with TestEnvironment([carries, gives_back]) as environment:
        run = await environment.start(carries, "a" * LARGE, id="one")
        await run.signal("more", "s" * LARGE)
        await run.resume("review", "r" * LARGE)
        result = await run.result()

        assert result == f"{2 * LARGE + 1} " + "s" * LARGE + "r" * LARGE
        stage = environment._stage  # pyright: ignore[reportPrivateUsage]  # what is stored
        assert sum(len(data) for data in stage.observer.journal("one")) < 10_000
        assert len(stage.observer.values("one")) == 6
        await environment.replay(run)


@workflow
async def goes_on(ctx: WorkflowContext, text: str) -> str:
    """Continues as new with a large argument while a large signal waits."""
    if not text:
        await ctx.wait_for_signal("go", type=str)
        ctx.continue_as_new("a" * LARGE)
    return text + await ctx.wait_for_signal("more", type=str)


async def test_large_arguments_and_signals_go_over_to_the_next_history() -> None:
    async with TestEnvironment([goes_on]) as environment:
        run = await environment.start(goes_on, "")
        await run.signal("more", "m" * (LARGE // 2))
        await run.signal("go", "")

        assert await run.result() == "a" * LARGE + "m" * (LARGE // 2)


@pytest.mark.parametrize("text", ['{"$relight.value":"', "x"])
async def test_a_value_that_looks_like_a_reference_is_none(text: str) -> None:
    looks_alike = {"$relight.value": text, "bytes": 5}

    @step
    async def made() -> dict[str, object]:
        return dict(looks_alike)

    @workflow
    async def passes(ctx: WorkflowContext, given: dict[str, object]) -> list[dict[str, object]]:
        return [given, await made()]

    async with TestEnvironment([passes]) as environment:
        run = await environment.start(passes, looks_alike)

        assert await run.result() == [looks_alike, looks_alike]
        await environment.replay(run)
