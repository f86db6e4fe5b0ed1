"""Headers that came with the start reach each attempt of a step, also one on another worker."""

from __future__ import annotations

from typing import Any

from relight import Interceptor, RetryAfter, StartCall, StepCall, WorkflowContext, step, workflow
from relight.sdk._interceptors import Next
from relight.testing.stage import Stage


class Tenant(Interceptor):
    """Sends a header with starts, and notes which headers reach which attempt."""

    def __init__(self) -> None:
        self.seen: list[tuple[int, dict[str, str]]] = []

    async def start(self, call: StartCall, next: Next[StartCall]) -> Any:
        call.headers["tenant"] = "acme"
        return await next(call)

    async def step(self, call: StepCall, next: Next[StepCall]) -> Any:
        self.seen.append((call.info.attempt, dict(call.headers)))
        call.headers["attempt"] = str(call.info.attempt)  # It is this attempt's alone.
        return await next(call)


@step
async def works_the_third_time() -> int:
    attempt = step.info().attempt
    if attempt < 3:
        raise RetryAfter(0.1 if attempt == 1 else 3600)
    return attempt


@workflow
async def flow(ctx: WorkflowContext) -> int:
    return await works_the_third_time()


def has_failed_twice(stage: Stage) -> bool:
    return any(one.attempts == 2 for one in stage.observer.state("one").steps.values())


async def test_headers_reach_later_attempts_of_a_step_on_the_same_worker_and_on_another() -> None:
    tenant = Tenant()
    async with Stage([flow], interceptors=[tenant]) as stage:
        stage.client.interceptors = (tenant,)
        first = await stage.open_worker()
        run = await stage.client.start(flow, id="one")
        await stage.until(lambda: has_failed_twice(stage))
        first.kill()
        await stage.open_worker()

        assert await run.result() == 3

    assert tenant.seen == [(attempt, {"tenant": "acme"}) for attempt in (1, 2, 3)]
