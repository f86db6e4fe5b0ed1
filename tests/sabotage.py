"""Switches off each line of `docs/guarantees.md`, one at a time, and demands that the test named there goes red.

For each row the sources are copied, the line is replaced in the copy, and the test runs against it. A test that stays
green means that nobody would notice if the guarantee were lost. Run it by `make sabotage`.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from rich.console import Console

__all__ = ("ROOT", "Row", "rows", "sabotaged")

ROOT = Path(__file__).parent.parent
_SOURCES = ROOT / "src"
_AT_ONCE = max(2, (os.cpu_count() or 2) // 2)
_TIMEOUT_S = 60
_TIMEOUT_OF_ALL_S = 900
_CODE = re.compile("`([^`]*)`")

Verdict = Literal["goes red", "unnoticed", "broken"]


@dataclass(frozen=True)
class Row:
    """One guarantee: `line` in `file` gives it, and `test` fails when `line` is replaced by `instead`.

    Where a piece of one line stands more than once, the next line makes it unique: `⏎` is the break between the two.
    """

    guarantee: str
    file: str
    line: str
    instead: str
    test: str


def rows() -> list[Row]:
    """Return the table of `docs/guarantees.md`."""
    found: list[Row] = []
    for text in (ROOT / "docs/guarantees.md").read_text().splitlines():
        cells = [cell.strip() for cell in text.split("|")[1:-1]]
        if len(cells) == 5 and cells[1].startswith("`"):
            found.append(Row(cells[0], *(_code(cell) for cell in cells[1:])))
    return found


def sabotaged(row: Row, source: str) -> str:
    """Return a file's source with the row's line switched off.

    Raises:
        ValueError: The line is not there exactly once.
    """
    pattern = r"(\n\s*)".join(map(re.escape, row.line.split("⏎")))
    found = list(re.finditer(pattern, source))
    if len(found) != 1:
        raise ValueError(f"{row.file} has {len(found)} times: {row.line}")
    instead = row.instead
    for line_break in found[0].groups():
        instead = instead.replace("⏎", line_break, 1)
    return source[: found[0].start()] + instead + source[found[0].end() :]


def _code(cell: str) -> str:
    match = _CODE.fullmatch(cell)
    if match is None:
        raise ValueError(f"not one piece of code: {cell}")
    return match[1]


def main() -> int:
    console = Console(soft_wrap=True, highlight=False)
    table = rows()
    problem = _failure(sorted({row.test for row in table}), _SOURCES, _TIMEOUT_OF_ALL_S)
    if problem is not None:
        console.print(problem, "The tests fail without any sabotage.", sep="\n", style="red", markup=False)
        return 1
    noticed = 0
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        for row, verdict in zip(table, pool.map(_judge, table), strict=True):
            noticed += verdict == "goes red"
            console.print(f"{verdict:9}", style="green" if verdict == "goes red" else "bold red", end="  ")
            console.print(f"{row.guarantee} ({row.file})", markup=False)
    console.print(f"{noticed} of {len(table)} sabotages were noticed.")
    return 0 if noticed == len(table) else 1


def _judge(row: Row) -> Verdict:
    with tempfile.TemporaryDirectory(prefix="relight-sabotage-") as directory:
        sources = Path(directory) / "src"
        shutil.copytree(_SOURCES, sources, ignore=shutil.ignore_patterns("__pycache__"))
        file = sources / "relight" / row.file
        try:
            file.write_text(sabotaged(row, file.read_text()))
            compile(file.read_text(), file.name, "exec")
            return "unnoticed" if _failure([row.test], sources) is None else "goes red"
        except (SyntaxError, ValueError, RuntimeError) as error:
            print(f"{row.guarantee}: {error}", file=sys.stderr)
            return "broken"
        finally:
            _end_what_is_left(sources)


def _end_what_is_left(sources: Path) -> None:
    """A test that is ended, or in which something does not end any more, leaves processes behind (found on Linux)."""
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            if bytes(sources) in (entry / "environ").read_bytes():
                os.kill(int(entry.name), signal.SIGKILL)
        except (FileNotFoundError, ProcessLookupError, PermissionError):
            continue  # It has ended, or belongs to another user.


def _failure(tests: Sequence[str], sources: Path, timeout_s: float = _TIMEOUT_S) -> str | None:
    """Run tests against the sources of this directory and return what failed; None if nothing did.

    Raises:
        RuntimeError: pytest could not run them.
    """
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", *(f"tests/{one}" for one in tests)]
    # The path comes before the environment's own, in which Relight is installed too; also for processes of the tests.
    environment = {**os.environ, "PYTHONPATH": f"{sources}{os.pathsep}{ROOT}", "PYTHONDONTWRITEBYTECODE": "1"}
    try:
        done = subprocess.run(
            command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=timeout_s, check=False
        )
    except subprocess.TimeoutExpired:
        # Some of these lines keep a run from going on for ever.
        return f"no end within {timeout_s:g} s"
    if done.returncode not in (0, 1):
        raise RuntimeError(done.stdout + done.stderr)
    return None if done.returncode == 0 else done.stdout


if __name__ == "__main__":
    sys.exit(main())
