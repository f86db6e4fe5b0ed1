"""Who looked at an empty mailbox and puts his message in late is told whether it counts: the fence alone can't tell.

Between the two another one was put in, consumed, and removed: the mailbox is as empty as it was.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from msgspec import Raw
from tests.crash.workers_in_memory import WorkersInMemory

from relight import AlreadyAnsweredError, RefusedError, Retry, Run, Workflow, WorkflowContext, step, workflow
from relight.actors.door import Door
from relight.actors.letters import Letterbox
from relight.actors.retire import retire
from relight.errors import RunEndedError, RunNotFoundError
from relight.subjects import messages as m
from relight.subjects import records as r

_YES = m.Answer(name="question", data=Raw(b'"yes"'))


@step(retry=Retry(attempts=1), on_exhausted="park")
async def charge() -> str:
    raise ValueError("no money")


@workflow
async def pays(ctx: WorkflowContext) -> str:
    return await charge()


@workflow
async def asks(ctx: WorkflowContext) -> str:
    return await ctx.suspend("question", type=str)


@workflow
async def asks_on(ctx: WorkflowContext) -> str:
    return await ctx.suspend("question", type=str) + await ctx.suspend("rest", type=str)


class _LateDoor:
    """Something happens before, or after, the first message that is put in. Looks for the next message are counted."""

    def __init__(
        self,
        door: Door,
        before: Callable[[], Awaitable[object]] | None = None,
        after: Callable[[], Awaitable[object]] | None = None,
    ) -> None:
        self._door = door
        self._before = before
        self._after = after
        self.looks = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._door, name)

    async def publish(self, subject: str, data: bytes, **fence: Any) -> int:
        before, self._before = self._before, None
        if before is not None:
            await before()
        sequence = await self._door.publish(subject, data, **fence)
        after, self._after = self._after, None
        if after is not None:
            await after()
        return sequence

    async def next(self, subject: str, *, after: int) -> Any:
        self.looks += 1
        return await self._door.next(subject, after=after)


def _letterbox(site: WorkersInMemory, door: _LateDoor) -> Letterbox:
    late: Any = door
    return Letterbox(late, site.client.subjects, "run")


async def _asking(site: WorkersInMemory, flow: Workflow[[], str]) -> Run[str]:
    """Return a run that waits for an answer."""
    await site.add(flow)
    run = await site.result(site.client.start(flow, id="run"))
    await site.until(lambda: bool(site.records("run", r.Suspended)))
    return run


async def _passes(site: WorkersInMemory, has_happened: Callable[[], bool]) -> None:
    """The process that decides stands still meanwhile."""
    await site.passes(has_happened)
    assert has_happened()
    site.server.clock.advance(1)


async def _emptied(site: WorkersInMemory) -> None:
    await site.client.door.purge(site.client.subjects.wake("default", "run"))


async def test_a_second_answer_is_refused_although_the_first_was_removed(site: WorkersInMemory) -> None:
    run = await _asking(site, asks_on)

    async def another_one_answers() -> None:
        await run.resume("question", "yes")
        await _passes(site, lambda: bool(site.records("run", r.AnswerReceived)))
        await _emptied(site)

    late = _letterbox(site, _LateDoor(site.client.door, another_one_answers))
    with pytest.raises(AlreadyAnsweredError):
        await site.result(late.post_once(_YES, "question"))

    await site.result(run.resume("rest", "!"))
    assert await site.result(run.result()) == "yes!"


@pytest.mark.parametrize("is_retired", [False, True])
async def test_so_is_one_whose_run_has_ended_meanwhile(site: WorkersInMemory, is_retired: bool) -> None:
    run = await _asking(site, asks)

    async def another_one_answers() -> None:
        await run.resume("question", "yes")
        await _passes(site, lambda: bool(site.records("run", r.RunCompleted)))
        await _emptied(site)
        if is_retired:
            await retire(site.server.door("janitor"), site.client.subjects, "run")

    late = _letterbox(site, _LateDoor(site.client.door, another_one_answers))
    with pytest.raises(RunNotFoundError if is_retired else RunEndedError):
        await site.result(late.post_once(_YES, "question"))


async def test_so_is_one_whose_run_is_retired_before_it_is_judged_again(site: WorkersInMemory) -> None:
    run = await _asking(site, asks)

    async def another_one_answers() -> None:
        await run.resume("question", "yes")
        await _passes(site, lambda: bool(site.records("run", r.RunCompleted)))
        await _emptied(site)

    async def it_is_retired() -> None:
        await retire(site.server.door("janitor"), site.client.subjects, "run")

    late = _letterbox(site, _LateDoor(site.client.door, another_one_answers, it_is_retired))
    with pytest.raises(RunNotFoundError):
        await site.result(late.post_once(_YES, "question"))


async def test_a_second_decision_is_refused_although_the_first_was_removed(site: WorkersInMemory) -> None:
    await site.add(pays)
    run = await site.result(site.client.start(pays, id="run"))
    await site.until(lambda: bool(site.records("run", r.Parked)))

    async def another_one_decides() -> None:
        await run.resolve("charge", result="ann has paid")
        await _passes(site, lambda: bool(site.records("run", r.RunCompleted)))
        await _emptied(site)

    late = _letterbox(site, _LateDoor(site.client.door, another_one_decides))
    with pytest.raises(RefusedError, match="not parked"):
        await site.result(late.post_to_parked(m.Retry()))


async def test_so_is_a_second_unpause(site: WorkersInMemory) -> None:
    run = await _asking(site, asks)
    await site.result(run.pause())
    await site.until(lambda: bool(site.records("run", r.Paused)))
    await site.result(_emptied(site))

    async def another_one_unpauses() -> None:
        await run.unpause()
        await _passes(site, lambda: bool(site.records("run", r.Unpaused)))
        await _emptied(site)

    late = _letterbox(site, _LateDoor(site.client.door, another_one_unpauses))
    with pytest.raises(RefusedError, match="not paused"):
        await site.result(late.post_to_paused(m.Unpause()))


async def test_ones_own_answer_is_not_taken_for_that_of_another(site: WorkersInMemory) -> None:
    await _asking(site, asks)

    async def it_is_consumed() -> None:
        await _passes(site, lambda: bool(site.records("run", r.RunCompleted)))

    late = _letterbox(site, _LateDoor(site.client.door, after=it_is_consumed))
    await site.result(late.post_once(_YES, "question"))


async def test_an_answer_to_a_run_that_went_on_for_another_reason_counts(site: WorkersInMemory) -> None:
    run = await _asking(site, asks)

    async def it_is_told_something() -> None:
        await run.signal("news")
        await _passes(site, lambda: bool(site.records("run", r.SignalReceived)))
        await _emptied(site)

    late = _letterbox(site, _LateDoor(site.client.door, it_is_told_something))
    await site.result(late.post_once(_YES, "question"))
    await site.until(lambda: bool(site.records("run", r.AnswerReceived)))


async def test_an_answer_that_is_acknowledged_soon_costs_no_further_look(site: WorkersInMemory) -> None:
    await _asking(site, asks)
    door = _LateDoor(site.client.door)

    await site.result(_letterbox(site, door).post_once(_YES, "question"))

    assert door.looks == 0
