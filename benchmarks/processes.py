"""Child processes that say when they are ready, and what the processes of this machine use."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from pathlib import Path

from relight.config.limits import KIB

__all__ = ("disk_bytes", "python_processes", "resident_bytes")


@contextmanager
def python_processes(count: int, *arguments: str, environment: Mapping[str, str]) -> Generator[list[int]]:
    """Run `count` times `python -m <arguments>` and give their process ids once all of them are ready."""
    command = [sys.executable, "-m", *arguments]
    started = [
        subprocess.Popen(command, env={**os.environ, **environment}, stdout=subprocess.PIPE, text=True)
        for _ in range(count)
    ]
    try:
        for process in started:
            assert process.stdout is not None, "a pipe, as asked for"
            line = process.stdout.readline()
            if line.strip() != "ready":
                raise RuntimeError(f"{' '.join(arguments)} did not become ready: {line!r}")
        yield [process.pid for process in started]
    finally:
        for process in started:
            process.terminate()
        for process in started:
            process.wait()


def resident_bytes(process: int) -> int:
    """Memory of a process that is really there (RSS)."""
    for line in Path(f"/proc/{process}/status").read_text(encoding="ascii").splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * KIB
    raise RuntimeError(f"process {process} has ended")


def disk_bytes(directory: Path) -> int:
    """What the files under `directory` take on disk: holes in them take nothing."""
    return sum(file.stat().st_blocks * 512 for file in directory.rglob("*") if file.is_file())
