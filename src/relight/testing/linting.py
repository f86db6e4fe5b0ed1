"""The linter, for a test of one's own workflows."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

from relight.errors import RefusedError
from relight.lint import Finding, lint_sources

__all__ = ("Finding", "lint")


def lint(*applications: str | Path | ModuleType) -> tuple[Finding, ...]:
    """Return what `relight lint` finds in the workflows of files or modules: nothing if all is well.

    Args:
        applications: `app.py`, `package.module` relative to the working directory, or a module. Source is read, nothing
            is run.

    Raises:
        RefusedError: There is no such file or module, it is no Python, or no workflow is in any of them.
    """
    return lint_sources([_target(one) for one in applications]).findings


def _target(application: str | Path | ModuleType) -> str:
    if not isinstance(application, ModuleType):
        return str(application)
    file: str | None = getattr(application, "__file__", None)
    if file is None:
        raise RefusedError(f"module {application.__name__!r} has no file; give one that has")
    return file
