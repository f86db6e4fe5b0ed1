"""Waits for changes of Python files below a directory.

How the files were is remembered before a worker reads them, and compared once the watch is there and whenever something
has happened: so no change is missed while there is no watch, as long as that may take.
"""

from __future__ import annotations

import asyncio
import importlib.util
import os
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import aclosing, suppress
from pathlib import Path
from typing import Any

__all__ = ("Files", "next_change", "remove_doubtful_bytecode", "source_directories", "source_files")

Files = Mapping[Path, tuple[int, int]]
"""Python files, each with the time of its last change in ns, and its size."""

_WATCHED_MAX = 1_000
_VISITED_MAX = 10_000
_SETTLED_MS = 200
_AWAY_S = 0.5
_SUFFIXES = (".py", ".pyx", ".pyd")
_SKIPPED = frozenset({"__pycache__", "node_modules", "site-packages", "venv", "env", "build", "dist"})
_IN_DOUBT_NS = 2_000_000_000


async def next_change(root: Path, seen: Files) -> str:
    """Return the name of the first Python file below `root` that is not as it was seen, without its directory."""
    from watchfiles import awatch  # pyright: ignore[reportUnknownVariableType]  # one of its types is trio's

    while True:
        directories = await asyncio.to_thread(source_directories, root)
        events = awatch(
            *directories,
            watch_filter=_filter(directories),
            recursive=False,
            debounce=_SETTLED_MS,
            ignore_permission_denied=True,
        )
        async with aclosing(events):
            happening = asyncio.ensure_future(anext(events))
            try:
                await asyncio.sleep(0)  # In its first step it begins to watch.
                changed = _difference(seen, await asyncio.to_thread(source_files, root))
                if changed:
                    return min(changed).name
                await happening
            except FileNotFoundError:
                # A directory has just been removed. If it was the root, nothing will tell when that comes back.
                await asyncio.sleep(_AWAY_S)
            finally:
                await _ended(happening)


async def _ended(happening: asyncio.Future[Any]) -> None:
    happening.cancel()
    await asyncio.wait((happening,))
    if not happening.cancelled():
        happening.exception()  # Taken, so that nobody is told of it later.


def _filter(directories: list[Path]) -> Callable[[object, str], bool]:
    known = {str(one) for one in directories}

    def is_of_interest(_change: object, path: str) -> bool:
        return path.endswith(_SUFFIXES) or path in known or (os.path.isdir(path) and not _is_skipped(Path(path).name))

    return is_of_interest


def _difference(old: Files, new: Files) -> set[Path]:
    return {path for path in old.keys() | new.keys() if old.get(path) != new.get(path)}


def source_files(root: Path) -> Files:
    """Return the Python files that are watched, as they are."""
    files: dict[Path, tuple[int, int]] = {}
    for directory in source_directories(root):
        for one in _entries(directory):
            with suppress(OSError):
                if one.name.endswith(_SUFFIXES):
                    state = one.stat()
                    files[Path(one.path)] = (state.st_mtime_ns, state.st_size)
    return files


def remove_doubtful_bytecode(files: Files) -> None:
    """Make sure that the next interpreter runs these files as they are.

    Compiled code is valid for a size and a whole second, so of two versions of one size that were saved within a second
    the first one could run for the second. What was compiled long enough after the last change is the last version.
    """
    for path, (changed_ns, _) in files.items():
        compiled = Path(importlib.util.cache_from_source(path))
        with suppress(OSError):
            if compiled.stat().st_mtime_ns < changed_ns + _IN_DOUBT_NS:
                compiled.unlink()


def source_directories(root: Path) -> list[Path]:
    """Return the directories that hold Python files, then others, in which some may appear: at most 1,000.

    Without virtual environments and hidden ones. They are watched one by one: a recursive watch would also see every
    write of the server in `.relight`.
    """
    with_files, others = list[Path](), list[Path]()
    for directory, entries in _visited(root):
        has_files = any(one.name.endswith(_SUFFIXES) for one in entries)
        (with_files if has_files else others).append(directory)
    return [*with_files, *others][:_WATCHED_MAX]


def _visited(root: Path) -> Iterator[tuple[Path, list[os.DirEntry[str]]]]:
    """Walk, the nearest first, and what links lead to last: that may be anything, also what was visited already."""
    near, linked, visited = deque([root]), deque[Path](), set[str]()
    while (near or linked) and len(visited) < _VISITED_MAX:
        directory = near.popleft() if near else linked.popleft()
        entries = _entries(directory)
        if os.path.realpath(directory) in visited or (directory != root and _is_environment(entries)):
            continue
        visited.add(os.path.realpath(directory))
        yield directory, entries
        for one in entries:
            if not _is_skipped(one.name) and os.path.isdir(one.path):
                (linked if one.is_symlink() else near).append(Path(one.path))


def _entries(directory: Path) -> list[os.DirEntry[str]]:
    with suppress(OSError), os.scandir(directory) as entries:
        return sorted(entries, key=lambda one: one.name)
    return []


def _is_environment(entries: list[os.DirEntry[str]]) -> bool:
    return any(one.name == "pyvenv.cfg" for one in entries)


def _is_skipped(name: str) -> bool:
    return name in _SKIPPED or name.startswith(".")
