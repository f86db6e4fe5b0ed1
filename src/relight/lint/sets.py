"""Sets, and what depends on their order."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING

from relight.lint.frame import Frame
from relight.lint.rules import SET_ORDER
from relight.lint.values import NOTHING, ORDERED_SET, Made, Named, Unordered, Values

if TYPE_CHECKING:
    from relight.lint.walk import Walk

__all__ = (
    "UNORDERED",
    "check_order",
    "depends_on_order",
    "ignores_order",
    "is_set",
    "made_set",
    "set_of",
    "shortened",
)

_DEPENDING = frozenset(
    (
        *("builtins.list", "builtins.tuple", "builtins.enumerate", "builtins.zip", "builtins.map", "builtins.filter"),
        *("builtins.iter", "builtins.str", "builtins.repr", "builtins.dict.fromkeys", "builtins.list.extend"),
        *("collections.deque", "functools.reduce", "asyncio.as_completed"),
    )
)
_IGNORING = frozenset(
    f"builtins.{name}" for name in ("sorted", "len", "sum", "min", "max", "any", "all", "set", "frozenset", "bool")
)
_TASKS = frozenset((Made("asyncio.Task"), Made("asyncio.Future")))
_WRITTEN_MAX = 50
UNORDERED: Values = frozenset((Unordered(),))


def is_set(values: Values) -> bool:
    """Return whether it may be a set."""
    return Unordered() in values


def check_order(values: Values, node: ast.expr, frame: Frame, walk: Walk) -> None:
    """Report a set where its order matters."""
    if is_set(values):
        walk.report(SET_ORDER, shortened(node), node, frame)


def depends_on_order(name: str) -> bool:
    """Return whether a function takes what it is given in its order."""
    return name in _DEPENDING or name.startswith("itertools.")


def ignores_order(called: Values) -> bool:
    """Return whether all these functions give the same whatever the order of what they are given."""
    return bool(called) and all(isinstance(one, Named) and one.name in _IGNORING for one in called)


def set_of(elements: list[ast.expr], values: list[Values]) -> Values:
    """Return what a set of these elements is."""
    are_numbers = all(isinstance(one, ast.Constant) and isinstance(one.value, int | float) for one in elements)
    are_tasks = all(one and one <= _TASKS for one in values)
    return frozenset((ORDERED_SET,)) if elements and (are_numbers or are_tasks) else UNORDERED


def made_set(name: str, receiver: Values, elements: list[Values]) -> Values:
    """Return the set that a function or an operator makes, nothing if it makes none."""
    if name in ("builtins.set", "builtins.frozenset") or name.startswith("builtins.set."):
        is_ordered = bool(elements) and all(one == frozenset((ORDERED_SET,)) for one in elements)
        return frozenset((ORDERED_SET,)) if is_ordered and not is_set(receiver) else UNORDERED
    return NOTHING


def shortened(node: ast.expr) -> str:
    """Return the expression as it is written, on one line."""
    text = ast.unparse(node)
    return text if len(text) <= _WRITTEN_MAX else f"{text[: _WRITTEN_MAX - 1]}…"
