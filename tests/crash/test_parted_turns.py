"""A worker that dies between two parts of a turn has not consumed what only the later ones would have told."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Literal

import pytest
from tests.crash.workers_in_memory import MemoryWorker, WorkersInMemory

from relight import WorkflowContext, step, workflow
from relight.actors.run.parting import Consumed, cuts_of
from relight.config.limits import KIB, LIMITS
from relight.subjects import records as r
from relight.subjects.turn import Turn
from relight.testing.memory import Faults, MemoryDoor, Operation, Outcome

TEXT = "x" * 60 * KIB
"""Small enough to be part of its record."""

launched: list[int] = []
first, others = asyncio.Event(), asyncio.Event()


@pytest.fixture(autouse=True)
def fresh() -> None:
    global first, others
    first, others = asyncio.Event(), asyncio.Event()
    launched.clear()


def killing(
    site: WorkersInMemory, worker: MemoryWorker, when: Callable[[Turn], bool]
) -> Callable[[MemoryDoor, Operation, Literal["before", "after"]], None]:
    """Kill the worker when it has written such a turn."""

    def hook(door: MemoryDoor, operation: Operation, now: Literal["before", "after"]) -> None:
        is_append = door is worker.door and operation.name == "publish" and ".log." in operation.subject
        if is_append and now == "after" and when(site.turns("run")[-1]):
            site.server.on_operation = None
            worker.kill()

    return hook


@step
async def large(number: int) -> str:
    launched.append(number)
    await (others if number else first).wait()
    return TEXT


@workflow
async def fans_out(ctx: WorkflowContext) -> list[str]:
    await asyncio.gather(*(large(number) for number in range(12)))
    return [(await ctx.wait_for_signal("go", type=str))[:2] for _ in range(3)]


async def test_of_signals_that_came_with_many_results_none_is_lost_and_none_comes_twice(site: WorkersInMemory) -> None:
    worker = await site.add(fans_out)
    run = await site.result(site.client.start(fans_out, id="run"))
    await site.until(lambda: len(launched) == 12)
    await site.pass_time(1)
    # Of the first result's append nothing is heard; meanwhile all else comes, and is one turn.
    lost: list[Operation] = []

    def outcome(operation: Operation) -> Outcome:
        if ".log." in operation.subject and not lost:
            lost.append(operation)
            return "lost"
        return "known"

    site.server.faults = Faults(outcome=outcome)
    site.server.on_operation = killing(
        site, worker, lambda turn: {r.StepCompleted, r.SignalReceived} <= {type(one) for one in turn.records}
    )
    first.set()
    await site.passes(lambda: bool(lost))
    others.set()
    for number in range(3):
        await site.result(run.signal("go", f"{number:02}{TEXT}"))
    await site.until(lambda: site.server.on_operation is None)
    assert len(site.records("run", r.SignalReceived)) == 1

    await site.add(fans_out)

    assert await site.result(run.result()) == ["00", "01", "02"]
    assert len(site.records("run", r.SignalReceived)) == 3


@workflow
async def goes_on(ctx: WorkflowContext, history: int) -> int:
    if history == 1:
        await large(1)
        ctx.continue_as_new(2)
    return len([await ctx.wait_for_signal("go", type=str) for _ in range(20)])


async def test_what_came_during_a_pause_and_is_too_much_for_a_new_history_parks_the_run(site: WorkersInMemory) -> None:
    await site.add(goes_on)
    run = await site.result(site.client.start(goes_on, 1, id="run"))
    await site.until(lambda: bool(launched))
    await site.result(run.pause())
    await site.pass_time(1)
    others.set()
    for _ in range(20):
        await site.result(run.signal("go", TEXT))

    await site.result(run.unpause())
    await site.pass_time(2)

    [waits_for] = (await site.result(run.describe())).waits_for
    assert "came while it was parked or paused" in waits_for
    assert len(site.records("run", r.SignalReceived)) == 20


def test_the_records_of_one_message_stay_together() -> None:
    records = [r.StepCompleted(f"s#{number}", r.NULL, 1) for number in range(10)]

    parted = cuts_of(records, 2 * KIB + 200, [Consumed(1, 9, 7)])

    assert parted == [1, 9, 10]


def test_a_turn_of_one_message_is_not_parted() -> None:
    records = [r.StepCompleted(f"s#{number}", r.NULL, 1) for number in range(3)]

    assert cuts_of(records, LIMITS.turn_bytes_max, [Consumed(0, 3, 7)]) == [3]
    assert cuts_of(records, LIMITS.turn_bytes_max, []) == [1, 3]
