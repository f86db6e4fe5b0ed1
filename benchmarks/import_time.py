"""The import of `relight`: a Python that imports it, minus one that does nothing."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator

from benchmarks.row import Goal, Row, median

__all__ = ("rows",)


def rows(*, is_quick: bool) -> Iterator[Row]:
    _start_ms("import relight")  # Once for the cache of compiled files.
    pairs = [(_start_ms("pass"), _start_ms("import relight")) for _ in range(5 if is_quick else 10)]
    took_ms = median(second - first for first, second in pairs)
    yield Row(name="import", value=took_ms, unit="ms", goal=Goal(reach=250, aim=120, is_ratio=False))


def _start_ms(code: str) -> float:
    began = time.perf_counter()
    subprocess.run([sys.executable, "-c", code], check=True)
    return (time.perf_counter() - began) * 1e3
