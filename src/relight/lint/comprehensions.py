"""Comprehensions and generator expressions."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING, TypeAlias

from relight.lint.frame import Frame, bound_names
from relight.lint.sets import check_order, set_of
from relight.lint.statements import assign_to, element_of
from relight.lint.values import NOTHING, Made, Values

if TYPE_CHECKING:
    from relight.lint.walk import Walk

__all__ = ("Comprehension", "comprehension")

Comprehension: TypeAlias = ast.ListComp | ast.SetComp | ast.DictComp | ast.GeneratorExp


def comprehension(node: Comprehension, frame: Frame, walk: Walk, *, ignores_order: bool) -> Values:
    """Return what it makes, and report a set that it goes through.

    Args:
        ignores_order: Whether what it makes is used in a way in which its order makes no difference.
    """
    makes_order = not ignores_order and not isinstance(node, ast.SetComp)
    makes_order |= any(isinstance(one, ast.Await) for one in ast.walk(node))
    inner = frame.within(bound_names([one.target for one in node.generators]))
    for one in node.generators:
        iterated = walk.evaluate(one.iter, inner)
        if makes_order:
            check_order(iterated, one.iter, frame, walk)
        assign_to(one.target, element_of(one.iter, inner, walk), inner, walk)
        for test in one.ifs:
            walk.evaluate(test, inner)
    return _made(node, inner, walk)


def _made(node: Comprehension, inner: Frame, walk: Walk) -> Values:
    if isinstance(node, ast.DictComp):
        walk.evaluate(node.key, inner)
        walk.use(walk.evaluate(node.value, inner), node.value, inner)
        return frozenset((Made("builtins.dict"),))
    element = walk.evaluate(node.elt, inner)
    walk.use(element, node.elt, inner)
    match node:
        case ast.SetComp(elt=elt):
            return set_of([elt], [element])
        case ast.ListComp():
            return frozenset((Made("builtins.list"),))
        case _:
            return NOTHING
