"""A schedule: what a seed lets go wrong, decided in one place and remembered, so that it can be repeated in part.

Each decision has a place of its own (a process, or a subject) with its own source of chance there, and a number at that
place. So when a decision is taken back, all others stay what they are, as far as the same things still happen. That
makes it possible to look for the shortest schedule: a play is repeated with fewer and fewer of the decisions.
"""

from __future__ import annotations

from collections.abc import Container, Sequence
from dataclasses import dataclass
from random import Random
from typing import Literal, TypeAlias, TypeVar, final

from relight.testing.memory.faults import Faults, Operation, Outcome

__all__ = ("Decision", "Disturbance", "Schedule", "Weather", "weather_of")

_T = TypeVar("_T")

_Kind: TypeAlias = Literal["travels", "write", "arrives", "process"]
_Key: TypeAlias = tuple[_Kind, str, int]

_STOP_S_MAX = 40.0
_KILLS_MAX = 2
_HOPS_MAX = 4
_ARRIVALS: tuple[tuple[float, ...], ...] = ((0.0, 0.0), (0.5,), (0.0, 3.0))
_OUTCOMES: tuple[Outcome, ...] = ("lost", "written", "late")
_OUTCOMES_IN_WORDS: dict[Outcome, str] = {
    "lost": "is lost, and nobody learns it",
    "written": "is stored, but not acknowledged",
    "late": "is stored a second late, and not acknowledged",
}
_ARRIVALS_IN_WORDS: dict[tuple[float, ...], str] = {
    (): "is lost",
    (0.0, 0.0): "arrives twice",
    (0.5,): "arrives half a second late",
    (0.0, 3.0): "arrives twice, the second time three seconds late",
}


@dataclass(frozen=True, kw_only=True)
class Weather:
    """How often something goes wrong: shares of all cases, from 0 to 1.

    Attributes:
        reordered: Of the messages, travel longer than others.
        doubled: Of the deliveries and notices, arrive twice, late or both.
        lost: Of the deliveries and notices.
        unknown: Of the writes, have an outcome that nobody learns.
        stopped: Of the operations of workers, stop the process for up to 40 s, as SIGSTOP does.
        killed: Of the operations of workers, kill it; at most two in a play.
    """

    reordered: float = 0.0
    doubled: float = 0.0
    lost: float = 0.0
    unknown: float = 0.0
    stopped: float = 0.0
    killed: float = 0.0


@dataclass(frozen=True)
class Disturbance:
    """What befalls a process: it stands still for some seconds, or, without any, it dies."""

    stop_s: float | None


@dataclass(frozen=True)
class Decision:
    """One thing that went another way than usual."""

    kind: _Kind
    place: str
    number: int
    words: str

    @property
    def key(self) -> _Key:
        return (self.kind, self.place, self.number)

    def __str__(self) -> str:
        return self.words


@dataclass(slots=True)
class _Source:
    """The chance of one place. Each decision takes two numbers from it, whatever becomes of it."""

    random: Random
    number: int = 0
    choice: float = 0.0

    def next(self) -> float:
        self.number += 1
        chance, self.choice = self.random.random(), self.random.random()
        return chance


@final
class Schedule:
    """Decides what goes wrong in one play; the same seed and weather decide alike.

    Attributes:
        taken: All that went another way than usual, in order.
    """

    def __init__(self, seed: int, weather: Weather, *, kept: Container[_Key] | None = None) -> None:
        """Make a schedule.

        Args:
            kept: Keys of the only decisions that may go another way than usual; None: all may.
        """
        self.seed = seed
        self.taken: list[Decision] = []
        self._weather = weather
        self._kept = kept
        self._sources: dict[tuple[_Kind, str], _Source] = {}
        self._kills = 0

    @property
    def faults(self) -> Faults:
        return Faults(outcome=self.outcome, arrivals=self.arrivals)

    def hops(self, process: str) -> int:
        """How many passes of the loop the next message to or from a process travels."""
        if self._weather.reordered == 0:
            return 1
        source = self._source("travels", process)
        if source.next() >= self._weather.reordered:
            return 1
        more = 1 + int(source.choice * (_HOPS_MAX - 1))
        words = f"{process}: its message {source.number} is overtaken ({more} passes)"
        return 1 + more if self._takes("travels", process, source.number, words) else 1

    def outcome(self, operation: Operation) -> Outcome:
        """What becomes of a write. What a test itself says to a run is always known: it says it once."""
        if self._weather.unknown == 0 or (operation.by == "client" and _is_said(operation.subject)):
            return "known"
        source = self._source("write", operation.subject)
        if source.next() >= self._weather.unknown:
            return "known"
        outcome: Outcome = _chosen(_OUTCOMES, source.choice)
        words = f"{operation.by}: write {source.number} to {operation.subject} {_OUTCOMES_IN_WORDS[outcome]}"
        return outcome if self._takes("write", operation.subject, source.number, words) else "known"

    def arrivals(self, subject: str) -> tuple[float, ...]:
        """After how many seconds a delivery or a notice arrives: once for each number."""
        weather = self._weather
        if weather.lost + weather.doubled == 0:
            return (0.0,)
        source = self._source("arrives", subject)
        chance = source.next()
        if chance >= weather.lost + weather.doubled:
            return (0.0,)
        arrivals = () if chance < weather.lost else _chosen(_ARRIVALS, source.choice)
        words = f"message {source.number} of {subject} {_ARRIVALS_IN_WORDS[arrivals]}"
        return arrivals if self._takes("arrives", subject, source.number, words) else (0.0,)

    def disturbance(self, process: str, operation: Operation, moment: str) -> Disturbance | None:
        """What befalls a process before or after one of its operations."""
        weather = self._weather
        if weather.stopped + weather.killed == 0:
            return None
        source = self._source("process", process)
        chance = source.next()
        if chance < weather.stopped:
            disturbance = Disturbance(round(source.choice * _STOP_S_MAX, 1))
            words = f"{process} stands still for {disturbance.stop_s} s"
        elif chance < weather.stopped + weather.killed and self._kills < _KILLS_MAX:
            disturbance = Disturbance(None)
            words = f"{process} dies"
        else:
            return None
        words = f"{words} {moment} its {operation.name} of {operation.subject}"
        if not self._takes("process", process, source.number, words):
            return None
        self._kills += disturbance.stop_s is None
        return disturbance

    def _source(self, kind: _Kind, place: str) -> _Source:
        source = self._sources.get((kind, place))
        if source is None:
            source = self._sources[kind, place] = _Source(Random(f"{self.seed} {kind} {place}"))
        return source

    def _takes(self, kind: _Kind, place: str, number: int, words: str) -> bool:
        if self._kept is not None and (kind, place, number) not in self._kept:
            return False
        self.taken.append(Decision(kind, place, number, words))
        return True


def _is_said(subject: str) -> bool:
    """Whether it goes to a run, or is a large value on its way there."""
    return ".wake." in subject or subject.startswith("$O.")


def weather_of(seed: int) -> Weather:
    """The weather of a seed: some have kills and stops, some losses and unknown outcomes, some both; all reorder."""
    random = Random(f"{seed} weather")
    share = random.choice((0.0, 0.05, 0.2))
    disturbed = random.choice((0.0, 0.0, 0.5, 1.0))
    return Weather(
        reordered=random.choice((0.2, 0.75)),
        doubled=share * 0.75,
        lost=share * 0.25,
        unknown=share,
        stopped=disturbed * 0.06,
        killed=disturbed * 0.04,
    )


def _chosen(choices: Sequence[_T], choice: float) -> _T:
    return choices[int(choice * len(choices))]
