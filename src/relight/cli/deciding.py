"""What a person decides about a run: `cancel`, `terminate`, `retry`, `resolve`."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from relight.cli.arguments import RunName, read_json
from relight.cli.session import client
from relight.cli.verb import Edge, verb

__all__ = ("cancel", "resolve", "retry", "terminate")

_UNSET: Any = object()

Reason = Annotated[str, typer.Option("--reason", help="Recorded in the history.", show_default=False)]
StepName = Annotated[str, typer.Argument(metavar="STEP", help="Its key, for example send_email#1, or its name.")]


@verb("cancel")
async def cancel(edge: Edge, run: RunName, reason: Reason = "") -> None:
    """Ask a run to stop; its clean-up steps run."""
    async with client(edge.place) as relight:
        await relight.get_run(run).cancel(reason=reason)
    _decided(edge, run, "cancel", "asked run {} to stop")


@verb("terminate")
async def terminate(edge: Edge, run: RunName, reason: Reason = "") -> None:
    """End a run at once; none of its code runs any more."""
    async with client(edge.place) as relight:
        await relight.get_run(run).terminate(reason=reason)
    _decided(edge, run, "terminate", "terminated run {}")


@verb("retry")
async def retry(edge: Edge, run: RunName) -> None:
    """Let a parked run go on, after a fix."""
    async with client(edge.place) as relight:
        await relight.get_run(run).retry()
    _decided(edge, run, "retry", "run {} goes on")


@verb("resolve")
async def resolve(
    edge: Edge,
    run: RunName,
    step: StepName,
    result: Annotated[
        Any, typer.Option("--result", parser=read_json, metavar="JSON", help="It was done, and this came of it.")
    ] = None,
    error: Annotated[str | None, typer.Option("--error", metavar="TEXT", help="It failed, and this is why.")] = None,
    rerun: Annotated[bool, typer.Option("--rerun", help="Run it again.")] = False,
) -> None:
    """Say what happened to a step whose outcome is unknown: one of --result, --error, --rerun."""
    if (result is not None) + (error is not None) + rerun != 1:
        raise typer.BadParameter("give exactly one of --result JSON, --error TEXT and --rerun")
    async with client(edge.place) as relight:
        handle = relight.get_run(run)
        if rerun or error is not None:
            await handle.resolve(step, error=error, rerun=rerun)
        else:
            await handle.resolve(step, result=result)
    _decided(edge, run, "resolve", f"resolved {step} of run {{}}")


def _decided(edge: Edge, run: str, decision: str, text: str) -> None:
    if edge.output.is_json:
        edge.output.json({"run": run, "decided": decision})
    else:
        edge.output.line(text.format(run))
