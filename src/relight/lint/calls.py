"""Calls: of the project's own functions, which are followed, and of others, which are looked up."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING

from relight.lint.attributes import read_attribute
from relight.lint.catalogue import is_class, made_by, rule_of_call
from relight.lint.comprehensions import comprehension
from relight.lint.construction import construct
from relight.lint.decorators import decorated_by, is_face
from relight.lint.frame import Frame
from relight.lint.names import assign
from relight.lint.sets import check_order, depends_on_order, ignores_order, is_set, made_set
from relight.lint.shared import check_changing_call, check_next
from relight.lint.values import (
    NOTHING,
    ORDERED_SET,
    Arguments,
    Class,
    Function,
    Instance,
    Made,
    Named,
    Parent,
    Recorded,
    Value,
    Values,
    Workflow,
)

if TYPE_CHECKING:
    from relight.lint.walk import Walk

__all__ = ("call_expression", "call_values")

_COMPREHENSIONS = (ast.ListComp, ast.SetComp, ast.GeneratorExp)
_CONTEXT = "relight.WorkflowContext"
_TASKS = frozenset((Made("asyncio.Task"), Made("asyncio.Future")))
_ASKS_FOR_TYPE = frozenset(("builtins.isinstance", "builtins.issubclass", "builtins.hasattr", "typing.cast"))


def call_expression(node: ast.Call, frame: Frame, walk: Walk) -> Values:
    """Return what a call gives, and report what is wrong about it."""
    receiver, called = _called(node.func, frame, walk)
    check_changing_call(node, receiver, frame, walk)
    if _records(node, called):
        return _record(node, frame, walk)
    arguments = _arguments(node, frame, walk, is_order_free=ignores_order(called))
    _check_order(node, called, receiver, arguments, frame, walk)
    if made := _made(node, called, receiver, arguments, frame, walk):
        return made
    if not called and not _is_of_context(receiver):
        walk.use(arguments.all, node, frame)
    return call_values(called, arguments, node, frame, walk)


def call_values(called: Values, arguments: Arguments, node: ast.expr, frame: Frame, walk: Walk) -> Values:
    """Return what calling these gives."""
    return NOTHING.union(*(_call(one, arguments, node, frame, walk) for one in called))


def _called(function: ast.expr, frame: Frame, walk: Walk) -> tuple[Values, Values]:
    """Return what the method is called on, if it is one, and what is called. Each part is evaluated once."""
    if not isinstance(function, ast.Attribute):
        return NOTHING, walk.evaluate(function, frame)
    receiver = walk.evaluate(function.value, frame)
    return receiver, read_attribute(function, receiver, frame, walk)


def _call(called: Value, arguments: Arguments, node: ast.expr, frame: Frame, walk: Walk) -> Values:
    match called:
        case Function():
            walk.use(arguments.others, node, frame)
            return walk.follow(called, arguments, node, frame)
        case Class():
            walk.use(arguments.all, node, frame)
            return construct(called, arguments, node, frame, walk)
        case Recorded(functions=functions):
            return _promised(functions, walk)
        case Workflow(functions=functions):
            return call_values(functions, arguments, node, frame, walk)
        case Instance():
            return call_values(walk.member(called, "__call__", node, frame), arguments, node, frame, walk)
        case Named(name=name):
            return _call_outside(name, arguments, node, frame, walk)
        case _:
            walk.use(arguments.all, node, frame)
            return NOTHING


def _call_outside(name: str, arguments: Arguments, node: ast.expr, frame: Frame, walk: Walk) -> Values:
    if is_face(name, "step", "tool", "workflow"):
        # `step(retry=…)` is still to get its function.
        given = arguments.positional[0] if arguments.positional else NOTHING
        called: Values = frozenset((Named(name),))
        return decorated_by(called, given, node, frame, walk) if arguments.positional else called
    count = len(arguments.positional) + len(arguments.keywords) + bool(arguments.others)
    walk.report_call(name, count, node, frame)
    if not name.startswith(f"{_CONTEXT}."):
        walk.use(arguments.all, node, frame)
        _use_outside(name, arguments, node, frame, walk)
    made = made_by(name)
    return NOTHING if made is None else frozenset((Made(made),))


def _use_outside(name: str, arguments: Arguments, node: ast.expr, frame: Frame, walk: Walk) -> None:
    """Take `map(random.choice, lists)` for a call of `random.choice`."""
    if name in _ASKS_FOR_TYPE:
        return
    for one in arguments.all:
        if isinstance(one, Named) and not is_class(one.name) and rule_of_call(one.name, 99) is not None:
            walk.report_call(one.name, 99, node, frame)


def _promised(functions: Values, walk: Walk) -> Values:
    """Return what a step's annotation says: its result was read back from the record, whatever it was."""
    return NOTHING.union(*(walk.declared_return(one) for one in functions if isinstance(one, Function)))


# `ctx.step(name, function, …)`: what it does is recorded, so it is not walked through.


def _records(node: ast.Call, called: Values) -> bool:
    if not isinstance(node.func, ast.Attribute) or node.func.attr != "step":
        return False
    is_named = bool(node.args) and isinstance(node.args[0], ast.Constant | ast.JoinedStr)
    return Named(f"{_CONTEXT}.step") in called or (not called and is_named)


def _record(node: ast.Call, frame: Frame, walk: Walk) -> Values:
    for part in (*node.args[:1], *node.args[2:], *(one.value for one in node.keywords)):
        walk.evaluate(part, frame)
    function = node.args[1] if len(node.args) > 1 else None
    return _promised(walk.evaluate(function, frame), walk) if isinstance(function, ast.Name) else NOTHING


def _is_of_context(receiver: Values) -> bool:
    return Made(_CONTEXT) in receiver


# Arguments.


def _arguments(node: ast.Call, frame: Frame, walk: Walk, *, is_order_free: bool) -> Arguments:
    positional: list[Values] = []
    others = NOTHING
    for one in node.args:
        values = _argument(one, frame, walk, is_order_free=is_order_free)
        if isinstance(one, ast.Starred) or others:
            others |= values
        else:
            positional.append(values)
    keywords: dict[str, Values] = {}
    for keyword in node.keywords:
        values = walk.evaluate(keyword.value, frame)
        if keyword.arg is None:
            others |= values
        else:
            keywords[keyword.arg] = values
    return Arguments(tuple(positional), keywords, others)


def _argument(node: ast.expr, frame: Frame, walk: Walk, *, is_order_free: bool) -> Values:
    if is_order_free and isinstance(node, _COMPREHENSIONS):
        return comprehension(node, frame, walk, ignores_order=True)
    return walk.evaluate(node, frame)


# Sets.


def _check_order(
    node: ast.Call, called: Values, receiver: Values, arguments: Arguments, frame: Frame, walk: Walk
) -> None:
    names = {one.name for one in called if isinstance(one, Named)}
    method = node.func.attr if isinstance(node.func, ast.Attribute) else ""
    if method == "pop" and not node.args and isinstance(node.func, ast.Attribute):
        check_order(receiver, node.func.value, frame, walk)
    if any(map(depends_on_order, names)) or method in ("join", "extend") or _formats(node) or _breaks_ties(node, names):
        for values, written in zip(arguments.positional, node.args, strict=False):
            check_order(values, written, frame, walk)
    if _formats(node):
        for keyword in node.keywords:
            check_order(arguments.keywords.get(keyword.arg or "", NOTHING), keyword.value, frame, walk)
    if "builtins.next" in names:
        check_next(node, frame, walk)


def _formats(node: ast.Call) -> bool:
    """`"{}".format(…)` writes out what it is given."""
    match node.func:
        case ast.Attribute(value=ast.Constant(value=str()) | ast.JoinedStr(), attr="format"):
            return True
        case _:
            return False


def _breaks_ties(node: ast.Call, names: set[str]) -> bool:
    """Of two with the same key, `max` and `min` take the one that comes first."""
    has_key = any(keyword.arg == "key" for keyword in node.keywords)
    return has_key and not names.isdisjoint(("builtins.max", "builtins.min"))


def _made(node: ast.Call, called: Values, receiver: Values, arguments: Arguments, frame: Frame, walk: Walk) -> Values:
    _note_task(node, receiver, arguments, frame)
    match list(called):
        case [Named(name="builtins.super")]:
            return _parent(frame)
        case [Named(name=name)]:
            elements = list(arguments.positional)
            return made_set(name, receiver, elements)
        case _:
            return NOTHING


def _note_task(node: ast.Call, receiver: Values, arguments: Arguments, frame: Frame) -> None:
    """A set to which a task is added is one of tasks."""
    match node.func:
        case ast.Attribute(value=ast.Name(id=name), attr="add") if is_set(receiver):
            if not _TASKS.isdisjoint(arguments.all):
                assign(name, frozenset((ORDERED_SET,)), frame)
        case _:
            pass


def _parent(frame: Frame) -> Values:
    function = frame.function
    if function is None or function.owner is None or function.receiver is None:
        return NOTHING
    return frozenset((Parent(function.owner, function.receiver),))
