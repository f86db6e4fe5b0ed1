"""At the end of a copied history its code is held: it goes on in a turn of the fork, and sees its time. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

import msgspec

from relight.actors.run.replay import is_fact, is_request
from relight.actors.run.state import RunState, fold
from relight.subjects import records as r

__all__ = ("held_at_end",)

_Turn: TypeAlias = tuple[int, tuple[r.Record, ...]]
_Placed: TypeAlias = tuple[int, r.Record]
"""A record, and the place of its turn."""

_HOLD = r.Parked(r.FORKED, "its code goes on from here")


def held_at_end(turns: Sequence[_Turn]) -> list[_Turn]:
    """Return a copied history whose code is held before the last thing that it sees.

    What it asked for when it saw that is left out: it asks for it again.
    """
    placed = [(place, record) for place, (_, records) in enumerate(turns) for record in records]
    unanswered = _without_answers(placed)
    held = _held(placed if unanswered is None else unanswered, turns, has_answers=unanswered is None)
    records: list[list[r.Record]] = [[] for _ in turns]
    for place, record in held:
        records[place].append(record)
    return [(at_ms, tuple(those)) for (at_ms, _), those in zip(turns, records, strict=True) if those]


def _without_answers(placed: Sequence[_Placed]) -> list[_Placed] | None:
    """Leave out what the code asked for last; None if something else is recorded behind that, which may be about it."""
    kept = list(placed)
    while kept and (is_request(kept[-1][1]) or isinstance(kept[-1][1], r.Claimed)):
        kept.pop()
    if isinstance(kept[-1][1], r.Unparked | r.Unpaused):
        return kept[:-1]  # By which it saw what it had not seen before.
    return kept if is_fact(kept[-1][1]) else None


def _held(placed: list[_Placed], turns: Sequence[_Turn], *, has_answers: bool) -> list[_Placed]:
    state = _state(placed, turns)
    if state.is_copied:
        return placed
    if state.is_delayed:  # It begins anew, whatever held it.
        return [one for one in placed if not isinstance(one[1], r.Claimed | r.Parked | r.Paused | r.Unpaused)]
    last = placed[-1][0]
    if state.is_held or has_answers:
        unpaused = [(last, r.Unpaused("fork"))] if state.is_paused else []
        return [*placed, (last, _HOLD), *unpaused]
    *before, (place, seen) = placed
    if isinstance(seen, r.RunStarted):
        return [*before, (place, msgspec.structs.replace(seen, not_before_ms=turns[place][0]))]
    return [*before, (place, _HOLD), (place, seen)]


def _state(placed: Sequence[_Placed], turns: Sequence[_Turn]) -> RunState:
    return fold((turns[place][0], (record,)) for place, record in placed)
