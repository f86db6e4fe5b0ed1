"""The names of one function call, of a module, or of a comprehension, while the linter walks through it."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, final

from relight.lint.finding import Caller
from relight.lint.values import NOTHING, ORDERED_SET, Def, Function, Unordered, Values

if TYPE_CHECKING:
    from relight.lint.module import Module

__all__ = ("Frame", "bound_names", "global_names", "joined", "parameters")

_SCOPES = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Lambda)
_COMPREHENSIONS = (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)


@final
class Frame:
    """Names with what is known of them, at the statement that is being walked.

    Attributes:
        parent: Where names are looked for that are not bound here; None for a module.
        bound: All names that are bound here anywhere.
        env: What is known of them now; a name that is missing can be anything.
        returns: What the function gave back so far.
        is_durable: Whether this is code of a workflow, so that findings count.
        function: Whose call it is.
        callers: From the workflow to this function.
    """

    __slots__ = ("bound", "callers", "env", "function", "globals", "is_durable", "module", "name", "parent", "returns")

    def __init__(
        self,
        module: Module,
        parent: Frame | None = None,
        bound: frozenset[str] = frozenset(),
        *,
        name: str = "",
        function: Function | None = None,
        callers: tuple[Caller, ...] = (),
        is_durable: bool = False,
    ) -> None:
        self.module = module
        self.parent = parent
        self.bound = bound
        self.name = name
        self.function = function
        self.callers = callers
        self.is_durable = is_durable
        self.globals: frozenset[str] = frozenset()
        self.env: dict[str, Values] = {}
        self.returns: Values = NOTHING

    def within(self, bound: frozenset[str]) -> Frame:
        """Return the frame of a comprehension in this one."""
        return Frame(
            self.module, self, bound,
            name=self.name, function=self.function, callers=self.callers, is_durable=self.is_durable,
        )  # fmt: skip

    def owner(self, name: str) -> Frame:
        """Return the frame whose name this is: the module's if it is bound nowhere else."""
        frame = self
        while frame.parent is not None:
            if name in frame.globals:
                return frame.module.frame
            if name in frame.bound:
                return frame
            frame = frame.parent
        return frame

    def caller(self, node: ast.AST) -> Caller:
        """Return this function as the one that calls another at the node."""
        return Caller(self.name, self.module.shown, getattr(node, "lineno", 1))


def joined(ends: Iterable[dict[str, Values]]) -> dict[str, Values]:
    """Return what is known after one of several ways was taken."""
    result: dict[str, Values] = {}
    for env in ends:
        for name, values in env.items():
            result[name] = result.get(name, NOTHING) | values
    return {name: _ordered(values) for name, values in result.items()}


def _ordered(values: Values) -> Values:
    """A set to which tasks are added on one of the ways was empty on the others."""
    return values - {Unordered()} if ORDERED_SET in values else values


def parameters(node: Def) -> list[ast.arg]:
    """Return all parameters, those with stars at the end."""
    given = node.args
    stars = [one for one in (given.vararg, given.kwarg) if one is not None]
    return [*given.posonlyargs, *given.args, *given.kwonlyargs, *stars]


def bound_names(body: Iterable[ast.AST]) -> frozenset[str]:
    """Return the names that these statements bind in their own scope, less those they declare to be another's."""
    found: set[str] = set()
    declared: set[str] = set()
    for node in _own(body):
        match node:
            case ast.Name(id=name, ctx=ast.Store() | ast.Del()):
                found.add(name)
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
                found.add(name)
            case ast.Import(names=names) | ast.ImportFrom(names=names):
                found.update(one.asname or one.name.partition(".")[0] for one in names)
            case ast.ExceptHandler(name=str(name)) | ast.MatchAs(name=str(name)) | ast.MatchStar(name=str(name)):
                found.add(name)
            case ast.MatchMapping(rest=str(name)):
                found.add(name)
            case ast.Global(names=names) | ast.Nonlocal(names=names):
                declared.update(names)
            case _:
                pass
    return frozenset(found - declared)


def global_names(body: Iterable[ast.AST]) -> frozenset[str]:
    """Return the names that these statements declare to be the module's."""
    return frozenset(name for node in _own(body) if isinstance(node, ast.Global) for name in node.names)


def _own(body: Iterable[ast.AST]) -> Iterator[ast.AST]:
    for node in body:
        yield node
        if isinstance(node, _COMPREHENSIONS):
            yield from _walruses(node)
        elif not isinstance(node, _SCOPES):
            yield from _own(ast.iter_child_nodes(node))


def _walruses(node: ast.AST) -> Iterator[ast.AST]:
    """A comprehension binds nothing outside, but its `:=` does."""
    return (one.target for one in ast.walk(node) if isinstance(one, ast.NamedExpr))
