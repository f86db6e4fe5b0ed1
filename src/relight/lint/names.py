"""What a name stands for: here, further out, in the module, behind an import, or in Python itself."""

from __future__ import annotations

import ast
import builtins
from pathlib import Path
from typing import TYPE_CHECKING

from relight.lint.frame import Frame
from relight.lint.module import Module
from relight.lint.values import NOTHING, Imported, InProject, Named, Value, Values

if TYPE_CHECKING:
    from relight.lint.walk import Walk

__all__ = ("assign", "bind_import", "bind_import_from", "look_up", "name_in", "resolved")


def look_up(name: str, frame: Frame, walk: Walk) -> Values:
    """Return what a name stands for in a frame."""
    owner = frame.owner(name)
    if owner.parent is not None:
        return walk.resolved(owner.env.get(name, NOTHING))
    return _in_module(name, frame.module, walk)


def name_in(location: Path, name: str, walk: Walk) -> Values:
    """Return what a module of the project calls by this name."""
    return resolved(frozenset((Imported(location, name),)), walk)


def resolved(values: Values, walk: Walk) -> Values:
    """Return the values with those behind imports in their place; imports that go round lead to nothing."""
    if not any(isinstance(one, Imported) for one in values):
        return values
    found: set[Value] = set()
    seen: set[Value] = set()
    waiting = list(values)
    while waiting:
        one = waiting.pop()
        if not isinstance(one, Imported):
            found.add(one)
        elif one not in seen:
            seen.add(one)
            waiting += _behind(one, walk)
    return frozenset(found)


def _behind(imported: Imported, walk: Walk) -> Values:
    module = walk.project.module(imported.location)
    values = NOTHING if module is None else walk.names_of(module).env.get(imported.name, NOTHING)
    # `from . import part` in a package names the part by itself.
    if values - {imported}:
        return values
    below = imported.location / imported.name
    return frozenset((InProject(below),)) if walk.project.has(below) else NOTHING


def assign(name: str, values: Values, frame: Frame) -> None:
    """Note what a name stands for from now on."""
    owner = frame.owner(name)
    # A function does not run at the point where its module is walked through.
    if owner.parent is not None or frame is owner:
        owner.env[name] = values


def bind_import(alias: ast.alias, frame: Frame, walk: Walk) -> None:
    """`import a.b` binds `a`; `import a.b as c` binds `a.b`."""
    location = walk.project.find(alias.name)
    first, *further = alias.name.split(".")
    if location is None:
        bound = Named(alias.name if alias.asname else first)
        return assign(alias.asname or first, frozenset((bound,)), frame)
    if alias.asname is None:
        for _ in further:
            location = location.parent
    return assign(alias.asname or first, frozenset((InProject(location),)), frame)


def bind_import_from(node: ast.ImportFrom, frame: Frame, walk: Walk) -> None:
    """Bind what is imported, without looking into its module before it is used."""
    for alias in node.names:
        location = _source(node, alias.name, frame.module, walk)
        if alias.name == "*":
            _bind_all(location, node, frame, walk)
        elif location is not None:
            assign(alias.asname or alias.name, frozenset((Imported(location, alias.name),)), frame)
        else:
            outside = NOTHING if node.level else frozenset((Named(f"{node.module}.{alias.name}"),))
            assign(alias.asname or alias.name, outside, frame)


def _source(node: ast.ImportFrom, name: str, module: Module, walk: Walk) -> Path | None:
    """Return the location of what is imported from; a package may have no file of its own."""
    if node.level:
        location = module.path.parent
        for _ in range(node.level - 1):
            location = location.parent
        return location.joinpath(*(node.module or "").split(".")) if node.module else location
    dotted = node.module or ""
    found = walk.project.find(dotted)
    if found is None and (below := walk.project.find(f"{dotted}.{name}")) is not None:
        found = below.parent
    return found


def _bind_all(location: Path | None, node: ast.ImportFrom, frame: Frame, walk: Walk) -> None:
    if location is None:
        frame.module.stars.append(node.module or "")
    elif (module := walk.project.module(location)) is not None:
        for name, values in list(walk.names_of(module).env.items()):
            if not name.startswith("_"):
                assign(name, values, frame)


def _in_module(name: str, module: Module, walk: Walk) -> Values:
    values = walk.names_of(module).env.get(name)
    if values is not None:
        return walk.resolved(values)
    if hasattr(builtins, name):
        return frozenset((Named(f"builtins.{name}"),))
    return frozenset(Named(f"{star}.{name}") for star in module.stars)
