"""The table by which a state takes records treats every one of them."""

from __future__ import annotations

from typing import get_args

from relight.actors.run import state
from relight.subjects import records as r


def test_every_record_is_treated() -> None:
    treated = state._APPLY  # pyright: ignore[reportPrivateUsage]  # the table is what the test is about

    assert set(treated) == set(get_args(r.Record))


def test_facts_are_the_closed_union_of_facts() -> None:
    assert set(r.FACTS) == set(get_args(r.Fact))
