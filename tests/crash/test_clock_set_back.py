"""A history that is an hour ahead of the clock, because the node that leads was: waits take as long as they say."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import pytest
from tests.crash.workers_in_memory import MemoryWorker, WorkersInMemory

from relight import Retry, Workflow, WorkflowContext, step, workflow
from relight.actors.door import Clock
from relight.config.limits import LIMITS
from relight.subjects import records as r

HOUR_MS = 3_600_000

attempts_s: list[float] = []
gate = asyncio.Event()


class AheadClock:
    """The worker's view of the server's time, until somebody sets it right."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.ahead_ms = HOUR_MS

    def __getattr__(self, name: str) -> Any:
        return getattr(self._clock, name)

    def now_ms(self) -> int:
        return self._clock.now_ms() + self.ahead_ms

    def ms_at(self, elapsed_s: float) -> int:
        return self._clock.ms_at(elapsed_s) + self.ahead_ms


clock: AheadClock


@pytest.fixture(autouse=True)
def fresh() -> Iterator[None]:
    global gate
    attempts_s.clear()
    gate = asyncio.Event()
    yield
    gate.set()


@step
async def set_right() -> None:
    clock.ahead_ms = 0


async def fail_twice() -> None:
    attempts_s.append(clock.elapsed_s())
    if len(attempts_s) < 3:
        raise ConnectionError("not yet")


@step(retry=Retry(attempts=5, delay=0.5, factor=1, jitter=0))
async def retried_soon() -> None:
    await fail_twice()


@step(retry=Retry(attempts=5, delay=60, factor=1, jitter=0))
async def retried_later() -> None:
    await fail_twice()


@step(retry=Retry(attempts=None, delay=60, factor=1, jitter=0), total_timeout=150)
async def given_up() -> None:
    attempts_s.append(clock.elapsed_s())
    raise ConnectionError("never")


@step
async def works() -> None:
    await gate.wait()


@workflow
async def retries_soon(ctx: WorkflowContext) -> None:
    await set_right()
    await retried_soon()


@workflow
async def retries_later(ctx: WorkflowContext) -> None:
    await set_right()
    await retried_later()


@workflow
async def gives_up(ctx: WorkflowContext) -> None:
    await set_right()
    await given_up()


@workflow
async def sleeps(ctx: WorkflowContext) -> None:
    await set_right()
    await ctx.sleep(60)


@workflow
async def sleeps_beside_a_step(ctx: WorkflowContext) -> None:
    work = asyncio.ensure_future(works())
    await set_right()
    await ctx.sleep(60)
    work.cancel()


async def _worker(site: WorkersInMemory, monkeypatch: pytest.MonkeyPatch, what: Workflow[[], None]) -> MemoryWorker:
    global clock
    worker = await site.add(what)
    clock = AheadClock(worker.door.clock)
    monkeypatch.setattr(worker.door, "clock", clock)
    return worker


def _waits_s() -> list[float]:
    return [after - before for before, after in pairwise(attempts_s)]


@pytest.mark.parametrize(
    ("what", "delay_s"), [pytest.param(retries_soon, 0.5, id="soon"), pytest.param(retries_later, 60.0, id="later")]
)
async def test_a_step_is_retried_after_its_delay(
    site: WorkersInMemory, monkeypatch: pytest.MonkeyPatch, what: Workflow[[], None], delay_s: float
) -> None:
    await _worker(site, monkeypatch, what)

    run = await site.result(site.client.start(what, id="run"))
    await site.result(run.result(timeout=2 * 3600))

    assert _waits_s() == pytest.approx([delay_s] * 2, abs=0.3)


async def test_so_it_is_by_a_worker_that_was_not_there_when_it_failed(
    site: WorkersInMemory, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = await _worker(site, monkeypatch, retries_later)
    run = await site.result(site.client.start(retries_later, id="run"))
    await site.until(lambda: len(attempts_s) == 1)
    await site.pass_time(2 * LIMITS.linger_s)
    monkeypatch.undo()
    first.kill()

    await site.add(retries_later)
    await site.result(run.result(timeout=2 * 3600))

    assert _waits_s() == pytest.approx([60.0] * 2, abs=0.3)


async def test_its_total_timeout_counts_the_waits(site: WorkersInMemory, monkeypatch: pytest.MonkeyPatch) -> None:
    await _worker(site, monkeypatch, gives_up)

    run = await site.result(site.client.start(gives_up, id="run"))
    await site.pass_time(600)

    assert len(attempts_s) == 3
    assert (await site.result(run.describe())).status in ("failed", "parked")


@pytest.mark.parametrize("what", [sleeps, sleeps_beside_a_step])
async def test_a_sleep_takes_as_long_as_it_says(
    site: WorkersInMemory, monkeypatch: pytest.MonkeyPatch, what: Workflow[[], None]
) -> None:
    await _worker(site, monkeypatch, what)
    began_ms = site.server.clock.now_ms()

    run = await site.result(site.client.start(what, id="run"))
    await site.result(run.result(timeout=2 * 3600))

    assert site.server.clock.now_ms() - began_ms == pytest.approx(60_000, abs=1_000)
    assert len(site.records("run", r.TimerFired)) == 1
    times_ms = [turn.at_ms for turn in site.turns("run")]
    assert times_ms == sorted(times_ms)
