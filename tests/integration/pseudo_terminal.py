"""Runs the command as a person does, who sees its output at a terminal and types."""

from __future__ import annotations

import asyncio
import os
import re
from asyncio.subprocess import Process
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import final

from tests.integration.cli_process import COMMAND, environment

__all__ = ("CONTROL_C", "PseudoTerminal", "at_a_terminal")

CONTROL_C = "\x03"

_CONTROLS = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


@final
class PseudoTerminal:
    """What one verb says and is told. `said` is all of it so far, without colours and movements of the cursor."""

    def __init__(self, process: Process, controller: int) -> None:
        self._process = process
        self._controller = controller
        self._ended = asyncio.Event()
        self._raw = bytearray()
        asyncio.get_running_loop().add_reader(controller, self._read)

    @property
    def said(self) -> str:
        return _CONTROLS.sub("", self._raw.decode(errors="replace")).replace("\r", "")

    def type(self, text: str) -> None:
        os.write(self._controller, text.encode())

    async def until(self, text: str) -> None:
        """Return when it has said this. Raises `TimeoutError` after twenty seconds."""
        async with asyncio.timeout(20):
            while text not in self.said:
                assert not self._ended.is_set(), self.said
                await asyncio.sleep(0.005)

    async def code(self) -> int:
        """Return its exit code. Raises `TimeoutError` if it goes on for more than twenty seconds."""
        async with asyncio.timeout(20):
            await self._ended.wait()
        return await self._process.wait()

    async def close(self) -> None:
        asyncio.get_running_loop().remove_reader(self._controller)
        os.close(self._controller)
        if self._process.returncode is None:
            self._process.kill()
        await self._process.wait()

    def _read(self) -> None:
        try:
            data = os.read(self._controller, 65536)
        except OSError:  # Linux says so when nobody has the other end any more.
            data = b""
        self._raw += data
        if not data:
            asyncio.get_running_loop().remove_reader(self._controller)
            self._ended.set()


@asynccontextmanager
async def at_a_terminal(
    *words: str, directory: Path, variables: dict[str, str], columns: int = 120
) -> AsyncGenerator[PseudoTerminal]:
    """Begin a verb at a terminal of its own, so that what is typed reaches it as from a keyboard."""
    controller, inside = os.openpty()
    settings = {**environment(variables), "TERM": "xterm-256color", "COLUMNS": str(columns), "LINES": "40"}
    process = await asyncio.create_subprocess_exec(
        *COMMAND, *words, cwd=directory, env=settings, preexec_fn=partial(os.login_tty, inside)
    )
    os.close(inside)
    terminal = PseudoTerminal(process, controller)
    try:
        yield terminal
    finally:
        await terminal.close()
