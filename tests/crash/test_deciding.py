"""Who may put in only one message decides on what the run will have become, also beside those who send many."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from tests.crash.workers_in_memory import WorkersInMemory

from relight import AlreadyAnsweredError, RefusedError, Retry, WorkflowContext, step, workflow
from relight.actors.door import Door, Stored
from relight.actors.letters import Letterbox
from relight.subjects import messages as m
from relight.subjects import records as r
from relight.subjects.codec import encode

_UNREAD = 50


@step(retry=Retry(attempts=1), on_exhausted="park")
async def charge() -> str:
    raise ValueError("no money")


@workflow
async def pays(ctx: WorkflowContext) -> str:
    return await charge()


@workflow
async def asks(ctx: WorkflowContext) -> str:
    return await ctx.suspend("question", type=str)


@workflow(name="asks")
async def asks_otherwise(ctx: WorkflowContext) -> str:
    return await ctx.suspend("another question", type=str)


class _BusyDoor:
    """Something happens before each of the first messages that are put in; what is read is counted."""

    def __init__(self, door: Door, happenings: list[Callable[[], Awaitable[object]]]) -> None:
        self._door = door
        self._happenings = happenings
        self.read_messages = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._door, name)

    async def publish(self, subject: str, data: bytes, **fence: Any) -> int:
        if self._happenings:
            await self._happenings.pop(0)()
        return await self._door.publish(subject, data, **fence)

    async def read(self, subject: str, *, after: int, limit: int) -> list[Stored]:
        found = await self._door.read(subject, after=after, limit=limit)
        self.read_messages += len(found)
        return found


async def test_an_answer_gets_in_beside_signals_that_keep_coming(site: WorkersInMemory) -> None:
    run = await site.result(site.client.start(asks, id="run"))
    for _ in range(_UNREAD):
        await site.result(run.signal("news"))
    busy: Any = _BusyDoor(site.client.door, [lambda: run.signal("more news")] * 5)
    letterbox = Letterbox(busy, site.client.subjects, "run")

    await site.result(letterbox.post_once(m.Answer(name="question", data=r.NULL), "question"))

    assert busy.read_messages <= _UNREAD + 5
    with pytest.raises(AlreadyAnsweredError):
        await site.result(run.resume("question", "no"))


@pytest.mark.parametrize("is_purged", [False, True])
async def test_an_answer_that_was_consumed_meanwhile_still_counts(site: WorkersInMemory, is_purged: bool) -> None:
    run = await site.result(site.client.start(asks, id="run"))
    await site.result(run.signal("news"))

    async def somebody_else_answers() -> None:
        await run.resume("question", "yes")
        await site.add(asks)
        while not site.records("run", r.RunCompleted, r.AnswerReceived):
            await asyncio.sleep(0)
        if is_purged:
            await site.client.door.purge(site.client.subjects.wake("default", "run"))

    busy: Any = _BusyDoor(site.client.door, [somebody_else_answers])
    letterbox = Letterbox(busy, site.client.subjects, "run")

    with pytest.raises(RefusedError, match=r"answered already|has ended"):
        await site.result(letterbox.post_once(m.Answer(name="question", data=r.NULL), "question"))

    assert await site.result(run.result()) == "yes"


async def test_of_two_decisions_on_a_parked_run_the_second_is_refused(site: WorkersInMemory) -> None:
    worker = await site.add(pays)
    run = await site.result(site.client.start(pays, id="run"))
    await site.until(lambda: bool(site.records("run", r.Parked)))
    worker.kill()

    await site.result(run.resolve("charge", result="ann has paid"))

    with pytest.raises(RefusedError, match="what is unread in its mailbox decides that already"):
        await site.result(run.resolve("charge", error="bob has not"))
    with pytest.raises(RefusedError, match="what is unread in its mailbox decides that already"):
        await site.result(run.retry())
    await site.add(pays)
    assert await site.result(run.result()) == "ann has paid"


async def test_of_two_decisions_at_once_one_is_refused(site: WorkersInMemory) -> None:
    worker = await site.add(pays)
    run = await site.result(site.client.start(pays, id="run"))
    await site.until(lambda: bool(site.records("run", r.Parked)))
    worker.kill()

    decisions = [run.resolve("charge", result=who) for who in ("ann", "bob")]
    outcomes = await site.result(asyncio.gather(*decisions, return_exceptions=True))

    assert sorted(type(one).__name__ for one in outcomes) == ["NoneType", "RefusedError"]


async def test_a_worker_that_offers_itself_to_a_stuck_run_decides_nothing(site: WorkersInMemory) -> None:
    """Nobody but that worker knows whether its code is another one."""
    first = await site.add(asks)
    run = await site.result(site.client.start(asks, id="run"))
    await site.until(lambda: bool(site.records("run", r.Suspended)))
    first.kill()
    second = await site.add(asks_otherwise, code="new")
    await site.result(run.signal("news"))
    await site.until(lambda: bool(site.records("run", r.Parked)))
    second.kill()
    offer = encode(m.NewCode(code="new"))
    await site.result(site.client.door.publish(site.client.subjects.wake("default", "run"), offer))

    await site.result(run.retry())

    await site.add(asks)
    await site.result(run.resume("question", "yes"))
    assert await site.result(run.result()) == "yes"
