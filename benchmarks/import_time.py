"""The import of `relight`: a Python that does it, minus one that does nothing.

Names of `relight` are loaded when they are first used, so that `import relight` alone says little about a worker: what
a worker's program imports is the second row.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator

from benchmarks.row import Goal, Row, median

__all__ = ("rows",)

_IMPORTS = {
    "import": "import relight",
    "import_for_a_worker": "from relight import Relight, Worker, WorkflowContext, step, workflow",
}


def rows(*, is_quick: bool) -> Iterator[Row]:
    for name, code in _IMPORTS.items():
        _start_ms(code)  # Once for the cache of compiled files.
        pairs = [(_start_ms("pass"), _start_ms(code)) for _ in range(5 if is_quick else 10)]
        took_ms = median(second - first for first, second in pairs)
        yield Row(name=name, value=took_ms, unit="ms", goal=Goal(reach=250, aim=120, is_ratio=False))


def _start_ms(code: str) -> float:
    began = time.perf_counter()
    subprocess.run([sys.executable, "-c", code], check=True)
    return (time.perf_counter() - began) * 1e3
