"""Runs the command in a process of its own, with its output in a file or a pipe.

A verb that ends by itself is forked from a process that has loaded the command already, which takes half a second; one
that goes on, and what `test_cli_output.py` and a pseudo-terminal show, is started as a user does.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from tests.forked import Forked, become
from tests.processes import MARK

from relight.cli import main

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
        with TemporaryDirectory() as streams:
            typed_in, out, err = (Path(streams, name) for name in ("in", "out", "err"))
            typed_in.write_text(typed)
            process = Forked(_run, words, self.directory, environment(self.variables), typed_in, out, err)
            answer = Answer(await process.wait(), out.read_text(), err.read_text())
        assert "\x1b" not in answer.out + answer.err, "no colours but in a terminal"
        return answer


def _run(
    words: Sequence[str], directory: Path, environment: Mapping[str, str], typed: Path, out: Path, err: Path
) -> None:
    """Be the command, as if it had been loaded just now."""
    become(environment, out=out, err=err)
    with typed.open() as source:
        os.dup2(source.fileno(), 0)
    sys.stdin = open(0, closefd=False)  # noqa: SIM115 - as long as the process
    os.chdir(directory)
    sys.argv = [*COMMAND, *words]
    sys.orig_argv[1:] = sys.argv
    main()


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
