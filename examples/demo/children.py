"""The demo's own processes: each in a session of its own, so that Ctrl-C reaches only the demo, which ends them all.

Should the demo itself be killed, the end of their standard input tells them.
"""

from __future__ import annotations

import asyncio
import json
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import Callable
from contextlib import suppress
from typing import IO, Any, Self, final

__all__ = ("Child", "Said")

_END_S = 2.0
_START_S = 30.0

Said = dict[str, Any]
"""One JSON line that a child has written."""


@final
class Child:
    """A process that runs a module of the demo. It is ready when it has said a line with `ready` in it."""

    def __init__(self, module: str, process: Process, hear: Callable[[Said], None]) -> None:
        self.module = module
        self.process = process
        self._ready: asyncio.Future[Said] = asyncio.get_running_loop().create_future()
        self._hear = hear
        self._listening = asyncio.create_task(self._listen())

    @classmethod
    async def start(
        cls, module: str, *arguments: str, log: IO[bytes], hear: Callable[[Said], None] = lambda _: None
    ) -> Self:
        """Start `python -m examples.demo.<module>`. `hear` gets every line that it says."""
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", f"examples.demo.{module}", *arguments,
            stdin=PIPE, stdout=PIPE, stderr=log, start_new_session=True,
        )  # fmt: skip
        return cls(module, process, hear)

    async def ready(self) -> Said:
        """Wait until the child is ready and return the line that says so.

        Raises:
            RuntimeError: It ended instead.
            TimeoutError: It did neither within 30 s.
        """
        async with asyncio.timeout(_START_S):
            await asyncio.wait((self._ready, self._listening), return_when=asyncio.FIRST_COMPLETED)
        if not self._ready.done():
            raise RuntimeError(f"the {self.module} ended before it was ready; its log says why")
        return self._ready.result()

    @property
    def is_ready(self) -> bool:
        return self._ready.done() and self.process.returncode is None

    async def kill(self) -> None:
        """`kill -9`; when this returns it has ended, and what it said before has been heard."""
        if self.process.returncode is None:
            self.process.kill()
        await self.process.wait()
        await self._listening

    async def end(self) -> None:
        """End it, by force if it hesitates; it has ended when this returns."""
        if self.process.returncode is None:
            self.process.terminate()
        with suppress(TimeoutError):
            async with asyncio.timeout(_END_S):
                await self.process.wait()
        await self.kill()

    async def _listen(self) -> None:
        assert self.process.stdout is not None
        async for line in self.process.stdout:
            if not line.endswith(b"\n"):
                return  # Killed in the middle of a word.
            said: Said = json.loads(line)
            if "ready" in said:
                self._ready.set_result(said)
            else:
                self._hear(said)
