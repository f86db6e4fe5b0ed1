"""The time of a turn: it never goes back, and the server's word that a timer is due counts more than a clock."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from msgspec import Raw

from relight import WorkflowContext, workflow
from relight.actors.run.draft import Draft
from relight.actors.run.state import fold
from relight.sdk._execution import Launcher
from relight.sdk._programs import WorkflowPrograms
from relight.subjects import messages as m
from relight.subjects import records as r
from relight.subjects.turn import GENESIS, VERSION, Turn

NOON_MS = 1_767_268_800_000
HOUR_MS = 3_600_000


@workflow
async def naps(ctx: WorkflowContext) -> int:
    await ctx.sleep(60)
    return round(ctx.now().timestamp() * 1000)


@pytest.fixture
def draft() -> Iterator[Draft]:
    """The next turn of a run that began at noon and sleeps for a minute."""
    launcher = Launcher(threads=1, interceptors=(), sender=None)
    started = r.RunStarted("naps", "default")
    records: list[r.Record] = [started, r.TimerArmed(1, NOON_MS + 60_000)]
    program = WorkflowPrograms([naps], launcher, code="code").create("run", started)
    draft = Draft(program, code="code", state=fold([(NOON_MS, records)]))
    draft.replay([turn_at(NOON_MS, records)])
    yield draft
    draft.program.close()
    launcher.close()


def turn_at(at_ms: int, records: list[r.Record]) -> Turn:
    return Turn(VERSION, 1, "w.1", "w", 1, 1, at_ms, GENESIS, tuple(records))


@pytest.mark.parametrize(
    ("now_ms", "at_ms"),
    [(NOON_MS - HOUR_MS, NOON_MS), (NOON_MS, NOON_MS), (NOON_MS + 5, NOON_MS + 5)],
    ids=["an hour behind", "the same", "later"],
)
def test_a_turn_is_not_earlier_than_the_one_before_it_whatever_the_clock_says(
    draft: Draft, now_ms: int, at_ms: int
) -> None:
    draft.begin_at(now_ms)

    assert draft.at_ms == at_ms


def test_a_draft_keeps_its_time_once_it_has_a_record(draft: Draft) -> None:
    draft.begin_at(NOON_MS + 5)
    draft.take_message(m.Signal(name="go"), cursor=1)

    draft.begin_at(NOON_MS + 10)

    assert draft.at_ms == NOON_MS + 5


@pytest.mark.parametrize("behind_ms", [1, HOUR_MS])
def test_a_timer_that_the_server_calls_due_fires_although_the_workers_clock_is_behind(
    draft: Draft, behind_ms: int
) -> None:
    due_ms = NOON_MS + 60_000
    draft.begin_at(due_ms - behind_ms)

    draft.take_message(m.TimerDue(timer=0, due_ms=due_ms), cursor=1)
    draft.take_time()

    assert draft.at_ms == due_ms
    assert draft.records == [r.TimerFired(1), r.RunCompleted(Raw(str(due_ms).encode()))]


def test_a_timer_message_that_comes_late_does_not_set_the_time_back(draft: Draft) -> None:
    draft.begin_at(NOON_MS + HOUR_MS)

    draft.take_message(m.TimerDue(timer=0, due_ms=NOON_MS + 60_000), cursor=1)

    assert draft.at_ms == NOON_MS + HOUR_MS
