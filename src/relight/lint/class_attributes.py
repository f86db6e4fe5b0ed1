"""Containers that stand in the body of a class, and so are one and the same for all its instances."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence

from relight.lint.changes import targets_of
from relight.lint.values import Class, Named

__all__ = ("has_own_container",)

_DISPLAYS = (ast.List, ast.Dict, ast.Set, ast.ListComp, ast.DictComp, ast.SetComp)
_MAKERS = frozenset(("list", "dict", "set", "bytearray", "defaultdict", "deque", "Counter", "OrderedDict"))


def has_own_container(lineage: Sequence[Class | Named], name: str) -> bool:
    """Return whether a class or one above it has such an attribute, and no instance one of its own in its place.

    With a decorator, or a base from elsewhere, it may be a model or a dataclass, each of whose instances gets a copy.
    """
    nodes = [one.node for one in lineage if isinstance(one, Class)]
    is_plain = all(isinstance(one, Class) or one.name == "builtins.object" for one in lineage)
    if not is_plain or any(node.keywords or node.decorator_list for node in nodes):
        return False
    made = any(_is_container(value) for node in nodes for target, value in _assigned(node) if target == name)
    return made and not any(_sets_on_instance(part, name) for node in nodes for part in ast.walk(node))


def _assigned(of: ast.ClassDef) -> Iterator[tuple[str, ast.expr]]:
    for statement in of.body:
        match statement:
            case ast.Assign(targets=[ast.Name(id=name)], value=value):
                yield name, value
            case ast.AnnAssign(target=ast.Name(id=name), value=ast.expr() as value):
                yield name, value
            case _:
                pass


def _is_container(value: ast.expr) -> bool:
    match value:
        case ast.Call(func=ast.Name(id=name) | ast.Attribute(attr=name)):
            return name in _MAKERS
        case _:
            return isinstance(value, _DISPLAYS)


def _sets_on_instance(node: ast.AST, name: str) -> bool:
    targets = targets_of(node) if isinstance(node, ast.stmt) else []
    return any(isinstance(one, ast.Attribute) and one.attr == name for one in targets)
