"""What an attribute is: of a module, a class, an instance, or something from outside the project."""

from __future__ import annotations

import ast
from collections import defaultdict
from functools import partial
from typing import TYPE_CHECKING, TypeAlias

from relight.lint.frame import Frame
from relight.lint.names import name_in
from relight.lint.values import (
    NOTHING,
    Arguments,
    Class,
    Function,
    Imported,
    InProject,
    Instance,
    Made,
    Named,
    Parent,
    Recorded,
    Unordered,
    Value,
    Values,
    Workflow,
)

if TYPE_CHECKING:
    from relight.lint.walk import Walk

__all__ = ("call_method", "lineage", "member")

_Method: TypeAlias = ast.FunctionDef | ast.AsyncFunctionDef
_Assignment: TypeAlias = ast.Assign | ast.AnnAssign
_Assigned: TypeAlias = dict[str, list[tuple[_Method, _Assignment]]]
_SET_METHODS = frozenset(("copy", "difference", "intersection", "symmetric_difference", "union"))
_PROPERTIES = frozenset(("builtins.property", "functools.cached_property"))
_LINEAGE_MAX = 20
"""Classes above a class; enough for all that is not a circle."""


def member(value: Value, name: str, node: ast.expr, frame: Frame, walk: Walk) -> Values:
    """Return an attribute of a value; a property is walked through."""
    match value:
        case Named(name=prefix) | Made(name=prefix):
            return frozenset((Named(f"{prefix}.{name}"),))
        case Unordered() if name in _SET_METHODS:
            return frozenset((Named(f"builtins.set.{name}"),))
        case InProject(location=location):
            return name_in(location, name, walk)
        case Class():
            return _found(value, value, lineage(value, walk), name, node, frame, walk)
        case Instance(of=of) if name == "__class__":
            return frozenset((of,))
        case Instance(of=of):
            return _found(of, value, lineage(of, walk), name, node, frame, walk)
        case Parent(owner=owner, receiver=receiver):
            return _found(owner, receiver, lineage(owner, walk)[1:], name, node, frame, walk)
        case Recorded(functions=functions) if name == "function":
            return functions
        case Recorded() if name == "options":
            return frozenset((value,))
        case Workflow(functions=functions) if name == "function":
            return functions
        case Unordered() | Function() | Recorded() | Workflow() | Imported():
            return NOTHING


def lineage(of: Class, walk: Walk) -> list[Class | Named]:
    """Return a class and those above it, in the order in which attributes are looked for (nearly Python's own)."""
    return walk.once(("lineage", of), lambda: _lineage(of, walk), meanwhile=[of])


def _lineage(of: Class, walk: Walk) -> list[Class | Named]:
    found: list[Class | Named] = [of]
    for one in found:
        if isinstance(one, Class) and len(found) < _LINEAGE_MAX:
            for base in one.node.bases:
                plain = base.value if isinstance(base, ast.Subscript) else base
                values = walk.evaluate(plain, one.frame)
                found += [above for above in values if isinstance(above, Class | Named) and above not in found]
    return found


def call_method(receiver: Instance, name: str, node: ast.expr, frame: Frame, walk: Walk) -> None:
    """Follow a method that Python calls by itself, such as `__aenter__`, if the project has written it."""
    for one in lineage(receiver.of, walk):
        if isinstance(one, Class) and (definition := _definition(one, name)) is not None:
            method = Function(definition, one.frame, owner=one, receiver=receiver)
            walk.follow(method, Arguments(), node, frame)
            return


def _found(
    of: Class,
    receiver: Instance | Class,
    classes: list[Class | Named],
    name: str,
    node: ast.expr,
    frame: Frame,
    walk: Walk,
) -> Values:
    for one in classes:
        if isinstance(one, Named):
            if one.name != "builtins.object":
                return frozenset((Named(f"{one.name}.{name}"),))
        elif (definition := _definition(one, name)) is not None:
            return _method(definition, one, receiver, node, frame, walk)
        elif values := walk.once((one, name), partial(_variable, one, name, walk), meanwhile=NOTHING):
            return values
    return NOTHING


def _definition(of: Class, name: str) -> _Method | None:
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef)
    return next((one for one in reversed(of.node.body) if isinstance(one, kinds) and one.name == name), None)


def _method(
    definition: _Method,
    owner: Class,
    receiver: Instance | Class,
    node: ast.expr,
    frame: Frame,
    walk: Walk,
) -> Values:
    kinds = {
        one.name
        for deco in definition.decorator_list
        for one in walk.evaluate(deco, owner.frame)
        if isinstance(one, Named)
    }
    bound: Instance | Class | None = receiver if isinstance(receiver, Instance) else None
    if "builtins.staticmethod" in kinds:
        bound = None
    elif "builtins.classmethod" in kinds:
        bound = receiver.of if isinstance(receiver, Instance) else receiver
    function = Function(definition, owner.frame, owner=owner, receiver=bound)
    if kinds & _PROPERTIES and isinstance(receiver, Instance):
        return walk.follow(function, Arguments(), node, frame)
    return walk.decorated(function, owner.frame)


def _variable(of: Class, name: str, walk: Walk) -> Values:
    """Return what a class says of an attribute: by a type, else by all that is assigned to it in the class."""
    assigned: list[Values] = []
    for statement in of.node.body:
        match statement:
            case ast.AnnAssign(target=ast.Name(id=found), annotation=annotation) if found == name:
                return walk.annotated(annotation, of.frame)
            case ast.Assign(targets=[ast.Name(id=found)], value=value) if found == name:
                assigned.append(walk.evaluate(value, of.frame))
            case ast.ClassDef(name=found) if found == name:
                return frozenset((Class(statement, of.frame),))
            case _:
                pass
    nothing: _Assigned = {}
    by_methods = walk.once(("assigned", of), partial(_assigned_by_methods, of), meanwhile=nothing)
    assigned += [_assigned(definition, node, of, walk) for definition, node in by_methods.get(name, ())]
    return frozenset(one for one in NOTHING.union(*assigned) if all(one in values for values in assigned))


def _assigned_by_methods(of: Class) -> _Assigned:
    """Return where the methods assign to `self.name`, by name."""
    found: defaultdict[str, list[tuple[_Method, _Assignment]]] = defaultdict(list)
    for definition in of.node.body:
        if isinstance(definition, ast.FunctionDef | ast.AsyncFunctionDef):
            given = definition.args
            first = next((one.arg for one in (*given.posonlyargs, *given.args)), None)
            for node in ast.walk(definition):
                match node:
                    case (
                        ast.AnnAssign(target=ast.Attribute(value=ast.Name(id=name), attr=attribute))
                        | ast.Assign(targets=[ast.Attribute(value=ast.Name(id=name), attr=attribute)])
                    ) if name == first:
                        found[attribute].append((definition, node))
                    case _:
                        pass
    return found


def _assigned(definition: _Method, node: _Assignment, of: Class, walk: Walk) -> Values:
    if isinstance(node, ast.AnnAssign):
        return walk.annotated(node.annotation, of.frame)
    return walk.evaluate(node.value, walk.frame_of(Function(definition, of.frame, owner=of)))
