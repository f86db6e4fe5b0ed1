"""What `relight dev` sees of the files that it follows."""

from __future__ import annotations

import asyncio
import os
import shutil
import threading
from importlib.util import cache_from_source
from pathlib import Path
from py_compile import compile as compile_file

import pytest

from relight.cli.changes import next_change, remove_doubtful_bytecode, source_directories, source_files


@pytest.fixture
def app(tmp_path: Path) -> Path:
    root = tmp_path / "app"
    root.mkdir()
    (root / "app.py").write_text("one")
    return root


async def watching(root: Path) -> asyncio.Task[str]:
    """Return the wait for a change, when it has looked once and watches in a thread of its own."""
    waiting = asyncio.create_task(next_change(root, source_files(root)))
    while not any(one.name.startswith("AnyIO") for one in threading.enumerate()):
        await asyncio.sleep(0)
    await asyncio.to_thread(source_files, root)
    return waiting


async def test_a_change_before_the_watch_is_there_is_not_missed(app: Path) -> None:
    seen = source_files(app)
    (app / "app.py").write_text("two and more")

    assert await next_change(app, seen) == "app.py"


async def test_a_package_that_is_made_meanwhile_is_seen(app: Path) -> None:
    waiting = await watching(app)

    (app / "shop").mkdir()
    (app / "shop" / "prices.py").write_text("LIMIT = 1")

    assert await waiting == "prices.py"


async def test_a_package_below_a_directory_without_python_files_is_seen(app: Path) -> None:
    (app / "src").mkdir()
    (app / "src" / "notes.txt").touch()
    waiting = await watching(app)

    (app / "src" / "shop").mkdir()
    (app / "src" / "shop" / "prices.py").touch()

    assert await waiting == "prices.py"


async def test_a_package_that_is_a_link_is_seen(app: Path, tmp_path: Path) -> None:
    (tmp_path / "lib").mkdir()
    (tmp_path / "lib" / "module.py").write_text("X = 1")
    (app / "lib").symlink_to(tmp_path / "lib")
    waiting = await watching(app)

    (tmp_path / "lib" / "module.py").write_text("X = 1000")

    assert await waiting == "module.py"


async def test_a_directory_that_goes_away_and_comes_back_is_two_changes(app: Path) -> None:
    seen = source_files(app)
    shutil.rmtree(app)
    gone = await next_change(app, seen)
    waiting = asyncio.create_task(next_change(app, source_files(app)))
    await asyncio.sleep(0)
    app.mkdir()
    (app / "app.py").write_text("one")

    assert (gone, await waiting) == ("app.py", "app.py")


async def test_a_file_that_is_removed_is_a_change(app: Path) -> None:
    waiting = await watching(app)

    (app / "app.py").unlink()

    assert await waiting == "app.py"


def test_links_in_a_circle_are_followed_once(app: Path) -> None:
    (app / "package").mkdir()
    (app / "package" / "module.py").touch()
    (app / "package" / "up").symlink_to(app)
    (app / "itself").symlink_to(app / "itself")

    assert source_directories(app) == [app, app / "package"]


@pytest.mark.parametrize(("compiled_after_s", "is_kept"), [(-0.5, False), (0.5, False), (3, True)])
def test_what_was_compiled_within_the_second_of_a_change_is_not_run(
    app: Path, compiled_after_s: float, is_kept: bool
) -> None:
    (app / "app.py").write_text("x = 1")
    compiled = Path(compile_file(str(app / "app.py")) or "")
    changed_s = (app / "app.py").stat().st_mtime
    os.utime(compiled, (changed_s, changed_s + compiled_after_s))

    remove_doubtful_bytecode(source_files(app))

    assert Path(cache_from_source(app / "app.py")) == compiled
    assert compiled.exists() == is_kept
