"""A row of the table: a figure, the floor of the same run, and what was to be reached."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

__all__ = ("Goal", "Paired", "Row", "median", "paired")

median = statistics.median


@dataclass(frozen=True, kw_only=True)
class Goal:
    """What a row is to reach at least, and what it aims at: as a multiple of the floor, or as the figure itself."""

    reach: float
    aim: float
    is_ratio: bool = True
    more_is_better: bool = False

    def is_met(self, figure: float, wanted: float) -> bool:
        return figure >= wanted if self.more_is_better else figure <= wanted


@dataclass(frozen=True, kw_only=True)
class Row:
    """One figure. `floor` and `ratio` are None where nothing is compared."""

    name: str
    value: float
    unit: str
    goal: Goal | None = None
    floor: float | None = None
    ratio: float | None = None

    def as_json(self) -> dict[str, Any]:
        """What is printed: everything measured, what was to be reached, and whether it was."""
        line: dict[str, Any] = {
            "name": self.name,
            "value": _rounded(self.value),
            "unit": self.unit,
            "floor": _rounded(self.floor),
            "ratio": _rounded(self.ratio),
        }
        goal = self.goal
        if goal is not None:
            figure = self.ratio if goal.is_ratio else self.value
            assert figure is not None, "a goal in multiples of the floor needs one"
            line |= {"goal_of": "ratio" if goal.is_ratio else "value", "reach": goal.reach, "aim": goal.aim}
            line |= {"reaches": goal.is_met(figure, goal.reach), "meets_aim": goal.is_met(figure, goal.aim)}
        return line


class Paired(NamedTuple):
    """Medians over all pairs; the ratio is the median of the pairs' ratios, not the ratio of the medians."""

    value: float
    floor: float
    ratio: float


def paired(
    repeat: int, measure_floor: Callable[[], float], measure: Callable[[], float | Sequence[float]]
) -> list[Paired]:
    """Measure the floor right before and after each figure: other work on the machine then meets both alike.

    Returns one result for each figure that `measure` returns.
    """
    samples: list[list[Paired]] = []
    before = measure_floor()
    for _ in range(repeat):
        measured = measure()
        after = measure_floor()
        floor = (before + after) / 2
        figures = [measured] if isinstance(measured, float) else list(measured)
        samples.append([Paired(one, floor, one / floor) for one in figures])
        before = after
    return [_medians(column) for column in zip(*samples, strict=True)]


def _medians(column: Sequence[Paired]) -> Paired:
    return Paired(*(median(one[index] for one in column) for index in range(3)))


def _rounded(figure: float | None) -> float | None:
    return None if figure is None else float(f"{figure:.4g}")
