"""Calls of steps that are made and not awaited at once, and histories that are replayed with what they amount to."""

from __future__ import annotations

import asyncio
import weakref
from collections.abc import Sequence

from msgspec import Raw, structs

from relight import WorkflowContext, step, workflow
from relight.actors.run.draft import Draft
from relight.actors.run.state import fold
from relight.sdk._execution import Launcher
from relight.sdk._programs import WorkflowPrograms
from relight.subjects import records as r
from relight.subjects.turn import Turn
from relight.testing import TestEnvironment


@step
async def doubled(number: int) -> int:
    return 2 * number


@workflow
async def drops_calls(ctx: WorkflowContext) -> int:
    """Return how many of 200 calls that were cancelled before they began are still held."""
    seen: list[weakref.ref[object]] = []
    for number in range(200):
        call = doubled(number)
        seen.append(weakref.ref(call))
        call.close()
        del call
    return sum(one() is not None for one in seen)


@workflow
async def doubles_later(ctx: WorkflowContext) -> list[int]:
    calls = [doubled(number) for number in range(100)]
    return [await call for call in reversed(calls)] + await asyncio.gather(*map(doubled, range(100)))


@workflow
async def doubles_twice(ctx: WorkflowContext) -> int:
    return await doubled(await doubled(1))


async def test_calls_that_never_begin_do_not_pile_up() -> None:
    async with TestEnvironment([drops_calls]) as env:
        held = await (await env.start(drops_calls)).result()

    assert held <= 16


async def test_many_calls_may_be_made_first_and_awaited_in_another_order() -> None:
    async with TestEnvironment([doubles_later]) as env:
        run = await env.start(doubles_later)
        result = await run.result()
        await env.replay(run)

    assert result == [2 * number for number in reversed(range(100))] + [2 * number for number in range(100)]


def test_what_the_code_asks_for_beyond_a_history_is_in_its_next_turn() -> None:
    turns = _history_of_one_step()
    draft = _draft_after(turns)
    state = draft.state

    draft.replay(turns)
    draft.carry_on()

    assert not draft.is_behind
    assert draft.state is state
    assert draft.at_ms == 2_000
    assert [type(record) for record in draft.records] == [r.StepScheduled]


def test_what_came_while_a_run_was_parked_stays_deferred_wherever_its_pages_are_cut() -> None:
    started, completed = _history_of_one_step()
    between = [(r.SignalReceived("unread", Raw(b"1")),), (r.Parked("stuck", ""),), (r.Claimed("resumed"),)]
    turns = [started, *(structs.replace(completed, records=records) for records in between), completed]
    draft = _draft_after(turns)

    for turn in turns:
        draft.replay([turn])
    draft.carry_on()

    assert not draft.records


def _draft_after(turns: Sequence[Turn]) -> Draft:
    """The next turn behind these, which are still to be replayed."""
    programs = WorkflowPrograms([doubles_twice], Launcher(threads=1, interceptors=(), sender=None), code="")
    state = fold((turn.at_ms, turn.records) for turn in turns)
    return Draft(programs.create("one", _STARTED), code="", state=state)


def _history_of_one_step() -> Sequence[Turn]:
    """As it is when the worker died before it could append what follows from the step's outcome."""
    asked = r.StepScheduled("doubled#1", doubled.signature.digest((1,), {}))
    first = Turn(1, 1, "a", "w", 1, 1, 1_000, "", (_STARTED, asked))
    return (first, Turn(1, 2, "b", "w", 1, 1, 2_000, "", (r.StepCompleted("doubled#1", Raw(b"2")),)))


_STARTED = r.RunStarted("doubles_twice", "default")
