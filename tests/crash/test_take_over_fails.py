"""A take-over that does not come to its end leaves nothing behind in the worker."""

from __future__ import annotations

import gc
from typing import Any, cast

import pytest
from tests.crash.workers_in_memory import MemoryWorker, WorkersInMemory, workers_in_memory
from tests.crash.workflows import LARGE

from relight import Run, WorkflowContext, workflow
from relight.actors import journal
from relight.actors.door import Door, Stored
from relight.config.limits import LIMITS
from relight.errors import UnavailableError

_left: list[str] = []


@workflow
async def waits_for_go(ctx: WorkflowContext) -> str:
    try:
        await ctx.wait_for_signal("go", type=int)
    finally:
        _left.append("left")
    return "gone"


class _Door:
    def __init__(self, worker: MemoryWorker) -> None:
        self._worker = worker
        self.failures: int = 0
        self.is_mended = False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._worker.door, name)


class _UnavailableDoor(_Door):
    """A door that can't read a large value, once."""

    async def last(self, subject: str) -> Stored | None:
        if ".M." in subject and self.failures == 0:
            self.failures += 1
            raise UnavailableError("no leader")
        return await self._worker.door.last(subject)


async def _taken_over_by(site: WorkersInMemory, kind: type[_Door]) -> tuple[Run[str], _Door]:
    """Return a run that waited, was left by its owner and sent what it waits for, and the door of who takes it over."""
    owner = await site.add(waits_for_go)
    run = await site.client.start(waits_for_go)
    await site.until(lambda: len(site.turns(run.id)) == 1)
    await run.signal("unread", "x" * LARGE)
    await site.until(lambda: len(site.turns(run.id)) == 2)
    await site.pass_time(2 * LIMITS.linger_s)
    owner.kill()
    await run.signal("go", 1)
    await site.pass_time(LIMITS.ack_wait_s)  # From now on it is not new to anybody.
    worker = await site.add(waits_for_go)
    door = kind(worker)
    worker.host._ownership._entrance._door = cast("Door", door)  # pyright: ignore[reportPrivateUsage]
    worker.host.relights._door = cast("Door", door)  # pyright: ignore[reportPrivateUsage]
    return run, door


async def test_code_that_was_replayed_for_a_take_over_that_failed_never_runs_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(journal, "_PAGE_TURNS", 1)
    _left.clear()
    async with workers_in_memory() as site:
        run, door = await _taken_over_by(site, _UnavailableDoor)
        _left.clear()

        await site.until(lambda: door.failures == 1)
        await site.passes()
        gc.collect()

        assert _left == []
        assert await site.result(run.result()) == "gone"
        assert _left == ["left"]


class _BrokenDoor(_Door):
    """A door on which each turn fails, in a way that nobody foresaw."""

    async def publish(self, subject: str, data: bytes, **fence: Any) -> int:
        if ".log." in subject and not self.is_mended:
            self.failures += 1
            raise LookupError("nobody foresaw it")
        return await self._worker.door.publish(subject, data, **fence)


async def test_an_actor_that_fails_at_every_try_is_not_tried_hot() -> None:
    async with workers_in_memory() as site:
        run, door = await _taken_over_by(site, _BrokenDoor)

        await site.pass_time(900)
        tries, messages = door.failures, len(site.server.stream.every(site.client.subjects.wake("default", run.id)))
        door.is_mended = True
        await site.pass_time(2 * LIMITS.nak_delay_max_s)

        assert 1 < tries < 100
        assert messages < 100
        assert await site.result(run.result()) == "gone"
