"""Waits for changes of Python files below a directory."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

__all__ = ("next_change", "source_directories")

_DIRECTORIES_MAX = 1_000
_SETTLED_MS = 200
_SKIPPED = frozenset({"__pycache__", "node_modules", "site-packages", "venv", "env", "build", "dist"})


async def next_change(root: Path) -> str:
    """Return the name of the first Python file below `root` that changes from now on, without its directory."""
    from watchfiles import PythonFilter, awatch  # pyright: ignore[reportUnknownVariableType]  # one of its types is trio's

    directories = source_directories(root)
    async for changes in awatch(*directories, watch_filter=PythonFilter(), recursive=False, debounce=_SETTLED_MS):
        return Path(min(path for _, path in changes)).name
    raise asyncio.CancelledError


def source_directories(root: Path) -> list[Path]:
    """Return the directories that hold Python files: at most 1,000, without virtual environments and hidden ones.

    They are watched one by one: a recursive watch would also see every write of the server in `.relight`.
    """
    found = [root]
    for directory, below, files in os.walk(root):
        below[:] = [one for one in below if one not in _SKIPPED and not one.startswith(".")]
        if "pyvenv.cfg" in files:
            below.clear()
        elif directory != str(root) and any(one.endswith(".py") for one in files):
            found.append(Path(directory))
        if len(found) == _DIRECTORIES_MAX:
            break
    return found
