"""What a type says about the values of a name."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING

from relight.lint.frame import Frame
from relight.lint.values import NOTHING, ORDERED_SET, Class, Instance, Made, Named, Unordered, Value, Values

if TYPE_CHECKING:
    from relight.lint.walk import Walk

__all__ = ("annotated",)

_SETS = frozenset(
    (
        *("builtins.set", "builtins.frozenset", "typing.Set", "typing.FrozenSet", "typing.AbstractSet"),
        *("typing.MutableSet", "collections.abc.Set", "collections.abc.MutableSet"),
    )
)
_WRAPPERS = frozenset(
    (
        *("typing.Optional", "typing.Union", "typing.Annotated", "typing.Final", "typing.ClassVar"),
        *("typing.Awaitable", "typing.Coroutine", "collections.abc.Awaitable", "collections.abc.Coroutine"),
        "dataclasses.InitVar",
    )
)
_ORDERED_ELEMENTS = frozenset(
    (
        *("builtins.int", "builtins.bool", "builtins.float", "asyncio.Task", "asyncio.Future"),
        *("asyncio.tasks.Task", "asyncio.futures.Future"),
    )
)


def annotated(node: ast.expr, frame: Frame, walk: Walk) -> Values:
    """Return the values that an annotation promises, as far as they matter."""
    match node:
        case ast.Constant(value=str(text)):
            return _quoted(text, frame, walk)
        case ast.BinOp(left=left, op=ast.BitOr(), right=right):
            return annotated(left, frame, walk) | annotated(right, frame, walk)
        case ast.Subscript(value=value, slice=inner):
            return NOTHING.union(*(_of(one, inner, frame, walk) for one in _type(value, frame, walk)))
        case ast.Name() | ast.Attribute():
            return NOTHING.union(*(_of(one, None, frame, walk) for one in _type(node, frame, walk)))
        case _:
            return NOTHING


def _quoted(text: str, frame: Frame, walk: Walk) -> Values:
    try:
        parsed = ast.parse(text.strip(), mode="eval").body
    except SyntaxError:
        return NOTHING  # A `Literal` or a description in `Annotated` is no type.
    return NOTHING if isinstance(parsed, ast.Constant) else annotated(parsed, frame, walk)


def _type(node: ast.expr, frame: Frame, walk: Walk) -> Values:
    """Look a type's name up, without a word about what reading it may mean."""
    match node:
        case ast.Name(id=name):
            return walk.look_up(name, frame)
        case ast.Attribute(value=value, attr=name):
            return NOTHING.union(*(walk.member(one, name, node, frame) for one in _type(value, frame, walk)))
        case _:
            return NOTHING


def _of(kind: Value, inner: ast.expr | None, frame: Frame, walk: Walk) -> Values:
    match kind:
        case Class():
            return frozenset((Instance(kind, is_shared=False),))
        case Named(name=name) if name in _SETS:
            return frozenset((_set_of(inner, frame, walk),))
        case Named(name=name) if name in _WRAPPERS and inner is not None:
            parts = inner.elts if isinstance(inner, ast.Tuple) else [inner]
            return NOTHING.union(*(annotated(one, frame, walk) for one in parts))
        case Named(name=name):
            return frozenset((Made(name),))
        case _:
            return NOTHING


def _set_of(inner: ast.expr | None, frame: Frame, walk: Walk) -> Value:
    element = inner.value if isinstance(inner, ast.Subscript) else inner
    kinds = NOTHING if element is None else _type(element, frame, walk)
    is_ordered = any(isinstance(one, Named) and one.name in _ORDERED_ELEMENTS for one in kinds)
    return ORDERED_SET if is_ordered else Unordered()
