"""Lints files: source text in, findings out. Nothing of the user's is imported or run."""

from __future__ import annotations

import ast
import sys
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from relight.errors import RefusedError
from relight.lint.finding import Finding
from relight.lint.frame import Frame
from relight.lint.module import Module
from relight.lint.project import Project, Read
from relight.lint.values import Function, Workflow
from relight.lint.walk import Walk

__all__ = ("Report", "lint_files")

_STACK_MAX = 10_000
"""Frames of the interpreter; they fit into the stack of a main thread, which has 8 MiB."""
_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)


@dataclass(frozen=True)
class Report:
    """What was found, and in how many workflows it was looked for."""

    findings: tuple[Finding, ...]
    workflows: int


def lint_files(paths: Iterable[Path], *, read: Read, shown: Callable[[Path], str]) -> Report:
    """Look through the workflows that the files define or import, and through what they call in the same project.

    Args:
        paths: Absolute.
        read: Returns the text of a file, None if there is none.
        shown: How a finding names a file.

    Raises:
        RefusedError: A file is missing, is no Python, or is nested too deeply to be looked through.
    """
    project = Project(read, shown)
    walk = Walk(project)
    found: dict[Workflow, None] = {}
    for path in paths:
        module = project.open(path)
        with _deep_stack(module.shown):
            found.update(dict.fromkeys(_workflows(module, walk)))
            for workflow in found:
                walk.enter(workflow)
    return Report(walk.findings, len(found))


@contextmanager
def _deep_stack(shown: str) -> Generator[None]:
    """Let the walk go as deep as the code does; Python's own limit is for programs that do not walk through others."""
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(max(limit, _STACK_MAX))
    try:
        yield
    except RecursionError as error:
        raise RefusedError(f"{shown} has code that is nested too deeply to be looked through") from error
    finally:
        sys.setrecursionlimit(limit)


def _workflows(module: Module, walk: Walk) -> Iterator[Workflow]:
    """Yield the workflows that a module has or imports, and those that its functions would make."""
    names = walk.names_of(module)
    for values in list(names.env.values()):
        yield from (one for one in walk.resolved(values) if isinstance(one, Workflow))
    _look_into(module.tree, names, walk)
    yield from [one for one, home in walk.workflows.items() if home is module]


def _look_into(node: ast.AST, frame: Frame, walk: Walk) -> None:
    """Walk through functions in which others are decorated: they are called somewhere, whoever calls them."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, _FUNCTIONS):
            if _decorates(child):
                inner = walk.frame_of(Function(child, frame))
                walk.execute(child.body, inner)
                _look_into(child, inner, walk)
        elif not isinstance(child, ast.expr):
            _look_into(child, frame, walk)


def _decorates(function: ast.AST) -> bool:
    inner = (one for one in ast.walk(function) if one is not function and isinstance(one, _FUNCTIONS))
    return any(one.decorator_list for one in inner)
