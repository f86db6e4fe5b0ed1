"""Runs the command as a user does: as a process of its own, with its output in a pipe."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.processes import MARK

__all__ = ("APP", "COMMAND", "Answer", "Terminal", "background", "environment", "one_line_of")

APP = Path(__file__).with_name("cli_app.py")
COMMAND = (str(Path(sys.executable).with_name("relight")),)


@dataclass(frozen=True)
class Answer:
    """What a verb left behind."""

    code: int
    out: str
    err: str

    @property
    def document(self) -> dict[str, Any]:
        """The one JSON object that was printed."""
        (line,) = self.out.splitlines()
        document: dict[str, Any] = json.loads(line)
        return document

    @property
    def documents(self) -> list[dict[str, Any]]:
        """The JSON lines that were printed."""
        return [json.loads(line) for line in self.out.splitlines()]


@dataclass(frozen=True)
class Terminal:
    """A directory with an environment in which verbs are typed."""

    directory: Path
    variables: dict[str, str]

    async def run(self, *words: str, typed: str = "") -> Answer:
        """Run one verb to its end."""
        process = await asyncio.create_subprocess_exec(
            *COMMAND,
            *words,
            cwd=self.directory,
            env=environment(self.variables),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        out, err = (one.decode() for one in await process.communicate(typed.encode()))
        assert "\x1b" not in out + err, "no colours in a pipe"
        assert process.returncode is not None
        return Answer(process.returncode, out, err)


def environment(variables: dict[str, str]) -> dict[str, str]:
    """Return this process's environment without settings of Relight but these."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("RELIGHT_")}
    return {**inherited, **variables}


@contextmanager
def background(
    *words: str, directory: Path, variables: dict[str, str], is_marked: bool = True
) -> Generator[subprocess.Popen[str]]:
    """Run a verb that goes on until it is told to end; it is killed if nobody did."""
    settings = environment(variables)
    if not is_marked:
        settings.pop(MARK, None)
    with subprocess.Popen(
        (*COMMAND, *words), cwd=directory, env=settings, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        try:
            yield process
        finally:
            if process.poll() is None:
                process.kill()


def one_line_of(answer: Answer) -> str:
    """Return what a refused verb said: exit code 1, exactly one line on standard error, no traceback."""
    assert answer.code == 1, answer
    lines = answer.err.splitlines()
    assert len(lines) == 1, answer.err
    return lines[0]
