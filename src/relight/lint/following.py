"""Goes into the functions that are called."""

from __future__ import annotations

import ast
from collections import Counter
from typing import TYPE_CHECKING, final

from relight.lint.frame import Frame, bound_names, global_names, parameters
from relight.lint.values import NOTHING, Arguments, Function, Made, Values

if TYPE_CHECKING:
    from relight.lint.finding import Caller
    from relight.lint.walk import Walk

__all__ = ("Following",)

_DEPTH_MAX = 30
"""Calls within calls that are followed; each takes some 30 frames of the interpreter's own stack."""
_QUIET_DEPTH_MAX = 3
"""The same for what runs when a module is imported, of which only the values matter."""
_VARIANTS_MAX = 8
"""How often one function is walked through with other arguments, so that the walk is as long as the code."""
_CONTEXT = Made("relight.WorkflowContext")


@final
class Following:
    """Walks through a function once for each kind of arguments, and never into one that it is in already."""

    def __init__(self, walk: Walk) -> None:
        self._walk = walk
        self._active: list[ast.AST] = []
        self._returns: dict[object, Values] = {}
        self._variants: Counter[tuple[ast.AST, bool]] = Counter()

    def enter(self, function: Function) -> None:
        """Walk through a workflow's own function."""
        first = _first_parameter(function)
        given: dict[str, Values] = {} if first is None else {first: frozenset((_CONTEXT,))}
        self._go_through(function, given, callers=(), is_durable=True)

    def follow(self, function: Function, arguments: Arguments, node: ast.expr, frame: Frame) -> Values:
        """Walk through a function that is called at the node, and return what it returns."""
        declared = self._walk.declared_return(function)
        if function.node in self._active or len(self._active) >= (_DEPTH_MAX if frame.is_durable else _QUIET_DEPTH_MAX):
            return declared
        given = self._bound(function, arguments)
        key = (function, frozenset(given.items()), frame.is_durable)
        if key not in self._returns:
            self._returns[key] = NOTHING
            self._variants[function.node, frame.is_durable] += 1
            if self._variants[function.node, frame.is_durable] > _VARIANTS_MAX:
                return declared
            callers = (*frame.callers, frame.caller(node)) if frame.is_durable else ()
            self._returns[key] = self._go_through(function, given, callers=callers, is_durable=frame.is_durable)
        return declared | self._returns[key]

    def frame_of(self, function: Function) -> Frame:
        """Return a frame in which nothing has happened yet."""
        node, frame = function.node, _new_frame(function)
        for parameter in parameters(node):
            frame.env[parameter.arg] = self._walk.annotated(parameter.annotation, function.frame)
        first = _first_parameter(function)
        if function.receiver is not None and first is not None:
            frame.env[first] = frozenset((function.receiver,))
        return frame

    def _go_through(
        self, function: Function, given: dict[str, Values], *, callers: tuple[Caller, ...], is_durable: bool
    ) -> Values:
        frame = self.frame_of(function)
        frame.env.update(given)
        frame.callers = callers
        frame.is_durable = is_durable
        self._active.append(function.node)
        if isinstance(function.node, ast.Lambda):
            frame.returns = self._walk.evaluate(function.node.body, frame)
        else:
            self._walk.execute(function.node.body, frame)
        self._active.pop()
        return frame.returns

    def _bound(self, function: Function, arguments: Arguments) -> dict[str, Values]:
        """Return what is known of the parameters beyond their annotations."""
        names = [one.arg for one in (*function.node.args.posonlyargs, *function.node.args.args)]
        if function.receiver is not None:
            names = names[1:]
        given = self._defaults(function)
        given.update(zip(names, arguments.positional, strict=False))
        known = {one.arg for one in (*function.node.args.args, *function.node.args.kwonlyargs)}
        given.update((name, values) for name, values in arguments.keywords.items() if name in known)
        return {name: values for name, values in given.items() if values}

    def _defaults(self, function: Function) -> dict[str, Values]:
        given = function.node.args
        positional = (*given.posonlyargs, *given.args)
        last = positional[len(positional) - len(given.defaults) :]
        pairs = [*zip(last, given.defaults, strict=True), *zip(given.kwonlyargs, given.kw_defaults, strict=True)]
        return {one.arg: self._walk.evaluate(value, function.frame) for one, value in pairs if value is not None}


def _new_frame(function: Function) -> Frame:
    node = function.node
    body: list[ast.AST] = [node.body] if isinstance(node, ast.Lambda) else list(node.body)
    bound = bound_names(body) | {one.arg for one in parameters(node)}
    frame = Frame(function.frame.module, function.frame, bound, name=function.name, function=function)
    frame.globals = global_names(body)
    return frame


def _first_parameter(function: Function) -> str | None:
    given = (*function.node.args.posonlyargs, *function.node.args.args)
    return given[0].arg if given else None
