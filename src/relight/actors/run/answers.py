"""The latest answers that a run has given to requests: those who asked may not have heard them yet."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeAlias

import msgspec
from msgspec import Struct

from relight.config.limits import LIMITS
from relight.subjects import records as r

__all__ = ("Answer", "GivenAnswers")

Answer: TypeAlias = r.RequestReplied | r.RequestRejected


class _Given(Struct):
    answer: Answer
    at_ms: int
    size: int


class GivenAnswers(Struct):
    """Answers in the order in which they were given, as many as a history that is continued as new can carry.

    Those of the turn that is being made are all kept: if the run continues as new in it, they are stored nowhere else.
    """

    given: list[_Given] = []

    def add(self, answer: Answer, at_ms: int) -> None:
        """Take one more, and forget those that are too old."""
        self.given.append(_given(answer, at_ms))
        size = self.bytes
        while len(self.given) > LIMITS.answers_carried_max or size > LIMITS.answers_carried_bytes_max:
            if self.given[0].at_ms == at_ms:
                return
            size -= self.given.pop(0).size

    @property
    def answers(self) -> tuple[Answer, ...]:
        return tuple(one.answer for one in self.given)

    @property
    def bytes(self) -> int:
        return sum(one.size for one in self.given)

    @classmethod
    def carried(cls, answers: Iterable[Answer], at_ms: int) -> GivenAnswers:
        """Those with which a history begins."""
        return cls([_given(one, at_ms) for one in answers])


def _given(answer: Answer, at_ms: int) -> _Given:
    if isinstance(answer, r.RequestRejected):
        return _Given(answer, at_ms, len(answer.reason.encode()) + len(answer.path.encode()))
    # A copy: what is decoded holds the whole message from which it came.
    result = answer.result.copy()
    return _Given(msgspec.structs.replace(answer, result=result), at_ms, len(bytes(result)))
