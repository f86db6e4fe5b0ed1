"""What making an instance of a class of the project runs."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from typing import TYPE_CHECKING

from relight.lint.frame import Frame
from relight.lint.members import call_method, lineage
from relight.lint.values import Arguments, Class, Instance, Named, Values

if TYPE_CHECKING:
    from relight.lint.walk import Walk

__all__ = ("construct",)


def construct(of: Class, arguments: Arguments, node: ast.expr, frame: Frame, walk: Walk) -> Values:
    """Walk through `__init__`, `__post_init__` and the factories of fields, and return the instance."""
    # What is made when a module is imported is there for all runs; what a function made then, as well.
    made = Instance(of, is_shared=not frame.is_durable)
    classes = lineage(of, walk)
    for one in classes:
        if isinstance(one, Named):
            walk.report_call(one.name, len(arguments.positional), node, frame)
    walk.call(walk.member(made, "__init__", node, frame), arguments, node, frame)
    call_method(made, "__post_init__", node, frame, walk)
    for one in classes:
        if isinstance(one, Class):
            for factory in _factories(one, arguments):
                walk.call(walk.evaluate(factory, one.frame), Arguments(), node, frame)
    return frozenset((made,))


def _factories(of: Class, arguments: Arguments) -> Iterator[ast.expr]:
    """Yield `default_factory` of each field of a dataclass or pydantic model that the call does not give."""
    fields = [one for one in of.node.body if isinstance(one, ast.AnnAssign)]
    for position, one in enumerate(fields):
        name = one.target.id if isinstance(one.target, ast.Name) else ""
        is_given = position < len(arguments.positional) or name in arguments.keywords or arguments.others
        if isinstance(one.value, ast.Call) and not is_given:
            yield from (keyword.value for keyword in one.value.keywords if keyword.arg == "default_factory")
