"""The timeline of one run: which worker came to which line of the workflow, and whether it ran or was replayed.

What is recorded comes from the run's history; what really runs comes from the worker itself, which says so.
"""

from __future__ import annotations

import asyncio
import inspect
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any, final

from examples.demo.children import Said
from examples.demo.shop import process_order
from examples.demo.stage import Actor, Stage
from rich.console import Console
from rich.markup import escape

from relight import Run

__all__ = ("Timeline", "print_source")

LINES, FIRST = inspect.getsourcelines(process_order.function)
FIRST_STEP = "charge_card"
_PAUSE_S = 0.01
"""Between two records, so that what a worker says of one is told before the next."""
_STYLES = {"runs": "yellow", "recorded": "green", "replayed": "cyan", "killed": "red", "waits": "magenta"}


def print_source(console: Console) -> None:
    """Print the workflow as it stands in its file, with the file's line numbers."""
    for number, line in enumerate(LINES, FIRST):
        console.print(f"  [dim]{number:>3}[/]  {escape(line.rstrip())}", highlight=False, soft_wrap=True)


def _line_of(call: str) -> int:
    """Where the workflow calls this; a step's record has the place, too, but not before the step has begun."""
    return FIRST + next(number for number, line in enumerate(LINES) if f"{call}(" in line)


@final
class Timeline:
    """Prints what happens to a run while it happens."""

    def __init__(self, console: Console, stage: Stage) -> None:
        self._console = console
        self._stage = stage
        self._began_s = time.time()
        self._records: list[Any] = []
        self._changed = asyncio.Event()
        self._said: asyncio.Queue[tuple[Actor, Said]] = asyncio.Queue()
        self._running: dict[str, Actor] = {}

    @asynccontextmanager
    async def of(self, run: Run[Any]) -> AsyncGenerator[None, None]:
        """Follow the run for the length of the block."""
        self._stage.hear = lambda actor, said: self._hear(run.id, actor, said)
        tasks = [asyncio.create_task(self._follow(run)), asyncio.create_task(self._tell())]
        try:
            yield
            await tasks[0]
        finally:
            self._stage.hear = lambda _actor, _said: None
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    def line(self, who: str, what: str, line: int | None = None, note: str = "", *, at_s: float | None = None) -> None:
        """Print one line: who did what, at which line of the workflow."""
        at = f"{(at_s or time.time()) - self._began_s:6.2f} s"
        code = "" if line is None else f"{line:>3}  {LINES[line - FIRST].strip():<37}  "
        text = f"{at}  {who:<9} [{_STYLES.get(what, 'bold')}]{what:<9}[/] {escape(code)}"
        text = f"{text}[dim]{escape(note)}[/]" if note else text.rstrip()
        self._console.print(text, highlight=False, soft_wrap=True)

    async def until_called(self, step: str) -> Actor:
        """Wait until a worker calls the step's function, and return the worker."""
        actor: Actor = await self._until(lambda: self._running.get(step))
        return actor

    async def until_recorded(self, kind: str) -> Any:
        """Wait until a record of this kind has been printed, and return it."""
        return await self._until(lambda: next((one for one in self._records if one.kind == kind), None))

    async def _until(self, look: Any) -> Any:
        while (found := look()) is None:
            self._changed.clear()
            await self._changed.wait()
        return found

    def _hear(self, run: str, actor: Actor, said: Said) -> None:
        if said["run"] == run:
            self._said.put_nowait((actor, said))

    async def _tell(self) -> None:
        while True:
            actor, said = await self._said.get()
            if said["what"] == "calls":
                step = str(said["step"])
                await self._in_its_turn(step)
                self.line(actor.name, "runs", _line_of(step), at_s=said["at"])
                self._running[step] = actor
                self._changed.set()
            elif said["what"] == "replays":
                self._replayed(actor, said["at"])

    async def _in_its_turn(self, step: str) -> None:
        """A history is read a little later than it is written; let what was recorded before the step be told before.

        Only the first step of a run begins before anything is recorded.
        """
        if step != FIRST_STEP:
            await self._until(lambda: any(_is_schedule_of(step, one) for one in self._records) or None)

    def _replayed(self, actor: Actor, at_s: float) -> None:
        for one in self._records:
            if one.kind == "StepCompleted":
                note = f"{_text(one.data.result)}, as {self._name(one)} recorded it; not called again"
                self.line(actor.name, "replayed", _line_of(_step_of(one)), note, at_s=at_s)

    async def _follow(self, run: Run[Any]) -> None:
        async for record in run.history(follow=True):
            self._show(record)
            self._records.append(record)
            self._changed.set()
            await asyncio.sleep(_PAUSE_S)

    def _show(self, record: Any) -> None:
        who, at_s = self._name(record), record.at.timestamp()
        match record.kind:
            case "StepCompleted":
                self.line(who, "recorded", _line_of(_step_of(record)), _text(record.data.result), at_s=at_s)
            case "Suspended":
                self.line(who, "recorded", _line_of("suspend"), "waits for an answer", at_s=at_s)
            case "AnswerReceived":
                self.line(who, "recorded", _line_of("suspend"), _text(record.data.data), at_s=at_s)
            case "RunCompleted":
                self.line(who, "completed", note=_text(record.data.result), at_s=at_s)
            case _:
                return

    def _name(self, record: Any) -> str:
        return self._stage.names.get(record.worker, str(record.worker))


def _is_schedule_of(step: str, record: Any) -> bool:
    return record.kind == "StepScheduled" and _step_of(record) == step


def _step_of(record: Any) -> str:
    """`charge_card#1` is the first call of `charge_card`."""
    return str(record.data.step).partition("#")[0]


def _text(value: Any) -> str:
    return bytes(value).decode()
