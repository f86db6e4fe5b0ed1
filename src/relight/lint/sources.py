"""Files as they lie on the disk."""

from __future__ import annotations

import tokenize
from pathlib import Path

from relight.errors import RefusedError
from relight.lint.linting import Report, lint_files

__all__ = ("lint_sources",)


def lint_sources(targets: list[str]) -> Report:
    """Lint what a person names: `app.py` or `package.module`, relative to the working directory.

    Raises:
        RefusedError: There is no such file or module, it is no Python, or no workflow is in any of them.
    """
    directory = Path.cwd()
    paths = [_path_of(one, directory) for one in targets]
    report = lint_files(paths, read=_read, shown=lambda path: _shown(path, directory))
    if not report.workflows:
        raise RefusedError(f"{', '.join(targets)}: no workflow; decorate an `async def` with @workflow")
    return report


def _path_of(target: str, directory: Path) -> Path:
    path = directory / target
    if path.is_file() or target.endswith(".py") or "/" in target:
        return path.resolve()
    location = directory.joinpath(*target.split("."))
    found = (location / "__init__.py", location.parent / f"{location.name}.py")
    for one in found:
        if one.is_file():
            return one.resolve()
    raise RefusedError(f"there is no file or module {target!r} here; give app.py, or package.module")


def _read(path: Path) -> str | None:
    """Return the text in the encoding that the file itself names."""
    try:
        with tokenize.open(path) as file:
            return file.read()
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError, PermissionError):
        return None
    except (SyntaxError, UnicodeDecodeError) as error:
        raise RefusedError(f"{path} can't be read as Python: {error}") from error


def _shown(path: Path, directory: Path) -> str:
    return str(path.relative_to(directory)) if path.is_relative_to(directory) else str(path)
