"""Switches off each line of `docs/guarantees.md`, one at a time, and demands that the test named there goes red.

For each row the sources are copied, the line is replaced in the copy, and the test runs against it. A test that stays
green means that nobody would notice if the guarantee were lost. Run it by `make sabotage`.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from rich.console import Console
from rich.table import Table

__all__ = ("ROOT", "Row", "rows", "sabotaged")

ROOT = Path(__file__).parent.parent
_SOURCES = ROOT / "src"
_AT_ONCE = max(2, (os.cpu_count() or 2) // 2)
_TIMEOUT_S = 60
_CODE = re.compile("`([^`]*)`")

Verdict = Literal["red", "unnoticed", "broken"]


@dataclass(frozen=True)
class Row:
    """One guarantee: `line` in `file` gives it, and `test` fails when `line` is replaced by `instead`."""

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
    if source.count(row.line) != 1:
        raise ValueError(f"{row.file} has {source.count(row.line)} times: {row.line}")
    return source.replace(row.line, row.instead)


def _code(cell: str) -> str:
    match = _CODE.fullmatch(cell)
    if match is None:
        raise ValueError(f"not one piece of code: {cell}")
    return match[1]


def _passes(tests: Sequence[str], sources: Path) -> bool:
    """Run the tests against the sources of this directory. Raises `RuntimeError` if pytest could not run them."""
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", *(f"tests/{one}" for one in tests)]
    environment = {**os.environ, "PYTHONPATH": str(sources), "PYTHONDONTWRITEBYTECODE": "1"}
    try:
        done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        return False  # A run that never ends is what many of these lines prevent.
    if done.returncode not in (0, 1):
        raise RuntimeError(done.stdout + done.stderr)
    return done.returncode == 0


def _judge(row: Row) -> Verdict:
    with tempfile.TemporaryDirectory(prefix="relight-sabotage-") as directory:
        sources = Path(directory) / "src"
        shutil.copytree(_SOURCES, sources, ignore=shutil.ignore_patterns("__pycache__"))
        file = sources / "relight" / row.file
        file.write_text(sabotaged(row, file.read_text()))
        try:
            compile(file.read_text(), str(file), "exec")
            return "unnoticed" if _passes([row.test], sources) else "red"
        except (SyntaxError, RuntimeError) as error:
            print(error, file=sys.stderr)
            return "broken"


def main() -> int:
    console = Console()
    table = rows()
    if not _passes(sorted({row.test for row in table}), _SOURCES):
        console.print("The tests fail already without any sabotage.", style="red")
        return 1
    report = Table("guarantee", "switched off in", "its test", box=None, header_style="bold")
    unnoticed = 0
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        for row, verdict in zip(table, pool.map(_judge, table), strict=True):
            unnoticed += verdict != "red"
            words = "[green]goes red[/]" if verdict == "red" else f"[bold red]{verdict}[/]"
            report.add_row(row.guarantee, row.file, words)
            if console.is_terminal:
                console.print(f"{words}  {row.guarantee}")
    if not console.is_terminal:
        console.print(report)
    console.print(f"{len(table) - unnoticed} of {len(table)} sabotages were noticed.")
    return 1 if unnoticed else 0


if __name__ == "__main__":
    sys.exit(main())
