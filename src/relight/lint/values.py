"""What the linter knows of a value: enough to see what is called and what is a set. Nothing known is an empty set."""

from __future__ import annotations

import ast
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from relight.lint.frame import Frame

__all__ = (
    "NOTHING",
    "ORDERED_SET",
    "Arguments",
    "Class",
    "Def",
    "Function",
    "Imported",
    "InProject",
    "Instance",
    "Made",
    "Named",
    "Parent",
    "Recorded",
    "Unordered",
    "Value",
    "Values",
    "Workflow",
)

Def: TypeAlias = ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda


@dataclass(frozen=True, slots=True)
class Named:
    """Something from outside the project, by its dotted name: `time.time`, `builtins.open`."""

    name: str


@dataclass(frozen=True, slots=True)
class Made:
    """An instance of a class from outside the project."""

    name: str


@dataclass(frozen=True, slots=True)
class Unordered:
    """A set."""


@dataclass(frozen=True, slots=True)
class InProject:
    """A module or package of the project: its file without `.py`, or its directory."""

    location: Path


@dataclass(frozen=True, slots=True)
class Imported:
    """What a module of the project calls by this name; looked up when it is used, for imports may go round."""

    location: Path
    name: str


@dataclass(frozen=True, slots=True)
class Class:
    """A class of the project."""

    node: ast.ClassDef
    frame: Frame


@dataclass(frozen=True, slots=True)
class Instance:
    """An instance of a class of the project; `is_shared` if it was made when its module was imported."""

    of: Class
    is_shared: bool


@dataclass(frozen=True, slots=True)
class Function:
    """A function of the project, where it was defined, and what it is bound to if it is a method."""

    node: Def
    frame: Frame
    owner: Class | None = None
    receiver: Instance | Class | None = None

    @property
    def name(self) -> str:
        name = "<lambda>" if isinstance(self.node, ast.Lambda) else self.node.name
        return name if self.owner is None else f"{self.owner.node.name}.{name}"


@dataclass(frozen=True, slots=True)
class Parent:
    """What `super()` gives."""

    owner: Class
    receiver: Instance | Class


@dataclass(frozen=True, slots=True)
class Recorded:
    """A step, with its function."""

    functions: Values


@dataclass(frozen=True, slots=True)
class Workflow:
    """A workflow, with its function."""

    functions: Values


Value: TypeAlias = (
    Named | Made | Unordered | InProject | Imported | Class | Instance | Function | Parent | Recorded | Workflow
)
Values: TypeAlias = frozenset[Value]

NOTHING: Values = frozenset()

ORDERED_SET = Made("builtins.set")
"""A set whose order is the same in each replay: of tasks, which the run's loop counts, or of numbers."""


@dataclass(frozen=True)
class Arguments:
    """What a call passes on, as far as it is known which parameter gets it.

    Attributes:
        others: What is passed on in ways that the walk does not follow, such as `*arguments`.
    """

    positional: tuple[Values, ...] = ()
    keywords: Mapping[str, Values] = field(default_factory=dict[str, Values])
    others: Values = NOTHING

    @property
    def all(self) -> Values:
        return self.others.union(*self.positional, *self.keywords.values())
