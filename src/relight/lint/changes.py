"""Which module-level variables the functions of a module change, and where."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass

from relight.lint.frame import bound_names, global_names, parameters

__all__ = ("CHANGING_METHODS", "Change", "changes_of", "root_of", "targets_of")

CHANGING_METHODS = frozenset(
    (
        *("add", "append", "appendleft", "clear", "discard", "extend", "extendleft", "insert", "pop", "popitem"),
        *("popleft", "remove", "reverse", "rotate", "setdefault", "sort", "update", "subtract"),
        *("difference_update", "intersection_update", "symmetric_difference_update", "move_to_end"),
    )
)
"""Of lists, dicts, sets and deques."""

_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)


@dataclass(frozen=True)
class Change:
    """A function changes a variable of its module.

    Attributes:
        is_by_method: Through a method, which changes something only if the variable is a container.
    """

    function: str
    line: int
    is_by_method: bool


def changes_of(tree: ast.Module) -> dict[str, Change]:
    """Return one change of each variable that is changed by a function which is called later than on import."""
    found: dict[str, Change] = {}
    functions = list(_functions(tree))
    for function in functions:
        changes = list(_changes(function, function.name, frozenset()))
        if changes and not _is_for_import_only(function.name, tree, functions):
            for name, change in changes:
                # A certain one says more than one that depends on what the variable is.
                if name not in found or found[name].is_by_method:
                    found[name] = change
    return found


def targets_of(node: ast.stmt) -> list[ast.expr]:
    """Return what a statement assigns to or deletes."""
    match node:
        case ast.Assign(targets=targets) | ast.Delete(targets=targets):
            return [one for target in targets for one in _leaves(target)]
        case ast.AugAssign(target=target) | ast.AnnAssign(target=target, value=ast.expr()):
            return _leaves(target)
        case ast.For(target=target) | ast.AsyncFor(target=target):
            return _leaves(target)
        case _:
            return []


def root_of(node: ast.expr) -> ast.Name | None:
    """Return `a` of `a.b[0].c`."""
    while isinstance(node, ast.Attribute | ast.Subscript):
        node = node.value
    return node if isinstance(node, ast.Name) else None


def _leaves(target: ast.expr) -> list[ast.expr]:
    match target:
        case ast.Tuple(elts=elements) | ast.List(elts=elements):
            return [one for element in elements for one in _leaves(element)]
        case ast.Starred(value=value):
            return _leaves(value)
        case _:
            return [target]


def _functions(tree: ast.Module) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    """Return the outermost functions, methods among them."""
    waiting: list[ast.AST] = [tree]
    while waiting:
        for node in ast.iter_child_nodes(waiting.pop()):
            if isinstance(node, _FUNCTIONS):
                yield node
            elif not isinstance(node, ast.expr):
                waiting.append(node)


def _changes(node: ast.AST, function: str, hidden: frozenset[str]) -> Iterator[tuple[str, Change]]:
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
        body: list[ast.AST] = [node.body] if isinstance(node, ast.Lambda) else list(node.body)
        own = bound_names(body) | {one.arg for one in parameters(node)}
        hidden = (hidden | own) - global_names(body)
    for name, line, is_by_method in _changed_by(node):
        if name not in hidden:
            yield name, Change(function, line, is_by_method)
    for child in ast.iter_child_nodes(node):
        yield from _changes(child, function, hidden)


def _changed_by(node: ast.AST) -> Iterator[tuple[str, int, bool]]:
    if isinstance(node, ast.stmt):
        for target in targets_of(node):
            root = root_of(target)
            if root is not None:
                yield root.id, target.lineno, False
        return
    match node:
        case ast.Call(func=ast.Attribute(value=ast.Name(id=name), attr=method)) if method in CHANGING_METHODS:
            yield name, node.lineno, True
        case _:
            pass


def _is_for_import_only(name: str, tree: ast.Module, functions: list[ast.FunctionDef | ast.AsyncFunctionDef]) -> bool:
    """A decorator that fills a registry changes nothing any more when runs begin.

    That is taken for granted if its module uses it, and no function of the module does.
    """
    used = sum(_uses(name, node) for node in ast.walk(tree))
    within = sum(_uses(name, node) for one in functions for part in one.body for node in ast.walk(part))
    return used > within == 0


def _uses(name: str, node: ast.AST) -> bool:
    return isinstance(node, ast.Name) and node.id == name and isinstance(node.ctx, ast.Load)
