"""What `relight show` names as a way on for a run that is parked."""

from __future__ import annotations

import pytest

from relight.actors.letters import Sight
from relight.actors.run.state import fold
from relight.cli.sighting import Sighting
from relight.subjects import records as r


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
