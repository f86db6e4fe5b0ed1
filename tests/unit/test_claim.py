"""What a take-over records before any code is executed, case by case."""

from __future__ import annotations

import pytest
from msgspec import Raw

from relight.actors.run.claim import claim_again, is_for_code
from relight.actors.run.state import fold
from relight.subjects import messages as m
from relight.subjects import records as r
from relight.subjects.turn import GENESIS, Turn

WAITS: tuple[r.Record, ...] = (r.RunStarted(workflow="w", queue="q"), r.Suspended(1, "go"))
CLAIMED = (*WAITS, r.Claimed("owner_gone", deaths=1))
PARKED = (*WAITS, r.Parked("stuck", "no"))


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
    ],
)
def test_a_death_is_counted_where_nobody_is_known_to_live_who_had_it(
    records: tuple[r.Record, ...], cause: str | None, delivered: int, expected: r.Claimed | None
) -> None:
    assert claim_again(fold([(1, records)]), _turn(records), cause, delivered=delivered) == expected


@pytest.mark.parametrize(
    ("records", "wake", "expected"),
    [
        (WAITS, m.Signal(name="one", data=Raw(b"1")), True),
        (WAITS, m.Relit(owner="w", epoch=1), False),
        (WAITS, m.TimerDue(timer=1, due_ms=1), False),
        (WAITS, None, True),
        (PARKED, m.Signal(name="one", data=Raw(b"1")), False),
        (PARKED, m.Retry(), True),
        (PARKED, m.Cancel(), True),
        (PARKED, None, True),
    ],
)
def test_what_may_have_the_code_do_something(
    records: tuple[r.Record, ...], wake: m.Wake | None, expected: bool
) -> None:
    assert is_for_code(fold([(1, records)]), wake) is expected


def _turn(records: tuple[r.Record, ...]) -> Turn:
    return Turn(
        v=1, number=1, append="a", owner="w", epoch=1, lease=1, at_ms=1, previous=GENESIS, records=records, cursor=0
    )
