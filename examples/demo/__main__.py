"""`make demo`: an order whose workers are killed, then hundreds of orders while workers die every second."""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
from pathlib import Path

from examples.demo import rush, story
from examples.demo.rush import Rush
from examples.demo.stage import Stage, orders_from_csv
from rich.console import Console

from relight import RefusedError

__all__ = ("main",)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m examples.demo", description=__doc__)
    parser.add_argument("--orders", type=int, default=500, help="how many of examples/orders.csv; default all 500")
    parser.add_argument("--sabotage", choices=("", "no-key"), default="", help="no-key: send no idempotency key")
    options = parser.parse_args()
    console = Console()
    try:
        return asyncio.run(demo(console, orders=options.orders, sends_key=options.sabotage != "no-key"))
    except RefusedError as refused:
        console.print(str(refused), style="red", highlight=False, soft_wrap=True)
        return 2
    except KeyboardInterrupt:
        console.print("\nInterrupted; all processes of the demo have ended.")
        return 130


async def demo(console: Console, *, orders: int, sends_key: bool) -> int:
    async with Stage(sends_key=sends_key) as stage:
        if ended := await stage.clear():
            console.print(f"{ended} orders of a demo that was interrupted are terminated first.\n", highlight=False)
        run = await story.play(console, stage)
        chosen = orders_from_csv(orders)
        console.print(
            f"\n[bold]{len(chosen)} orders[/], and a worker killed and replaced every second\n", highlight=False
        )
        if not sends_key:
            console.print("  [red]SABOTAGE=no-key: the workers send no idempotency key[/]\n", highlight=False)
        went = await rush.play(console, stage, chosen)
        is_right = await _sum_up(console, stage, went)
    _invite(console, stage, run.id)
    return 0 if is_right else 1


def _invite(console: Console, stage: Stage, run: str) -> None:
    relight = os.path.relpath(Path(sys.executable).with_name("relight"))
    console.print(f"\nAll processes have ended. What was recorded is in {stage.directory}:\n", soft_wrap=True)
    for command in (f"{relight} show {run}", f"{relight} history {run}", "make play"):
        console.print(f"  {command}", highlight=False, soft_wrap=True)


async def _sum_up(console: Console, stage: Stage, went: Rush) -> bool:
    totals = await stage.totals()
    completed = went.completed + 1
    is_right = totals["charges"] == completed and not went.unfinished
    rate = f"{went.completed / went.seconds:.0f} orders/s, while {went.killed} workers were killed"
    rows = (
        ("completed", completed, "orders"),
        ("requests", totals["requests"], "to the payment provider"),
        ("repeats absorbed", totals["repeats_absorbed"], "by the idempotency key"),
        ("charges", totals["charges"], f"for {completed} orders"),
    )
    console.print()
    for name, number, note in rows:
        style = "bold" if name != "charges" else "bold green" if is_right else "bold red"
        console.print(f"  {name:<17} [{style}]{number:>5}[/]  {note}", highlight=False)
    console.print(f"  {'rate':<17}        {rate}", highlight=False)
    twice = [f"{order}  {', '.join(charges)}" for order, charges in totals["charged_twice"].items()]
    _accuse(console, "were charged more than once", twice)
    _accuse(console, "have not completed", went.unfinished)
    return is_right


def _accuse(console: Console, crime: str, orders: list[str]) -> None:
    if orders:
        console.print(f"\n[bold red]{len(orders)} orders {crime}[/]\n", highlight=False)
        shown = orders[:5] + ["…"] * (len(orders) > 5)
        console.print("\n".join(f"  [red]{one}[/]" for one in shown), highlight=False)


if __name__ == "__main__":
    sys.exit(main())
