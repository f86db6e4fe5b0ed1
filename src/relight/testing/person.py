"""A person in a play: answers suspensions, and decides what only a person decides."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import Any, NamedTuple, final

from relight.errors import RefusedError, UnavailableError
from relight.sdk._run import Run
from relight.testing.stage import Stage

__all__ = ("FOR_A_PERSON", "Person", "said")

FOR_A_PERSON = ("unknown_outcome", "quarantined")
"""Reasons for which a run may be parked when its worker died, whatever its code."""


class _Question(NamedTuple):
    """What waits: a suspension by the number of its wait, or a parked run by the negative number of its record."""

    run: str
    number: int
    name: str


@final
class Person:
    """Answers when a suspension opens; has a step of unknown outcome run again, and a quarantined run go on."""

    def __init__(self, stage: Stage, answers: Mapping[str, object]) -> None:
        self._stage = stage
        self._answers = answers
        self._answered: set[_Question] = set()
        self._looked_at = 0

    async def attend(self) -> None:
        """Do so until cancelled; time does not pass for its sake."""
        while True:
            await self._stage.notice(self._has_news)
            self._looked_at = self._stage.server.stream.last_sequence
            for question in self._open():
                self._answered.add(question)
                await said(partial(self._answer, self._stage.client.get_run(question.run), question))

    def _has_news(self) -> bool:
        """Looked at in each pass of the loop, so without reading anything."""
        return self._looked_at != self._stage.server.stream.last_sequence

    async def _answer(self, run: Run[Any], question: _Question) -> None:
        if question.number >= 0:
            await run.resume(question.name, self._answers[question.name])
        elif question.name:
            await run.resolve(question.name, rerun=True)
        else:
            await run.retry()

    def _open(self) -> list[_Question]:
        asked = [one for run in self._stage.observer.runs() for one in self._questions(run)]
        return [one for one in asked if one not in self._answered]

    def _questions(self, run: str) -> list[_Question]:
        state = self._stage.observer.state(run)
        if state.end is not None:
            return []
        if state.parked is not None:
            is_theirs = state.parked.reason in FOR_A_PERSON
            return [_Question(run, -state.records, state.parked.step)] if is_theirs else []
        waits = [(number, one.name) for number, one in state.waits.items() if one.kind == "suspension"]
        return [_Question(run, number, name) for number, name in waits if name in self._answers]


async def said(say: Callable[[], Awaitable[None]]) -> None:
    """Say it until it is durable. After a crash it may come too late or a second time; that is no problem."""
    while True:
        try:
            return await say()
        except RefusedError:
            return None
        except UnavailableError:
            continue
