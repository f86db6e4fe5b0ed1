"""Telling clients that their requests to a run were answered, once the answers are stored.

A notice may be lost: who asked looks at the journal from time to time (`answers`).
"""

from __future__ import annotations

from relight.actors.door import Door
from relight.actors.run.answers import GivenAnswers
from relight.subjects.codec import answer_notice_of
from relight.subjects.grammar import Subjects

__all__ = ("tell_askers",)


def tell_askers(door: Door, subjects: Subjects, run: str, given: GivenAnswers, at_ms: int) -> None:
    """Send the notices of the answers in the turn of `at_ms`, whose append was acknowledged."""
    for one in reversed(given.given):
        if one.at_ms != at_ms:
            return
        if one.answer.client:
            door.notify(subjects.answer(one.answer.client, run), answer_notice_of(one.answer))
