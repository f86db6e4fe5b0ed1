"""The timeline of one run: which worker came to which line of the workflow, and whether it ran or was replayed.

What is recorded comes from the run's history; what really runs comes from the worker itself, which says so.
"""

from __future__ import annotations

import asyncio
import inspect
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, final

from rich.console import Console
from rich.markup import escape

from examples.demo.children import Said
from examples.demo.shop import process_order
from examples.demo.stage import Actor, Stage
from relight import Run

__all__ = ("Timeline", "print_source")

SOURCE = Path(inspect.getsourcefile(process_order.function) or "").read_text(encoding="utf-8").splitlines()
_STYLES = {"runs": "yellow", "recorded": "green", "replayed": "cyan", "killed": "red", "waits": "magenta"}


def print_source(console: Console) -> None:
    """Print the workflow as it stands in its file, with the file's line numbers."""
    lines, first = inspect.getsourcelines(process_order.function)
    for number, line in enumerate(lines, first):
        console.print(f"  [dim]{number:>3}[/]  {escape(line.rstrip())}", highlight=False)


@final
class Timeline:
    """Prints what happens to a run while it happens."""

    def __init__(self, console: Console, stage: Stage) -> None:
        self._console = console
        self._stage = stage
        self._began_s = time.monotonic()
        self._records: list[Any] = []
        self._changed = asyncio.Event()
        self._said: asyncio.Queue[tuple[Actor, Said]] = asyncio.Queue()
        self._running: dict[str, Actor] = {}

    @asynccontextmanager
    async def of(self, run: Run[Any]) -> AsyncIterator[None]:
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

    def line(self, who: str, what: str, place: str = "", note: str = "") -> None:
        """Print one line."""
        number = place.rpartition(":")[2]
        code = SOURCE[int(number) - 1].strip() if number else ""
        at = f"{time.monotonic() - self._began_s:5.1f} s"
        style = _STYLES.get(what, "bold")
        text = f"{at}  {who:<9} [{style}]{what:<8}[/] {number:>3}  {escape(code)}"
        self._console.print(f"{text}  [dim]{escape(note)}[/]" if note else text, highlight=False, soft_wrap=True)

    async def until_called(self, step: str) -> Actor:
        """Wait until a worker calls the step's function, and return the worker."""
        return await self._until(lambda: self._running.get(step))

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
                scheduled = await self._until(lambda step=step: self._scheduled(f"{step}#1"))
                self.line(actor.name, "runs", scheduled.data.place)
                self._running[step] = actor
                self._changed.set()
            elif said["what"] == "replays":
                self._replayed(actor)

    def _replayed(self, actor: Actor) -> None:
        for one in self._records:
            if one.kind == "StepCompleted":
                note = f"{_text(one.data.result)}, as {self._name(one)} recorded it; not called again"
                self.line(actor.name, "replayed", self._scheduled(one.data.step).data.place, note)

    async def _follow(self, run: Run[Any]) -> None:
        async for record in run.history(follow=True):
            self._show(record)
            self._records.append(record)
            self._changed.set()

    def _show(self, record: Any) -> None:
        who = self._name(record)
        match record.kind:
            case "StepCompleted":
                place = self._scheduled(record.data.step).data.place
                self.line(who, "recorded", place, f"→ {_text(record.data.result)}")
            case "Suspended":
                self.line(who, "waits", record.data.place)
            case "AnswerReceived":
                self.line(who, "recorded", self._first("Suspended").data.place, f"→ {_text(record.data.data)}")
            case "RunCompleted":
                self.line(who, "completed", "", _text(record.data.result))
            case _:
                return

    def _scheduled(self, step: str) -> Any:
        return next((one for one in self._records if one.kind == "StepScheduled" and one.data.step == step), None)

    def _first(self, kind: str) -> Any:
        return next(one for one in self._records if one.kind == kind)

    def _name(self, record: Any) -> str:
        return self._stage.names.get(record.worker, record.worker)


def _text(value: Any) -> str:
    return bytes(value).decode()
