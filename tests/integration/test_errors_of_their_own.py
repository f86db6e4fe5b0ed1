"""Errors whose own code raises, and one that Python treats in a special way: a run goes on as with any other."""

from __future__ import annotations

import pytest

from relight import Retry, RunFailed, StepFailed, WorkflowContext, step, workflow
from relight.testing import TestEnvironment

ONCE = Retry(attempts=1)


class SaysNothing(Exception):
    def __str__(self) -> str:
        raise AttributeError("status")


class HasNoCause(Exception):
    @property
    def __cause__(self) -> BaseException | None:  # type: ignore[override]
        raise LookupError("cause")


ERRORS = [SaysNothing, HasNoCause]


@step(retry=ONCE)
async def raises(number: int) -> None:
    raise ERRORS[number]


@step(retry=ONCE)
def finds_nothing() -> int:
    return next(one for one in (1, 2) if one > 2)


@workflow
async def fails_in_a_step(ctx: WorkflowContext, number: int) -> tuple[str, str]:
    try:
        await raises(number)
    except StepFailed as error:
        return error.error_type, str(error)
    return "", ""


@workflow
async def fails_by_itself(ctx: WorkflowContext, number: int) -> None:
    raise ERRORS[number]


@workflow
async def looks_in_vain(ctx: WorkflowContext) -> str:
    try:
        return str(await finds_nothing())
    except StepFailed as error:
        return f"{error.error_type}: {error}"


@pytest.mark.parametrize(("number", "said"), [(0, "(no message: the error's own code raised AttributeError)"), (1, "")])
async def test_a_step_fails_with_an_error_whose_own_code_raises(number: int, said: str) -> None:
    async with TestEnvironment([fails_in_a_step]) as environment:
        run = await environment.start(fails_in_a_step, number)

        assert await run.result() == (f"{__name__}.{ERRORS[number].__name__}", said)
        await environment.replay(run)


@pytest.mark.parametrize("number", range(len(ERRORS)))
async def test_a_run_fails_with_an_error_whose_own_code_raises(number: int) -> None:
    async with TestEnvironment([fails_by_itself]) as environment:
        run = await environment.start(fails_by_itself, number)

        with pytest.raises(RunFailed) as failed:
            await run.result()
        assert failed.value.error_type == f"{__name__}.{ERRORS[number].__name__}"
        await environment.replay(run)


async def test_a_sync_step_that_raises_stop_iteration_fails_as_an_async_one_does() -> None:
    async with TestEnvironment([looks_in_vain]) as environment:
        run = await environment.start(looks_in_vain)

        assert await run.result() == "builtins.RuntimeError: the step raised StopIteration"
