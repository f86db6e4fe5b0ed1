"""A step that ends the old history and a message for the new one come at the same moment."""

from __future__ import annotations

import asyncio
from typing import Any, cast

from tests.crash.workers_in_memory import workers_in_memory

from relight import WorkflowContext, step, workflow
from relight.actors.door import Door
from relight.subjects import records as r

_gate = asyncio.Event()


@step
async def work(part: str) -> str:
    await _gate.wait()
    return part


@workflow
async def collects(ctx: WorkflowContext, heard: str) -> str:
    if not heard:
        ctx.continue_as_new(await work("worked"))
    return f"{heard}, {await ctx.wait_for_signal('word', type=str)}"


class _SlowDoor:
    """A door whose appends to journals are acknowledged when the test lets them."""

    def __init__(self, door: Door) -> None:
        self._door = door
        self.lets = asyncio.Event()
        self.lets.set()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._door, name)

    async def publish(self, subject: str, data: bytes, **options: Any) -> int:
        sequence = await self._door.publish(subject, data, **options)
        await self.lets.wait()
        return sequence


async def test_a_message_that_comes_with_the_last_step_of_a_history_is_for_the_code_of_the_next_one() -> None:
    global _gate
    _gate = asyncio.Event()
    async with workers_in_memory() as site:
        worker = await site.add(collects)
        door = _SlowDoor(worker.door)
        worker.host._ownership._entrance._door = cast("Door", door)  # pyright: ignore[reportPrivateUsage]
        run = await site.client.start(collects, "")
        await site.until(lambda: len(site.turns(run.id)) == 1)
        await site.passes()

        door.lets.clear()
        await run.signal("noise")
        await site.until(lambda: len(site.turns(run.id)) == 2)
        _gate.set()
        await run.signal("word", "said")
        await site.passes()
        door.lets.set()
        result = await site.result(run.result())

        assert result == "worked, said"
        kinds = [type(record) for record in site.records(run.id)]
        assert kinds.index(r.SignalAwaited) < kinds.index(r.SignalReceived, kinds.index(r.RunStarted))


@step
async def count() -> None:
    pass


@workflow
async def goes_on_and_on(ctx: WorkflowContext, number: int) -> int:
    if number == 0:
        await ctx.wait_for_signal("go", type=object)
    await count()
    if number < 4:
        ctx.continue_as_new(number + 1)
    return number


async def test_a_large_signal_that_is_carried_along_holds_nothing_up() -> None:
    async with workers_in_memory() as site:
        await site.add(goes_on_and_on)
        run = await site.result(site.client.start(goes_on_and_on, 0))
        await site.result(run.signal("unread", "x" * 200_000))

        await site.result(run.signal("go"))
        for _ in range(500):  # In no time.
            await site.passes()

        assert site.records(run.id, r.RunCompleted)
