"""`make demo`: an order whose workers are killed, then hundreds of orders while workers die every second."""

from __future__ import annotations

import argparse
import asyncio
import sys

from rich.console import Console

from examples.demo import rush, story
from examples.demo.rush import Rush
from examples.demo.stage import Stage, orders_from_csv

__all__ = ("main",)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m examples.demo", description=__doc__)
    parser.add_argument("--orders", type=int, default=500, help="how many of examples/orders.csv; default all 500")
    parser.add_argument("--sabotage", choices=("", "no-key"), default="", help="no-key: send no idempotency key")
    options = parser.parse_args()
    console = Console()
    try:
        return asyncio.run(demo(console, orders=options.orders, sends_key=options.sabotage != "no-key"))
    except KeyboardInterrupt:
        console.print("\nInterrupted; all processes of the demo have ended.")
        return 130


async def demo(console: Console, *, orders: int, sends_key: bool) -> int:
    async with Stage(sends_key=sends_key) as stage:
        run = await story.play(console, stage)
        chosen = orders_from_csv(orders)
        key = "" if sends_key else ", [red]without idempotency keys[/]"
        console.print(f"\n[bold]{len(chosen)} orders[/], and a worker killed and replaced every second{key}\n")
        went = await rush.play(console, stage, chosen)
        is_right = await _sum_up(console, stage, went)
    console.print("\nThe server has stopped; what it recorded is in .relight. Look at it:\n")
    for command in (f"relight show {run.id}", f"relight history {run.id}", "make play"):
        console.print(f"  {command}", highlight=False)
    return 0 if is_right else 1


async def _sum_up(console: Console, stage: Stage, went: Rush) -> bool:
    totals = await stage.totals()
    completed = went.completed + 1
    is_right = bool(totals["charges"] == completed)
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
    if not is_right:
        _accuse(console, totals["charged_twice"])
    return is_right


def _accuse(console: Console, charged_twice: dict[str, list[str]]) -> None:
    console.print(f"\n[bold red]{len(charged_twice)} orders were charged more than once:[/]\n")
    for order, charges in list(charged_twice.items())[:5]:
        console.print(f"  [red]{order}  {', '.join(charges)}[/]", highlight=False)
    if len(charged_twice) > 5:
        console.print("  [red]…[/]")


if __name__ == "__main__":
    sys.exit(main())
