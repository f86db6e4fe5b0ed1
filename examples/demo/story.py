"""The story for which Relight exists: one order, two workers killed, nothing lost, nothing done twice."""

from __future__ import annotations

import asyncio

from examples.demo.model import LARGE_CENTS, THINKS_S
from examples.demo.shop import Order, Receipt, Review
from examples.demo.stage import Actor, Stage
from examples.demo.timeline import Timeline, print_source
from rich.console import Console

from relight import Run

__all__ = ("play",)


async def play(console: Console, stage: Stage) -> Run[Receipt]:
    """Play it, and return its run when that has completed."""
    console.print("[bold]The workflow[/] [dim](examples/demo/shop.py)[/]\n")
    print_source(console)
    order = Order("", "ann", LARGE_CENTS + 25_000)
    console.print(f"\n[bold]One order[/] of {order.cents / 100:,.2f}, and two workers that die\n")
    timeline = Timeline(console, stage)
    run = await stage.start(order, "")
    async with timeline.of(run), asyncio.TaskGroup() as replacing:
        thinking = await timeline.until_called("score_fraud")
        await asyncio.sleep(THINKS_S / 2)
        await _kill(timeline, stage, thinking, "in the middle of the model call")
        replacing.create_task(stage.add())

        suspended = await timeline.until_recorded("Suspended")
        owner = next(one for one in stage.actors if one.name == stage.names[suspended.worker])
        await _kill(timeline, stage, owner, "nobody holds the order now; it waits in the log")
        replacing.create_task(stage.add())

        await asyncio.sleep(1)
        timeline.line("you", "approve", note='await run.resume("fraud-review", Review(approved=True, by="you"))')
        await run.resume("fraud-review", Review(approved=True, by="you"))
        await run.result(timeout=30)
    return run


async def _kill(timeline: Timeline, stage: Stage, actor: Actor, note: str) -> None:
    timeline.line(actor.name, "killed", note=f"kill -9 {actor.child.process.pid}: {note}")
    await stage.kill(actor)
