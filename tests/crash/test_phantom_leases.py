"""Deliveries that others have acknowledged while a worker was stopped: as a lease they would be worth nothing."""

from __future__ import annotations

import asyncio
from typing import Any, cast

from tests.crash.deadly import dies_before
from tests.crash.workers_in_memory import MemoryWorker, WorkersInMemory, workers_in_memory

from relight import WorkflowContext, step, workflow
from relight.actors.door import Door, Stored
from relight.config.limits import LIMITS
from relight.subjects.records import RESUMED, Claimed

_gate = asyncio.Event()
_executed: list[str] = []


@step
async def work() -> str:
    _executed.append("work")
    await _gate.wait()
    return "done"


@workflow
async def works_after_two_signals(ctx: WorkflowContext) -> str:
    for _ in range(2):
        await ctx.wait_for_signal("go", type=int)
    return await work()


class _StoppingDoor:
    """A door that stops its process when it has looked at the end of a journal."""

    def __init__(self, worker: MemoryWorker) -> None:
        self._worker = worker
        self._is_to_stop = True

    def __getattr__(self, name: str) -> Any:
        return getattr(self._worker.door, name)

    async def last(self, subject: str) -> Stored | None:
        found = await self._worker.door.last(subject)
        if self._is_to_stop:
            self._is_to_stop = False
            self._worker.door.process.stop()
            await self._worker.door.process.travel()
        return found


async def _waiting_run(site: WorkersInMemory) -> Any:
    """A run that waits and that no living worker has."""
    global _gate
    _gate = asyncio.Event()
    _executed.clear()
    owner = await site.add(works_after_two_signals)
    run = await site.client.start(works_after_two_signals)
    await site.until(lambda: len(site.turns(run.id)) == 1)
    await site.pass_time(2 * LIMITS.linger_s)
    owner.kill()
    return run


async def _is_tried_in_vain(site: WorkersInMemory, run: Any) -> None:
    """Have a worker die with a message that leads to no record, and another one say that it lives."""
    dying = await site.add(works_after_two_signals)
    await run.signal("go", 1, id="one")
    await dies_before(site, dying, "ack")
    worker = await site.add(works_after_two_signals)
    await site.pass_time(60)
    worker.kill()
    assert site.turns(run.id)[-1].records == (Claimed(RESUMED),)


async def _others_acknowledge_all(site: WorkersInMemory, run: Any) -> None:
    """Let others take what the stopped worker has not acknowledged, until nothing is left; then they die."""
    # Two, because each second message goes to the stopped one's pull if there is only one beside it.
    others = [await site.add(works_after_two_signals) for _ in range(2)]
    while site.server.unacknowledged(site.client.subjects.wake("*", run.id)):
        await site.pass_time(LIMITS.ack_wait_s)
    for worker in others:
        worker.kill()


async def _dies_with_the_run(site: WorkersInMemory, worker: MemoryWorker, run: Any) -> str:
    """Kill the worker in the step, and return what becomes of the run at another one."""
    await site.until(lambda: "work" in _executed)
    await site.pass_time(1)
    worker.kill()
    _gate.set()
    await site.add(works_after_two_signals)
    result: str = await site.result(run.result())
    return result


async def test_a_wake_that_lay_in_the_socket_of_a_stopped_worker_does_not_become_its_lease() -> None:
    async with workers_in_memory() as site:
        run = await _waiting_run(site)
        stopped = await site.add(works_after_two_signals)
        stopped.door.process.stop()
        await run.signal("go", 1)
        await _others_acknowledge_all(site, run)

        await run.signal("go", 2)
        stopped.door.process.resume()

        assert await _dies_with_the_run(site, stopped, run) == "done"
        assert _executed == ["work", "work"]


async def test_a_worker_that_was_stopped_while_it_decided_on_a_wake_asks_for_a_fresh_lease() -> None:
    async with workers_in_memory() as site:
        run = await _waiting_run(site)
        first = await site.add(works_after_two_signals)
        await run.signal("go", 1, id="one")
        await site.until(lambda: len(site.turns(run.id)) == 2)
        await run.pause()
        await site.pass_time(2 * LIMITS.linger_s)
        first.kill()
        await _is_tried_in_vain(site, run)
        stopped = await site.add(works_after_two_signals)
        stopped.host._ownership._door = cast("Door", _StoppingDoor(stopped))  # pyright: ignore[reportPrivateUsage]
        await run.signal("go", 1, id="one")  # Again: it counts once, and leads to no record.
        await site.until(lambda: stopped.door.process.is_stopped)
        turns = len(site.turns(run.id))
        await _others_acknowledge_all(site, run)
        assert len(site.turns(run.id)) == turns

        await run.unpause()
        await run.signal("go", 2)
        stopped.door.process.resume()

        assert await _dies_with_the_run(site, stopped, run) == "done"
        assert _executed == ["work", "work"]
