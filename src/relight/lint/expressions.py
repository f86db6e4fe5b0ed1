"""What an expression may be."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING

from relight.lint.attributes import PATH, read_attribute, read_name
from relight.lint.calls import call_expression
from relight.lint.comprehensions import comprehension
from relight.lint.frame import Frame
from relight.lint.names import assign
from relight.lint.sets import UNORDERED, check_order, is_set, set_of
from relight.lint.values import NOTHING, Function, Made, Values

if TYPE_CHECKING:
    from relight.lint.walk import Walk

__all__ = ("values_of",)

_LIST: Values = frozenset((Made("builtins.list"),))
_DICT: Values = frozenset((Made("builtins.dict"),))
_SET_OPERATORS = (ast.BitOr, ast.BitAnd, ast.BitXor, ast.Sub)
_VIEWS = frozenset(("keys", "items"))


def values_of(node: ast.expr, frame: Frame, walk: Walk) -> Values:
    """Return what an expression may be, and report what is wrong in it."""
    match node:
        case ast.Name():
            return read_name(node, frame, walk)
        case ast.Attribute(value=value):
            return read_attribute(node, walk.evaluate(value, frame), frame, walk)
        case ast.Call():
            return call_expression(node, frame, walk)
        case ast.Await(value=value):
            return walk.evaluate(value, frame)
        case ast.Lambda():
            return frozenset((Function(node, frame),))
        case ast.NamedExpr(target=target, value=value):
            values = walk.evaluate(value, frame)
            assign(target.id, values, frame)
            return values
        case ast.IfExp(test=test, body=body, orelse=orelse):
            walk.evaluate(test, frame)
            return walk.evaluate(body, frame) | walk.evaluate(orelse, frame)
        case ast.BoolOp(values=parts):
            return NOTHING.union(*(walk.evaluate(one, frame) for one in parts))
        case ast.BinOp():
            return _operation(node, frame, walk)
        case ast.Set(elts=elements):
            return set_of(elements, [walk.evaluate(one, frame) for one in elements])
        case ast.ListComp() | ast.SetComp() | ast.DictComp() | ast.GeneratorExp():
            return comprehension(node, frame, walk, ignores_order=False)
        case ast.Starred(value=value):
            values = walk.evaluate(value, frame)
            check_order(values, value, frame, walk)
            return NOTHING
        case ast.FormattedValue(value=value):
            check_order(walk.evaluate(value, frame), value, frame, walk)
            return NOTHING
        case ast.YieldFrom(value=value):
            check_order(walk.evaluate(value, frame), value, frame, walk)
            return NOTHING
        case _:
            return _others(node, frame, walk)


def _operation(node: ast.BinOp, frame: Frame, walk: Walk) -> Values:
    left, right = walk.evaluate(node.left, frame), walk.evaluate(node.right, frame)
    if isinstance(node.op, ast.Div) and PATH in left:
        return frozenset((PATH,))
    if isinstance(node.op, ast.Mod) and _is_text(node.left):
        _check_formatted(node.right, right, frame, walk)
    if not isinstance(node.op, _SET_OPERATORS):
        return NOTHING
    are_views = _is_view(node.left) or _is_view(node.right)
    return UNORDERED if is_set(left) or is_set(right) or are_views else left & right


def _is_text(node: ast.expr) -> bool:
    return isinstance(node, ast.JoinedStr) or (isinstance(node, ast.Constant) and isinstance(node.value, str))


def _check_formatted(node: ast.expr, values: Values, frame: Frame, walk: Walk) -> None:
    """Report a set that `"%s" % …` writes out."""
    if not isinstance(node, ast.Tuple):
        check_order(values, node, frame, walk)
        return
    for one in node.elts:
        if isinstance(one, ast.Name | ast.Attribute):
            check_order(walk.evaluate(one, frame), one, frame, walk)


def _is_view(node: ast.expr) -> bool:
    """`first.keys() - second.keys()` is a set, though neither of them is."""
    match node:
        case ast.Call(func=ast.Attribute(attr=name), args=[], keywords=[]):
            return name in _VIEWS
        case _:
            return False


def _others(node: ast.expr, frame: Frame, walk: Walk) -> Values:
    """Look at all parts; functions that are put into a container are taken for called."""
    is_container = isinstance(node, ast.List | ast.Tuple | ast.Dict | ast.Yield)
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.expr):
            values = walk.evaluate(child, frame)
            walk.use(values if is_container else NOTHING, child, frame)
    match node:
        case ast.List():
            return _LIST
        case ast.Dict():
            return _DICT
        case _:
            return NOTHING
