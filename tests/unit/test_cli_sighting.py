"""What `relight show` names as a way on for a run that is parked."""

from __future__ import annotations

import pytest
from msgspec import Raw

from relight.actors.letters import Sight
from relight.actors.run.state import fold
from relight.cli.sighting import Sighting, summary
from relight.subjects import records as r
from relight.subjects.turn import Turn


def commands_for(reason: str) -> list[str]:
    started = r.RunStarted(workflow="order", queue="default")
    state = fold([(1, (started, r.Parked(reason, "why")))])
    return Sighting(Sight(run="order-1", state=state, tail=None, unread=0, bytes=0), {}, now_ms=2).commands()


@pytest.mark.parametrize(
    ("reason", "first"), [("stuck", "relight retry order-1"), ("corrupt", "relight terminate order-1")]
)
def test_the_way_on_is_named_by_why_the_run_is_parked(reason: str, first: str) -> None:
    assert commands_for(reason)[0] == first


def test_none_is_named_if_that_is_sealed() -> None:
    assert commands_for("sealed") == []


def test_an_error_that_a_step_got_over_is_none_of_a_run_that_completed() -> None:
    started, failure = r.RunStarted(workflow="order", queue="default"), r.Failure("builtins.OSError", "down")
    facts = (started, r.StepScheduled("charge#1", "d", ""), r.StepFailed("charge#1", failure))

    def sight(*end: r.Record) -> Sight:
        turn = Turn(
            v=1, number=1, append="a", owner="w", epoch=1, lease=1, at_ms=1, previous="", records=(*facts, *end)
        )
        return Sight(run="order-1", state=fold([(1, turn.records)]), tail=turn, unread=0, bytes=0)

    completed, failed = sight(r.RunCompleted(Raw(b"1"))), sight(r.RunFailed(failure))

    assert summary(completed, now_ms=2)[1][-1] == ""
    assert summary(failed, now_ms=2)[1][-1] == "builtins.OSError: down"
    assert ("earlier error", ("builtins.OSError: down", "dim")) in Sighting(completed, {}, now_ms=2).pairs()
    assert ("last error", ("builtins.OSError: down", "red")) in Sighting(failed, {}, now_ms=2).pairs()
