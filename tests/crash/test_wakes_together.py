"""Many wakes of one run at a worker that does not own it: one look at the journal serves them all."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import pytest
from tests.crash.replays import replayed_pages
from tests.crash.workers_in_memory import MemoryWorker, workers_in_memory

from relight import WorkflowContext, step, workflow
from relight.actors.arrival import Arrival
from relight.actors.door import Door, Stored
from relight.config.limits import LIMITS
from relight.subjects.records import SignalAwaited, SignalReceived, StepScheduled

_COUNT = 60


@workflow
async def collects(ctx: WorkflowContext) -> list[int]:
    return [await ctx.wait_for_signal("number", type=int) for _ in range(_COUNT)]


class _CountingDoor:
    """A door that counts the looks at the ends of journals."""

    def __init__(self, door: Door) -> None:
        self._door = door
        self.looks = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._door, name)

    async def last(self, subject: str) -> Stored | None:
        self.looks += 1
        return await self._door.last(subject)


def _count_looks(worker: MemoryWorker) -> _CountingDoor:
    door = _CountingDoor(worker.door)
    worker.host._ownership._door = cast("Door", door)  # pyright: ignore[reportPrivateUsage]
    return door


async def test_wakes_that_come_together_to_another_worker_are_handed_to_the_owner_after_one_look() -> None:
    async with workers_in_memory() as site:
        owner = await site.add(collects)
        run = await site.client.start(collects)
        await site.until(lambda: len(site.turns(run.id)) == 1)
        other = _count_looks(await site.add(collects))

        await asyncio.gather(*(run.signal("number", number) for number in range(_COUNT)))
        result = await site.result(run.result())

        assert result == list(range(_COUNT))
        assert {turn.owner for turn in site.turns(run.id)} == {owner.host.worker}
        assert 1 <= other.looks <= 3


async def test_wakes_that_come_together_after_their_owner_died_are_taken_over_after_one_look() -> None:
    async with workers_in_memory() as site:
        owner = await site.add(collects)
        run = await site.client.start(collects)
        await site.until(lambda: len(site.turns(run.id)) == 1)
        heir = await site.add(collects)
        looks = _count_looks(heir)
        owner.kill()

        await asyncio.gather(*(run.signal("number", number) for number in range(_COUNT)))
        result = await site.result(run.result())

        assert result == list(range(_COUNT))
        assert {turn.owner for turn in site.turns(run.id)} == {owner.host.worker, heir.host.worker}
        assert 1 <= looks.looks <= 3


@workflow
async def adds_and_waits(ctx: WorkflowContext) -> int:
    return await quick() + await ctx.wait_for_signal("number", type=int)


async def test_a_run_that_rests_does_not_wait_for_an_owner_who_is_stopped_although_its_last_turn_has_a_step() -> None:
    async with workers_in_memory() as site:
        owner = await site.add(adds_and_waits)
        run = await site.client.start(adds_and_waits)
        await site.until(lambda: bool(site.records(run.id, SignalAwaited)))
        assert any(isinstance(one, StepScheduled) for one in site.turns(run.id)[-1].records)
        await site.pass_time(10 * LIMITS.linger_s)
        owner.door.stop()
        heir = await site.add(adds_and_waits)

        await run.signal("number", 1)
        await site.pass_time(2 * LIMITS.ack_wait_s)

        assert site.turns(run.id)[-1].owner == heir.host.worker
        assert await site.result(run.result()) == 2


@step
async def quick() -> int:
    return 1


_may_go_on: list[asyncio.Event] = []


@step
async def works_on() -> None:
    await _may_go_on[-1].wait()


@workflow
async def works_and_collects(ctx: WorkflowContext) -> list[int]:
    for _ in range(4):
        await quick()
    await works_on()
    return [await ctx.wait_for_signal("number", type=int) for _ in range(_COUNT)]


async def test_what_comes_while_the_owner_has_long_been_at_a_step_reaches_it_and_nobody_else_reads_the_history(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    _may_go_on.append(asyncio.Event())
    readings: list[str] = []
    enter = Arrival.__enter__

    def counted(arrival: Arrival) -> Arrival:
        readings.append(arrival.run)
        return enter(arrival)

    monkeypatch.setattr(Arrival, "__enter__", counted)
    async with workers_in_memory() as site:
        owner = await site.add(works_and_collects)
        run = await site.client.start(works_and_collects)
        await site.until(lambda: len(site.records(run.id, StepScheduled)) == 5)
        await site.pass_time(3 * LIMITS.linger_s)
        other = _count_looks(await site.add(works_and_collects))

        await asyncio.gather(*(run.signal("number", number) for number in range(_COUNT)))
        await site.until(lambda: other.looks > 0)
        await site.passes()
        _may_go_on[-1].set()
        result = await site.result(run.result())

        assert result == list(range(_COUNT))
        assert {turn.owner for turn in site.turns(run.id)} == {owner.host.worker}
        assert not readings


async def test_nor_does_anybody_replay_it_in_vain_where_only_the_history_says_that_the_owner_is_at_a_step(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    _may_go_on.append(asyncio.Event())
    replays = replayed_pages(monkeypatch, turns=1)
    async with workers_in_memory() as site:
        owner = await site.add(works_and_collects)
        run = await site.client.start(works_and_collects)
        await site.until(lambda: len(site.records(run.id, StepScheduled)) == 5)
        await run.signal("number", 0)
        await site.until(lambda: bool(site.records(run.id, SignalReceived)))
        await site.pass_time(3 * LIMITS.linger_s)
        other = _count_looks(await site.add(works_and_collects))

        await asyncio.gather(*(run.signal("number", number) for number in range(1, _COUNT)))
        await site.until(lambda: other.looks > 0)
        await site.passes()
        _may_go_on[-1].set()

        assert sorted(await site.result(run.result())) == list(range(_COUNT))
        assert {turn.owner for turn in site.turns(run.id)} == {owner.host.worker}
        assert not replays


async def test_what_comes_after_the_owner_died_at_a_step_waits_for_its_lease_and_nobody_replays_in_vain(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    _may_go_on.append(asyncio.Event())
    replays = replayed_pages(monkeypatch, turns=1)
    async with workers_in_memory() as site:
        owner = await site.add(works_and_collects)
        run = await site.client.start(works_and_collects)
        await site.until(lambda: len(site.records(run.id, StepScheduled)) == 5)
        turns = len(site.turns(run.id))
        owner.kill()
        await site.add(works_and_collects)

        await asyncio.gather(*(run.signal("number", number) for number in range(_COUNT)))
        await site.pass_time(LIMITS.ack_wait_s / 2)
        in_vain = list(replays)
        _may_go_on[-1].set()

        assert await site.result(run.result()) == list(range(_COUNT))
        assert in_vain == []
        assert replays == [1] * turns
