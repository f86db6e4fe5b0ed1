"""What a person says of a step is checked like what the step itself returns."""

from __future__ import annotations

import structlog
from tests.runs import until

from relight import Relight, Retry, Worker, WorkflowContext, step, workflow


@step(retry=Retry(attempts=1), on_exhausted="park")
async def count() -> int:
    raise RuntimeError("can't count")


@workflow
async def counts(ctx: WorkflowContext) -> int:
    return await count()


@workflow
async def logs_an_exception(ctx: WorkflowContext) -> None:
    try:
        raise ValueError("no good")
    except ValueError:
        ctx.log.exception("it_failed")


async def test_a_result_that_the_step_refuses_decides_nothing(client: Relight) -> None:
    async with Worker(client, [counts]):
        run = await client.start(counts)
        await until(run, lambda described: described.parked == "retries_exhausted")

        await run.resolve("count", result="many")

        described = await until(run, lambda described: "the result given" in str(described.last_error))
        assert described.parked == "retries_exhausted"
        await run.resolve("count", result=3)
        assert await run.result(timeout=20) == 3


async def test_the_traceback_of_a_logged_exception_is_written(client: Relight) -> None:
    with structlog.testing.capture_logs() as lines:
        async with Worker(client, [logs_an_exception]):
            await (await client.start(logs_an_exception)).result(timeout=20)

    written = next(line for line in lines if line["event"] == "it_failed")
    assert "ValueError: no good" in written["exception"]
