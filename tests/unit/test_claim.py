"""What a take-over records before any code is executed, case by case."""

from __future__ import annotations

import pytest

from relight.actors.run.claim import claim
from relight.actors.run.state import fold
from relight.subjects import records as r
from relight.subjects.turn import GENESIS, Turn

WAITS: tuple[r.Record, ...] = (r.RunStarted(workflow="w", queue="q"), r.Suspended(1, "go"))
CLAIMED = (*WAITS, r.Claimed("owner_gone", deaths=1))
RESTED = (*WAITS, r.Claimed(r.RESUMED))
QUARANTINED = (*CLAIMED, r.Parked("quarantined", "no"))
WORKS: tuple[r.Record, ...] = (r.RunStarted(workflow="w", queue="q"), r.StepScheduled("s#1", "s"))
COPIED = (*WORKS, r.Parked(r.FORKED, "its code goes on from here"))


@pytest.mark.parametrize(
    ("records", "cause", "delivered", "expected"),
    [
        (WAITS, "handed_over", 1, None),
        (WAITS, "owner_gone", 1, None),
        (WAITS, "handed_over", 2, r.Claimed("handed_over", deaths=1)),
        (WAITS, None, 2, r.Claimed(r.RESUMED, deaths=1)),
        (CLAIMED, "owner_gone", 1, r.Claimed("owner_gone", deaths=2)),
        (CLAIMED, "owner_silent", 1, r.Claimed("owner_silent", deaths=2)),
        (CLAIMED, "handed_over", 1, None),
        (CLAIMED, "handed_over", 2, r.Claimed("handed_over", deaths=1)),
        (CLAIMED, None, 2, None),
        (RESTED, "owner_gone", 1, None),
        (RESTED, "owner_gone", 2, r.Claimed("owner_gone", deaths=1)),
        (QUARANTINED, "owner_gone", 2, None),
        (WORKS, "owner_gone", 1, r.Claimed("owner_gone", deaths=1)),
        (WORKS, "handed_over", 1, r.Claimed("handed_over")),
        (COPIED, "forked", 1, None),
        (COPIED, "forked", 2, r.Claimed("forked", deaths=1)),
        (WORKS, None, 1, r.Claimed(r.RESUMED)),
    ],
)
def test_a_death_is_counted_where_nobody_is_known_to_live_who_had_it(
    records: tuple[r.Record, ...], cause: str | None, delivered: int, expected: r.Claimed | None
) -> None:
    assert claim(fold([(1, records)]), _turn(records), cause, delivered=delivered) == expected


def _turn(records: tuple[r.Record, ...]) -> Turn:
    return Turn(
        v=1, number=1, append="a", owner="w", epoch=1, lease=1, at_ms=1, previous=GENESIS, records=records, cursor=0
    )


@pytest.mark.parametrize(("not_before_ms", "deaths"), [(5_000, 0), (1_000, 2)])
def test_deaths_before_a_delayed_start_could_begin_do_not_count_against_its_code(
    not_before_ms: int, deaths: int
) -> None:
    started = r.RunStarted("w", "q", not_before_ms=not_before_ms)

    state = fold([(1_000, (started, r.Claimed("owner_gone", 2))), (5_000, (r.Unparked("delay"),))])

    assert state.deaths == deaths
