"""What a person decides about a run: `pause`, `unpause`, `cancel`, `terminate`, `retry`, `resolve`."""

from __future__ import annotations

from typing import Annotated

import typer

from relight.cli.arguments import RunName, read_json
from relight.cli.session import client
from relight.cli.verb import Edge, verb

__all__ = ("cancel", "pause", "resolve", "retry", "terminate", "unpause")

Reason = Annotated[str, typer.Option("--reason", help="Recorded in the history.", show_default=False)]
StepName = Annotated[str, typer.Argument(metavar="STEP", help="Its key, for example send_email#1, or its name.")]


@verb("pause")
async def pause(edge: Edge, run: RunName) -> None:
    """Hold a run between steps; what is under way ends, and what comes is kept."""
    async with client(edge.place) as relight:
        await relight.get_run(run).pause()
    _decided(edge, run, "pause", "paused run")


@verb("unpause")
async def unpause(edge: Edge, run: RunName) -> None:
    """Let a paused run go on."""
    async with client(edge.place) as relight:
        await relight.get_run(run).unpause()
    _decided(edge, run, "unpause", "told to go on: run")


@verb("cancel")
async def cancel(edge: Edge, run: RunName, reason: Reason = "") -> None:
    """Ask a run to stop; its clean-up steps run."""
    async with client(edge.place) as relight:
        await relight.get_run(run).cancel(reason=reason)
    _decided(edge, run, "cancel", "asked for the end of run")


@verb("terminate")
async def terminate(edge: Edge, run: RunName, reason: Reason = "") -> None:
    """End a run at once; none of its code runs any more."""
    async with client(edge.place) as relight:
        await relight.get_run(run).terminate(reason=reason)
    _decided(edge, run, "terminate", "terminated run")


@verb("retry")
async def retry(edge: Edge, run: RunName) -> None:
    """Let a parked run go on, after a fix."""
    async with client(edge.place) as relight:
        await relight.get_run(run).retry()
    _decided(edge, run, "retry", "told to go on: run")


@verb("resolve")
async def resolve(
    edge: Edge,
    run: RunName,
    step: StepName,
    result: Annotated[
        str | None, typer.Option("--result", metavar="JSON", help="It was done, and this came of it.")
    ] = None,
    error: Annotated[str | None, typer.Option("--error", metavar="TEXT", help="It failed, and this is why.")] = None,
    rerun: Annotated[bool, typer.Option("--rerun", help="Run it again.")] = False,
) -> None:
    """Say what became of a step with unknown outcome."""
    if (result is not None) + (error is not None) + rerun != 1:
        raise typer.BadParameter("give exactly one of --result JSON, --error TEXT and --rerun")
    value = None if result is None else read_json(result)
    async with client(edge.place) as relight:
        await relight.get_run(run).resolve(step, result=value, error=error, rerun=rerun)
    _decided(edge, run, "resolve", f"resolved step {step} of run")


def _decided(edge: Edge, run: str, decision: str, text: str) -> None:
    if edge.output.is_json:
        edge.output.json({"run": run, "decided": decision})
    else:
        edge.output.line(f"{text} {run}")
