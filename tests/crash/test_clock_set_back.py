"""A history that is an hour ahead of the clock, because the node that leads was: nothing is due at once."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
from tests.crash.workers_in_memory import WorkersInMemory

from relight import Retry, WorkflowContext, step, workflow
from relight.actors.door import Clock

HOUR_MS = 3_600_000

attempts_s: list[float] = []


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
def fresh() -> None:
    attempts_s.clear()


@step
async def set_right() -> None:
    clock.ahead_ms = 0


async def fail_twice() -> None:
    attempts_s.append(clock.elapsed_s())
    if len(attempts_s) < 3:
        raise ConnectionError("not yet")


@step(retry=Retry(attempts=5, delay=60, factor=1, jitter=0))
async def retried_later() -> None:
    await fail_twice()


@workflow
async def retries_later(ctx: WorkflowContext) -> None:
    await set_right()
    await retried_later()


def _waits_s() -> list[float]:
    return [after - before for before, after in pairwise(attempts_s)]


async def test_a_step_is_not_retried_before_its_delay(site: WorkersInMemory, monkeypatch: pytest.MonkeyPatch) -> None:
    global clock
    worker = await site.add(retries_later)
    clock = AheadClock(worker.door.clock)
    monkeypatch.setattr(worker.door, "clock", clock)

    run = await site.result(site.client.start(retries_later, id="run"))
    await site.result(run.result(timeout=2 * 3600))

    assert _waits_s() == pytest.approx([3_660.0, 60.0], abs=1.0)
