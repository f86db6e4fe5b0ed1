"""The wait for a step's next attempt: a short one is kept by the owner, a long one by the server."""

from __future__ import annotations

import pytest
from tests.crash.workers_in_memory import WorkersInMemory

from relight import Retry, WorkflowContext, step, workflow
from relight.config.limits import LIMITS

attempts: list[int] = []


@pytest.fixture(autouse=True)
def fresh() -> None:
    attempts.clear()


@step(retry=Retry(delay=600, delay_max=600, jitter=0))
async def fails_once() -> int:
    attempts.append(step.info().attempt)
    if len(attempts) == 1:
        raise ConnectionError("not yet")
    return len(attempts)


@workflow
async def waits_for_its_next_attempt(ctx: WorkflowContext) -> int:
    return await fails_once()


@workflow
async def quick(ctx: WorkflowContext) -> str:
    return "done"


async def test_a_run_that_waits_long_for_its_next_attempt_holds_no_worker(site: WorkersInMemory) -> None:
    worker = await site.add(waits_for_its_next_attempt, quick, concurrency=1)
    waiting = await site.result(site.client.start(waits_for_its_next_attempt))
    await site.until(lambda: attempts == [1])
    began_ms = site.server.clock.now_ms()

    # It has one place only.
    other = await site.result(site.client.start(quick))
    assert await site.result(other.result()) == "done"
    assert site.server.clock.now_ms() - began_ms < 60_000

    # Nothing of it is held, in memory or as a lease, and whoever is there then makes the next attempt in time.
    await site.pass_time(2 * LIMITS.linger_s)
    assert not worker.host.holds(waiting.id)
    assert site.server.unacknowledged(site.client.subjects.start_any_queue(waiting.id)) == []
    worker.kill()
    await site.add(waits_for_its_next_attempt)
    assert await site.result(waiting.result(timeout=1200)) == 2
    assert 600_000 <= site.server.clock.now_ms() - began_ms < 610_000
