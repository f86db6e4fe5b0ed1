"""Where a turn is cut that one message can't hold. Pure.

A worker may die between two parts. So each part says how far the mailbox is consumed by it and those before it, and no
further: the rest is read again by whoever takes the run over.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from relight.config.limits import KIB
from relight.subjects.codec import encode
from relight.subjects.records import Record

__all__ = ("Consumed", "cursor_at", "cuts_of", "within")


class Consumed(NamedTuple):
    """The records of a turn from `begins` to `ends` consume the mailbox up to `cursor`; they stay in one message."""

    begins: int
    ends: int
    cursor: int


def cuts_of(records: Sequence[Record], bytes_max: int, consumed: Sequence[Consumed]) -> list[int]:
    """Return where each part ends, so that each fits into one message and is filled as far as it goes.

    If one would hold them all, into halves: a seal may make them larger than anybody expects.
    """
    joined = {place for one in consumed for place in range(one.begins + 1, one.ends)}
    places = [place for place in range(1, len(records) + 1) if place not in joined]
    cuts: list[int] = []
    room = budget = bytes_max - 2 * KIB  # for the turn's own fields
    begin = 0
    for end in places:
        size = sum(len(encode(one)) + 1 for one in records[begin:end])
        if size > room and begin > 0:
            cuts.append(begin)
            room = budget
        room -= size
        begin = end
    if not cuts and len(places) > 1:
        cuts.append(places[len(places) // 2 - 1])
    return [*cuts, len(records)]


def cursor_at(place: int, consumed: Sequence[Consumed]) -> int:
    """Return how far the mailbox is consumed by the records before this place."""
    return max(one.cursor for one in consumed if one.ends <= place)


def within(begin: int, end: int, consumed: Sequence[Consumed]) -> list[Consumed]:
    """Return what the part between these places consumes, counted from its own beginning."""
    inside = (one for one in consumed if begin <= one.begins and one.ends <= end)
    return [Consumed(one.begins - begin, one.ends - begin, one.cursor) for one in inside]
