"""What statements do to the names of a frame, one after the other."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING

from relight.lint.changes import targets_of
from relight.lint.frame import Frame, joined
from relight.lint.members import call_method
from relight.lint.names import assign, bind_import, bind_import_from
from relight.lint.sets import check_order, is_set
from relight.lint.shared import check_change
from relight.lint.values import NOTHING, ORDERED_SET, Class, Function, Instance, Values

if TYPE_CHECKING:
    from relight.lint.walk import Walk

__all__ = ("assign_to", "element_of", "execute")


def execute(body: Iterable[ast.stmt], frame: Frame, walk: Walk) -> bool:
    """Walk through statements and return whether their end is reached."""
    return all(_execute_one(one, frame, walk) for one in body)


def element_of(iterable: ast.expr, frame: Frame, walk: Walk) -> Values:
    """Return what the elements may be: known for `for one in (first, second)`."""
    match iterable:
        case ast.Tuple(elts=elements) | ast.List(elts=elements):
            return NOTHING.union(*(walk.evaluate(one, frame) for one in elements))
        case _:
            return NOTHING


def assign_to(target: ast.expr, values: Values, frame: Frame, walk: Walk) -> None:
    """Let names, or parts of what names stand for, be something else from now on."""
    match target:
        case ast.Name(id=name):
            assign(name, values, frame)
        case ast.Tuple(elts=elements) | ast.List(elts=elements):
            for one in elements:
                assign_to(one, NOTHING, frame, walk)
        case ast.Starred(value=value):
            assign_to(value, NOTHING, frame, walk)
        case ast.Attribute(value=value):
            walk.evaluate(value, frame)
        case ast.Subscript(value=value, slice=index):
            walk.evaluate(value, frame)
            walk.evaluate(index, frame)
        case _:
            pass


def _execute_one(node: ast.stmt, frame: Frame, walk: Walk) -> bool:
    for target in targets_of(node):
        check_change(target, frame, walk)
    match node:
        case ast.FunctionDef() | ast.AsyncFunctionDef():
            _define(node, frame, walk)
        case ast.ClassDef(name=name):
            assign(name, frozenset((Class(node, frame),)), frame)
        case ast.Import(names=names):
            for alias in names:
                bind_import(alias, frame, walk)
        case ast.ImportFrom():
            bind_import_from(node, frame, walk)
        case ast.Return(value=value):
            frame.returns |= NOTHING if value is None else walk.evaluate(value, frame)
            return False
        case ast.Raise():
            _evaluate_all(node, frame, walk)
            return False
        case ast.Assign() | ast.AnnAssign() | ast.AugAssign():
            _assign(node, frame, walk)
        case ast.Delete(targets=targets):
            for target in targets:
                assign_to(target, NOTHING, frame, walk)
        case _:
            return _execute_block(node, frame, walk)
    return True


def _execute_block(node: ast.stmt, frame: Frame, walk: Walk) -> bool:
    match node:
        case ast.If(test=test, body=body, orelse=orelse):
            walk.evaluate(test, frame)
            return _fork(frame, (lambda: execute(body, frame, walk), lambda: execute(orelse, frame, walk)))
        case ast.For(body=body, orelse=orelse) | ast.AsyncFor(body=body, orelse=orelse):
            _iterate(node, frame, walk)
            _fork(frame, (lambda: execute(body, frame, walk), lambda: True))
            return execute(orelse, frame, walk)
        case ast.While(test=test, body=body, orelse=orelse):
            walk.evaluate(test, frame)
            _fork(frame, (lambda: execute(body, frame, walk), lambda: True))
            return execute(orelse, frame, walk)
        case ast.With(body=body) | ast.AsyncWith(body=body):
            _enter(node, frame, walk)
            # A context manager may swallow what was raised in it.
            return execute(body, frame, walk) or not _returns(body)
        case ast.Try() | ast.TryStar():
            return _try(node, frame, walk)
        case ast.Match(subject=subject, cases=cases):
            walk.evaluate(subject, frame)
            return _fork(frame, (*(_case(one, frame, walk) for one in cases), lambda: True))
        case _:
            _evaluate_all(node, frame, walk)
            return True


def _fork(frame: Frame, ways: Sequence[Callable[[], bool]]) -> bool:
    """Take each way from the same point and join what is known where they end."""
    before, ends = frame.env, list[dict[str, Values]]()
    for way in ways:
        frame.env = dict(before)
        if way():
            ends.append(frame.env)
    frame.env = joined(ends) if ends else before
    return bool(ends)


def _try(node: ast.Try | ast.TryStar, frame: Frame, walk: Walk) -> bool:
    before = dict(frame.env)
    reaches_end = execute(node.body, frame, walk)
    raised = joined((before, frame.env))
    reaches_end = reaches_end and execute(node.orelse, frame, walk)
    ends = [frame.env] if reaches_end else []
    for handler in node.handlers:
        frame.env = dict(raised)
        if handler.type is not None:
            walk.evaluate(handler.type, frame)
        if execute(handler.body, frame, walk):
            ends.append(frame.env)
    frame.env = joined(ends or (raised,))
    return execute(node.finalbody, frame, walk) and bool(ends)


def _case(one: ast.match_case, frame: Frame, walk: Walk) -> Callable[[], bool]:
    def way() -> bool:
        if one.guard is not None:
            walk.evaluate(one.guard, frame)
        return execute(one.body, frame, walk)

    return way


def _returns(body: list[ast.stmt]) -> bool:
    return isinstance(body[-1], ast.Return)


def _define(node: ast.FunctionDef | ast.AsyncFunctionDef, frame: Frame, walk: Walk) -> None:
    function = Function(node, frame)
    given = node.args
    for default in (*given.defaults, *(one for one in given.kw_defaults if one is not None)):
        walk.evaluate(default, frame)
    assign(node.name, walk.decorated(function, frame), frame)


def _assign(node: ast.Assign | ast.AnnAssign | ast.AugAssign, frame: Frame, walk: Walk) -> None:
    match node:
        case ast.Assign(targets=[ast.Tuple(elts=names)], value=ast.Tuple(elts=parts)) if len(names) == len(parts):
            values = [walk.evaluate(one, frame) for one in parts]
            for name, value in zip(names, values, strict=True):
                assign_to(name, value, frame, walk)
        case ast.Assign(targets=targets, value=value):
            found = walk.evaluate(value, frame)
            for target in targets:
                if isinstance(target, ast.Tuple | ast.List):
                    check_order(found, value, frame, walk)
                assign_to(target, found, frame, walk)
        case ast.AnnAssign(target=target, annotation=annotation, value=ast.expr() as value):
            assign_to(target, _annotated(annotation, walk.evaluate(value, frame), frame, walk), frame, walk)
        case ast.AugAssign(target=target, value=value):
            kept = walk.evaluate(target, frame) if isinstance(target, ast.Name) else NOTHING
            added = walk.evaluate(value, frame)
            if isinstance(node.op, ast.Add):
                # Sets have no `+=`: it is a list that takes it.
                check_order(added, value, frame, walk)
            assign_to(target, kept | added, frame, walk)
        case _:
            pass


def _annotated(annotation: ast.expr, found: Values, frame: Frame, walk: Walk) -> Values:
    """What was assigned says more than a type, unless the type says whether a set has an order."""
    promised = walk.annotated(annotation, frame)
    return promised if is_set(promised) or ORDERED_SET in promised else found or promised


def _iterate(node: ast.For | ast.AsyncFor, frame: Frame, walk: Walk) -> None:
    iterated = walk.evaluate(node.iter, frame)
    check_order(iterated, node.iter, frame, walk)
    methods = ("__aiter__", "__anext__") if isinstance(node, ast.AsyncFor) else ("__iter__", "__next__")
    _call_methods(iterated, methods, node.iter, frame, walk)
    assign_to(node.target, element_of(node.iter, frame, walk), frame, walk)


def _enter(node: ast.With | ast.AsyncWith, frame: Frame, walk: Walk) -> None:
    is_async = isinstance(node, ast.AsyncWith)
    for item in node.items:
        entered = walk.evaluate(item.context_expr, frame)
        methods = ("__aenter__", "__aexit__") if is_async else ("__enter__", "__exit__")
        _call_methods(entered, methods, item.context_expr, frame, walk)
        if item.optional_vars is not None:
            assign_to(item.optional_vars, entered, frame, walk)


def _call_methods(values: Values, names: Iterable[str], node: ast.expr, frame: Frame, walk: Walk) -> None:
    for one in values:
        if isinstance(one, Instance):
            for name in names:
                call_method(one, name, node, frame, walk)


def _evaluate_all(node: ast.stmt, frame: Frame, walk: Walk) -> None:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.expr):
            walk.evaluate(child, frame)
