"""Many wakes of one run at a worker that does not own it: one look at the journal serves them all."""

from __future__ import annotations

import asyncio
from typing import Any, cast

from tests.crash.workers_in_memory import MemoryWorker, workers_in_memory

from relight import WorkflowContext, workflow
from relight.actors.door import Door, Stored

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
