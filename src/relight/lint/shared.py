"""Variables that all runs of a process share."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING

from relight.lint.changes import CHANGING_METHODS, root_of
from relight.lint.class_attributes import has_own_container
from relight.lint.frame import Frame
from relight.lint.members import lineage
from relight.lint.module import Module
from relight.lint.rules import GLOBAL_STATE
from relight.lint.sets import is_set
from relight.lint.values import Class, InProject, Instance, Made, Values

if TYPE_CHECKING:
    from relight.lint.walk import Walk

__all__ = ("check_change", "check_changing_call", "check_next", "check_read")

_CONTAINERS = frozenset(
    Made(f"builtins.{name}") for name in ("list", "dict", "set", "bytearray")
)  # fmt: skip
_SYNCHRONIZERS = frozenset(
    Made(f"{module}.{name}")
    for module, names in (
        ("asyncio", "Lock Event Condition Semaphore BoundedSemaphore Barrier Queue LifoQueue PriorityQueue"),
        ("anyio", "Lock Event Condition Semaphore CapacityLimiter"),
    )
    for name in names.split()
)
_ITERATORS = frozenset((Made("itertools.count"), Made("itertools.cycle")))


def check_read(name: str, module: Module, node: ast.expr, values: Values, frame: Frame, walk: Walk) -> None:
    """Report a variable of a module that is read here, and changed by one of the module's functions.

    Locks, events and queues change whoever uses them.

    A class is not: whoever sets an attribute of it does not change what calling it gives.
    """
    change = module.changes.get(name)
    if not _SYNCHRONIZERS.isdisjoint(values):
        walk.report(GLOBAL_STATE, f"{name}, for which runs would wait on each other,", node, frame)
        return
    if any(isinstance(one, Class | InProject) for one in values):
        return
    if change is not None and (not change.is_by_method or _is_container(values)):
        what = f"{name} ({change.function} changes it: {module.shown}:{change.line})"
        walk.report(GLOBAL_STATE, what, node, frame)


def check_change(target: ast.expr, frame: Frame, walk: Walk) -> None:
    """Report an assignment to what all runs share, or to a part of it."""
    match target:
        case ast.Name(id=name):
            if name in frame.globals:
                _report(name, target, frame, walk)
        case ast.Attribute(value=value) | ast.Subscript(value=value):
            if _is_shared(value, frame, walk):
                _report(ast.unparse(target), target, frame, walk)
        case _:
            pass


def check_changing_call(node: ast.Call, receiver: Values, frame: Frame, walk: Walk) -> None:
    """Report `CACHE.append(…)` and its like."""
    match node.func:
        case ast.Attribute(value=value, attr=method) if method in CHANGING_METHODS:
            if _is_container(receiver) and _is_shared(value, frame, walk):
                _report(ast.unparse(value), value, frame, walk)
        case _:
            pass


def check_next(node: ast.Call, frame: Frame, walk: Walk) -> None:
    """Report `next(NUMBERS)`, where all runs count on."""
    match node.args:
        case [ast.Name(id=name) as counted, *_] if frame.owner(name).parent is None:
            if not _ITERATORS.isdisjoint(walk.look_up(name, frame)):
                _report(name, counted, frame, walk)
        case _:
            pass


def _is_shared(node: ast.expr, frame: Frame, walk: Walk) -> bool:
    """Return whether this is a module, a class, a variable of a module, or a part of one of them."""
    root = root_of(node)
    if not frame.is_durable:
        return False
    if root is None:
        return _is_of_own_class(node)
    values = walk.look_up(root.id, frame)
    if any(isinstance(one, Class | InProject) or (isinstance(one, Instance) and one.is_shared) for one in values):
        return True
    if _is_class_attribute(node, values, walk):
        return True
    return frame.owner(root.id).parent is None and root.id in walk.names_of(frame.module).env


def _is_of_own_class(node: ast.expr) -> bool:
    """Return whether this is `type(self)`, or a part of it."""
    while isinstance(node, ast.Attribute | ast.Subscript):
        node = node.value
    match node:
        case ast.Call(func=ast.Name(id="type"), args=[_], keywords=[]):
            return True
        case _:
            return False


def _is_class_attribute(node: ast.expr, values: Values, walk: Walk) -> bool:
    """Return whether this is `self.__class__`, a container in the body of the class of `self`, or a part of either."""
    attribute: ast.Attribute | None = None
    while isinstance(node, ast.Attribute | ast.Subscript):
        attribute = node if isinstance(node, ast.Attribute) else None
        node = node.value
    if attribute is None:
        return False
    instances = [one for one in values if isinstance(one, Instance)]
    return any(
        attribute.attr == "__class__" or has_own_container(lineage(one.of, walk), attribute.attr) for one in instances
    )


def _is_container(values: Values) -> bool:
    return is_set(values) or not _CONTAINERS.isdisjoint(values)


def _report(name: str, node: ast.expr, frame: Frame, walk: Walk) -> None:
    walk.report(GLOBAL_STATE, f"{name}, changed here,", node, frame)
