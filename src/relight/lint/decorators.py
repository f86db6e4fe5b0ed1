"""What the decorators make of a function: a step, a workflow, or what a function of the project returns for it."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING

from relight.lint.frame import Frame
from relight.lint.values import NOTHING, Arguments, Function, Named, Recorded, Value, Values, Workflow

if TYPE_CHECKING:
    from relight.lint.walk import Walk

__all__ = ("decorated", "decorated_by", "is_face")


def decorated(function: Function, frame: Frame, walk: Walk) -> Values:
    """Return what a name stands for after its function was defined."""
    values: Values = frozenset((function,))
    for decorator in reversed(getattr(function.node, "decorator_list", ())):
        assert isinstance(decorator, ast.expr), "the tree has expressions there"
        made = decorated_by(walk.evaluate(decorator, frame), values, decorator, frame, walk)
        # What a decorator from outside makes of a function is taken for the function.
        values = made or values
    return values


def decorated_by(called: Values, functions: Values, node: ast.expr, frame: Frame, walk: Walk) -> Values:
    """Return what these decorators make of these functions, as far as it is known."""
    return NOTHING.union(*(_by(one, functions, node, frame, walk) for one in called))


def is_face(name: str, *words: str) -> bool:
    """Return whether this is what Relight exports under one of these names, wherever it was imported from."""
    package, _, last = name.rpartition(".")
    return package.partition(".")[0] == "relight" and last in words


def _by(decorator: Value, functions: Values, node: ast.expr, frame: Frame, walk: Walk) -> Values:
    match decorator:
        case Named(name=name) if is_face(name, "step", "tool"):
            return frozenset((Recorded(functions),))
        case Named(name=name) if is_face(name, "workflow"):
            return _workflow(functions, frame, walk)
        case Function():
            return walk.follow(decorator, Arguments((functions,)), node, frame)
        case _:
            return NOTHING


def _workflow(functions: Values, frame: Frame, walk: Walk) -> Values:
    made = Workflow(functions)
    walk.workflows.setdefault(made, frame.module)
    return frozenset((made,))
