"""Imports the user's application and finds its workflows.

What is imported is only ever what a person typed: a path, or the name of a module. A file is imported as a module of
its stem with its directory first on `sys.path`, as `python app.py` would do it, so that the types in it have the same
names for whoever imports it.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys
import traceback
from pathlib import Path
from types import ModuleType, TracebackType
from typing import TYPE_CHECKING, Any, cast

from relight.cli.verb import AlreadySaidError
from relight.errors import RefusedError, RelightError

if TYPE_CHECKING:
    from relight.sdk._workflow import Workflow

__all__ = ("load_workflows", "source_of")

_PACKAGE = str(Path(__file__).parent.parent) + os.sep


def load_workflows(target: str) -> list[Workflow[..., Any]]:
    """Return the workflows of `app.py`, `package.module`, `app.py:name` or `package.module:name`.

    Without a name these are all that the module's attributes hold; with one the attribute is a workflow, or a list of
    them.

    Raises:
        RefusedError: There is no such file or attribute, or no workflow in it.
        AlreadySaidError: The module's own code failed; its traceback stands on standard error.
    """
    source, name = _split(target)
    module = _imported(source)
    value = cast("list[object]", list(vars(module).values())) if name is None else _attribute(module, name, target)
    found = _workflows(value)
    if not found:
        raise RefusedError(f"{target} has no workflow; decorate an `async def` with @workflow")
    return found


def source_of(target: str) -> Path | None:
    """Return the file that a target names, None if it names a module."""
    source, _ = _split(target)
    return Path(source) if _is_path(source) else None


def _split(target: str) -> tuple[str, str | None]:
    source, colon, name = target.rpartition(":")
    return (source, name) if colon and name.isidentifier() else (target, None)


def _is_path(source: str) -> bool:
    return source.endswith(".py") or "/" in source or Path(source).is_file()


def _imported(source: str) -> ModuleType:
    importing = _import_file if _is_path(source) else _import_module
    try:
        return importing(source)
    except SystemExit as error:
        raise RefusedError(
            f"{source} ended the process while it was imported; put what runs it under `if __name__ == '__main__':`"
        ) from error
    except Exception as error:
        if (place := _place_of_refusal(error)) is not None:
            raise RefusedError(f"{place}: {error}") from error
        if isinstance(error, RefusedError):
            raise
        _print_traceback(error)
        raise AlreadySaidError from error


def _import_file(source: str) -> ModuleType:
    path = Path(source).resolve()
    if not path.is_file():
        raise RefusedError(f"{source} is no file; give the Python file that has the workflows")
    name = path.stem
    if name in sys.modules:
        raise RefusedError(f"{source} has the name of a module that is in use; rename the file")
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise RefusedError(f"{source} is no Python file; its name must end in .py")
    sys.path.insert(0, str(path.parent))
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def _import_module(source: str) -> ModuleType:
    sys.path.insert(0, str(Path.cwd()))
    names = source.split(".")
    # Package by package, each looked for before it is run: what fails in it then is its own failure.
    for end in range(1, len(names) + 1):
        name = ".".join(names[:end])
        if not all(names) or not _is_there(name):
            raise RefusedError(f"there is no module {source!r}; give a file (app.py) or a module")
        importlib.import_module(name)
    return sys.modules[source]


def _is_there(name: str) -> bool:
    try:
        return importlib.util.find_spec(name) is not None
    except (ImportError, ValueError):
        return False


def _attribute(module: ModuleType, name: str, target: str) -> list[object]:
    if not hasattr(module, name):
        raise RefusedError(f"{target}: the module has no attribute {name!r}")
    value: object = getattr(module, name)
    return list(cast("list[object]", value)) if isinstance(value, list | tuple) else [value]


def _workflows(values: list[object]) -> list[Workflow[..., Any]]:
    from relight.sdk._workflow import Workflow

    found = [cast("Workflow[..., Any]", one) for one in values if isinstance(one, Workflow)]
    return list({id(one): one for one in found}.values())


def _place_of_refusal(error: Exception) -> str | None:
    """Return where the user's code calls what has refused the call; None if it failed by itself."""
    frames = traceback.extract_tb(error.__traceback__)
    if not isinstance(error, RelightError | TypeError) or not frames[-1].filename.startswith(_PACKAGE):
        return None
    theirs = [one for one in frames if not one.filename.startswith((_PACKAGE, "<", importlib.__file__))]
    return f"{os.path.relpath(theirs[-1].filename)}:{theirs[-1].lineno}" if theirs else None


def _print_traceback(error: Exception) -> None:
    frames = error.__traceback__
    while frames is not None and _is_ours(frames):
        frames = frames.tb_next
    # What the import machinery put around the user's error is no news to him.
    traceback.print_exception(type(error), error, frames, chain=True)


def _is_ours(frame: TracebackType) -> bool:
    file = frame.tb_frame.f_code.co_filename
    return file in (__file__, importlib.__file__) or file.startswith("<frozen importlib")
