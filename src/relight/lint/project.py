"""The files beside an application: which of them an import means. Others are outside the project."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeAlias, final

from relight.errors import RefusedError
from relight.lint.module import Module

__all__ = ("Project", "Read")

Read: TypeAlias = Callable[[Path], str | None]
"""Return the text of a file, None if there is no such file."""

_MARKS = ("pyproject.toml", "setup.py", "setup.cfg")
_ROOTS_MAX = 8
"""How many directories above a file may be what its imports begin at."""


@final
class Project:
    """Finds and reads modules. An import is of the project if its file lies where Python would look for it.

    Args:
        read: How a file is read; each is read once.
        shown: How a finding names a file.
    """

    def __init__(self, read: Read, shown: Callable[[Path], str]) -> None:
        self._read = read
        self._shown = shown
        self._texts: dict[Path, str | None] = {}
        self._modules: dict[Path, Module] = {}
        self._roots: dict[Path, None] = {}

    def open(self, path: Path) -> Module:
        """Return the module of a file that was asked for; what lies beside and above it is of the project.

        Raises:
            RefusedError: There is no such file, or it is no Python.
        """
        if self._text(path) is None:
            raise RefusedError(f"{self._shown(path)} is no file; give a Python file, or a module")
        self._roots.update(dict.fromkeys(self._roots_of(path)))
        return self._module(path)

    def module(self, location: Path) -> Module | None:
        """Return the module or package at a location, None if there is none or it is a package without a file."""
        for path in _files(location):
            if self._text(path) is not None:
                return self._module(path)
        return None

    def find(self, dotted: str) -> Path | None:
        """Return the location of a module by its absolute name, None if it is not of the project."""
        first, *further = dotted.split(".")
        if first in sys.stdlib_module_names or first == "relight":
            return None
        return next((found for root in self._roots if self.has(found := root.joinpath(first, *further))), None)

    def has(self, location: Path) -> bool:
        """Return whether there is a module, or a package with a file."""
        return any(self._text(path) is not None for path in _files(location))

    def _module(self, path: Path) -> Module:
        if path not in self._modules:
            text = self._text(path)
            assert text is not None, "only files that exist are opened"
            self._modules[path] = Module(path, self._shown(path), text)
        return self._modules[path]

    def _text(self, path: Path) -> str | None:
        if path not in self._texts:
            self._texts[path] = self._read(path)
        return self._texts[path]

    def _roots_of(self, path: Path) -> Iterator[Path]:
        """Yield where imports may begin: here, above each package, up to the project's directory and its `src`."""
        yield path.parent
        above = list(path.parent.parents)[:_ROOTS_MAX]
        directories = [path.parent, *above]
        top = next((one for one in directories if any(self._text(one / mark) is not None for mark in _MARKS)), None)
        for directory, parent in zip(directories, above, strict=False):
            if directory == top or (top is None and self._text(directory / "__init__.py") is None):
                break
            yield parent
        if top is not None:
            yield top / "src"


def _files(location: Path) -> tuple[Path, Path]:
    return location / "__init__.py", location.parent / f"{location.name}.py"
