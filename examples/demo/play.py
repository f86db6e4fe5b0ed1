"""`make play`: the demo's stage without its story. You start orders, kill workers and answer reviews."""

from __future__ import annotations

import asyncio
import sys
import threading
from collections.abc import Awaitable, Callable

from examples.demo.shop import Order, Review
from examples.demo.stage import Stage
from rich.console import Console
from rich.markup import escape

from relight import RefusedError

__all__ = ("HELP", "main")

HELP = """\
  start [CENTS]   start an order; above 100000 cents the model takes 3 s, then asks for a review
  runs            the newest orders, and what each one waits for
  history RUN     what was recorded of an order, and by which worker
  approve RUN     answer its review (or: reject RUN)
  workers         the worker processes
  kill N          kill -9 worker N; another one starts in its place
  totals          what the payment provider has counted
  quit            end everything; what was recorded stays
"""
_RUNS_SHOWN = 10


class Playground:
    """The commands. Each one prints what it has done."""

    def __init__(self, console: Console, stage: Stage) -> None:
        self._console = console
        self._stage = stage
        self._orders = 0
        self.commands: dict[str, Callable[[str], Awaitable[None]]] = {
            "start": self.start,
            "runs": self.runs,
            "history": self.history,
            "approve": self.approve,
            "reject": self.reject,
            "workers": self.workers,
            "kill": self.kill,
            "totals": self.totals,
            "help": self.help,
        }

    async def do(self, line: str) -> None:
        """Carry out a line. What is refused is said in one line."""
        name, _, argument = line.strip().partition(" ")
        command = self.commands.get(name, self.help)
        try:
            await command(argument.strip())
        except (RefusedError, ValueError) as error:
            self._print(f"[red]{escape(str(error))}[/]")

    async def start(self, cents: str) -> None:
        self._orders += 1
        run = await self._stage.start(Order("", "you", int(cents or 125_000)), f"-p{self._orders}")
        self._print(f"started {run.id}; now try `runs`, `kill 1`, `runs`")

    async def runs(self, _: str) -> None:
        shown = 0
        async for run in self._stage.relight.runs(workflow="process_order"):
            sight = await run.describe()
            worker = self._stage.names.get(sight.worker or "", "")
            self._print(f"{run.id:<16} {sight.status:<10} {worker:<9} {escape('; '.join(sight.waits_for))}")
            shown += 1
            if shown == _RUNS_SHOWN:
                return
        if not shown:
            self._print("none yet; try `start`")

    async def history(self, id: str) -> None:
        async for record in self._stage.relight.get_run(id).history():
            self._print(escape(f"{record.sequence:>3}  {record.at:%H:%M:%S}  {record.kind}"))

    async def approve(self, id: str) -> None:
        await self._answer(id, Review(approved=True, by="you"))

    async def reject(self, id: str) -> None:
        await self._answer(id, Review(approved=False, by="you"))

    async def workers(self, _: str) -> None:
        for actor in self._stage.actors:
            self._print(f"{actor.name}, process {actor.child.process.pid}")

    async def kill(self, number: str) -> None:
        actor = next((one for one in self._stage.actors if one.name == f"worker {number}"), None)
        if actor is None:
            raise ValueError(f"there is no worker {number!r}; `workers` lists them")
        await self._stage.kill(actor)
        self._print(f"killed {actor.name}; {(await self._stage.add()).name} is ready")

    async def totals(self, _: str) -> None:
        totals = await self._stage.totals()
        requests, absorbed, charges = (totals[one] for one in ("requests", "repeats_absorbed", "charges"))
        self._print(f"{requests} requests, {absorbed} repeats absorbed, {charges} charges")

    async def help(self, _: str) -> None:
        self._console.print(HELP, highlight=False, markup=False)

    async def _answer(self, id: str, review: Review) -> None:
        await self._stage.relight.get_run(id).resume("fraud-review", review)
        self._print("answered; try `runs`")

    def _print(self, text: str) -> None:
        self._console.print(f"  {text}", highlight=False, soft_wrap=True)


async def play(console: Console) -> None:
    """Read lines until `quit` or the end of the input."""
    async with Stage() as stage:
        playground = Playground(console, stage)
        await playground.runs("")
        await playground.help("")
        while (line := await _line()) is not None and line.strip() != "quit":
            if line.strip():
                await playground.do(line)


async def _line() -> str | None:
    """Return a line, None at the end of the input."""
    loop = asyncio.get_running_loop()
    read: asyncio.Future[str | None] = loop.create_future()

    def wait() -> None:
        try:
            line = input("> ")
        except EOFError:
            line = None
        loop.call_soon_threadsafe(read.set_result, line)

    # Of its own and a daemon: `asyncio.to_thread` would make Ctrl-C wait for another Enter.
    threading.Thread(target=wait, daemon=True).start()
    return await read


def main() -> int:
    console = Console()
    if not sys.stdin.isatty():
        console.print("make play needs a terminal. In it you can say:\n", highlight=False)
        console.print(HELP, highlight=False, markup=False)
        return 0
    try:
        asyncio.run(play(console))
    except RefusedError as refused:
        console.print(str(refused), style="red", highlight=False, soft_wrap=True)
        return 2
    except KeyboardInterrupt:
        console.print()
    console.print("All processes have ended; the orders stay in .relight.", highlight=False)
    return 0


if __name__ == "__main__":
    sys.exit(main())
