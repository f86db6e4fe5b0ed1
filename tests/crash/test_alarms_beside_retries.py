"""What time brings is not late because an attempt is under way that no record began."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from structlog.testing import capture_logs
from tests.crash.workers_in_memory import WorkersInMemory

from relight import Retry, Workflow, WorkflowContext, step, workflow
from relight.actors.door import Clock
from relight.testing.memory import MemoryDoor

attempts: list[str] = []
gate = asyncio.Event()


@pytest.fixture(autouse=True)
def fresh() -> None:
    global gate
    gate = asyncio.Event()
    attempts.clear()


async def fails_then_waits(name: str) -> None:
    attempts.append(name)
    if attempts.count(name) == 1:
        raise ConnectionError("once")
    await gate.wait()


@step(retry=Retry(attempts=5, delay=0.3, jitter=0))
async def early() -> None:
    await fails_then_waits("early")


@step(retry=Retry(attempts=5, delay=0.8, jitter=0))
async def late() -> None:
    await fails_then_waits("late")


@step(retry=Retry(attempts=1), on_exhausted="park")
async def fails() -> None:
    raise ConnectionError("for good")


@workflow
async def has_a_timeout(ctx: WorkflowContext) -> str:
    try:
        async with asyncio.timeout(60):
            await early()
    except TimeoutError:
        return "given up"
    return "done"


@workflow
async def has_two(ctx: WorkflowContext) -> None:
    await asyncio.gather(early(), late())


@workflow
async def parks_beside_a_step(ctx: WorkflowContext) -> None:
    await asyncio.gather(fails(), early())


async def test_a_timeout_in_the_code_passes_while_a_further_attempt_runs(site: WorkersInMemory) -> None:
    await site.add(has_a_timeout)
    run = await site.result(site.client.start(has_a_timeout, id="run"))

    await site.pass_time(65)

    assert attempts == ["early", "early"]
    assert (await site.result(run.describe())).status == "completed"
    assert await site.result(run.result()) == "given up"


class SetBack:
    """A worker's view of the server's time, which may be a little behind after a reconnect."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.behind_ms = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._clock, name)

    def now_ms(self) -> int:
        return self._clock.now_ms() - self.behind_ms

    def ms_at(self, elapsed_s: float) -> int:
        return self._clock.ms_at(elapsed_s) - self.behind_ms


async def test_a_timeout_passes_although_its_alarm_came_too_early(
    site: WorkersInMemory, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker = await site.add(has_a_timeout)
    clock = SetBack(worker.door.clock)
    monkeypatch.setattr(worker.door, "clock", clock)
    run = await site.result(site.client.start(has_a_timeout, id="run"))
    await site.pass_time(30)

    clock.behind_ms = 3
    await site.pass_time(35)

    assert (await site.result(run.describe())).status == "completed"


async def test_a_second_retry_does_not_wait_for_the_first_ones_end(site: WorkersInMemory) -> None:
    await site.add(has_two)
    await site.result(site.client.start(has_two, id="run"))

    await site.pass_time(5)

    assert attempts == ["early", "late", "early", "late"]


@pytest.mark.parametrize("chosen", [has_two, parks_beside_a_step], ids=lambda one: one.name)
async def test_the_runs_own_time_passes_meanwhile(site: WorkersInMemory, chosen: Workflow[[], None]) -> None:
    await site.add(chosen)
    run = await site.result(site.client.start(chosen, id="run", timeout=60))

    await site.pass_time(65)

    assert (await site.result(run.describe())).status == "timed_out"


def nobody(worker: str) -> list[MemoryDoor]:
    return []


async def test_a_run_whose_further_attempt_is_under_way_is_not_one_that_waits(
    site: WorkersInMemory, monkeypatch: pytest.MonkeyPatch
) -> None:
    owner = await site.add(has_a_timeout)
    run = await site.result(site.client.start(has_a_timeout, id="run"))
    await site.pass_time(5)
    assert (await site.result(run.describe())).status == "running"
    monkeypatch.setattr(site.server.exchange, "listeners", nobody)  # Its connection blinks.
    await site.add(has_a_timeout)
    owner.host._wakes["default"].add_places(-1000)  # pyright: ignore[reportPrivateUsage]

    await site.result(run.signal("unheard"))
    await site.pass_time(0.5)
    monkeypatch.undo()
    await site.pass_time(5)

    assert attempts == ["early", "early"]
    assert {one.owner for one in site.turns("run")} == {"worker-1"}


@workflow
async def continues_at_once(ctx: WorkflowContext, history: int) -> None:
    ctx.log.info("begins", history=history)
    if history == 1:
        ctx.continue_as_new(2)


async def test_a_run_that_continues_at_once_writes_the_lines_of_both_histories(site: WorkersInMemory) -> None:
    await site.add(continues_at_once)
    with capture_logs() as lines:
        run = await site.result(site.client.start(continues_at_once, 1, id="run"))
        await site.result(run.result())
        await site.pass_time(5)

    assert [one["history"] for one in lines if one["event"] == "begins"] == [1, 2]
