"""`relight start`."""

from __future__ import annotations

import asyncio
import json
import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from relight.cli.arguments import Seconds, WorkflowName, read_json
from relight.cli.session import client
from relight.cli.verb import Edge, said, verb
from relight.cli.words import command
from relight.errors import RelightError, RunCancelled, RunFailed, RunTerminated, RunTimedOut

if TYPE_CHECKING:
    from relight.sdk._run import Run
    from relight.sdk._workflow import StartOptions

__all__ = ("awaited", "start")

_STATUSES: dict[type[RelightError], str] = {
    RunFailed: "failed",
    RunCancelled: "cancelled",
    RunTerminated: "terminated",
    RunTimedOut: "timed_out",
}
"""What the status of a run is that ended so."""

Arguments = Annotated[
    list[object] | None,
    typer.Argument(parser=read_json, metavar="JSON", help="Each a JSON text, @file, or - for standard input."),
]


@verb("start", takes_json=True)
async def start(
    edge: Edge,
    name: WorkflowName,
    arguments: Arguments = None,
    id: Annotated[str | None, typer.Option("--id", help="Names the run; starting it again attaches to it.")] = None,
    queue: Annotated[str | None, typer.Option("--queue", help="Of the workers; else `default`.")] = None,
    delay: Seconds = None,
    wait: Annotated[bool, typer.Option("--wait", help="Wait for the end and print the result.")] = False,
) -> None:
    """Start a run; print its id when it is durable."""
    async with client(edge.place) as relight:
        run = await relight.start(name, *(arguments or ()), type=object, **_options(id, queue, delay))
        if wait:
            await _print_result(edge, run)
        elif edge.output.is_json:
            edge.output.json({"run": run.id})
        else:
            edge.output.line(run.id)
            if edge.output.is_terminal:
                edge.output.line((f"started; to see how it stands: {command('show', run.id)}", "dim"))


async def _print_result(edge: Edge, run: Run[Any]) -> None:
    try:
        result = await awaited(run)
    except tuple(_STATUSES) as error:
        if edge.output.is_json:
            edge.output.json({"run": run.id, "status": _STATUSES[type(error)], "error": said(error)})
        raise RelightError(f"run {run.id} ended without a result: {said(error)}") from error
    document = {"run": run.id, "status": "completed", "result": result}
    edge.output.json(document) if edge.output.is_json else edge.output.line(_shown(result, edge))


async def awaited(run: Run[Any]) -> object:
    """Return the run's result; who waits no longer is told its id."""
    try:
        return await run.result()
    except asyncio.CancelledError:
        print(f"run {run.id} goes on; to see how it stands: {command('show', run.id)}", file=sys.stderr)
        raise


def _options(id: str | None, queue: str | None, delay: float | None) -> StartOptions:
    options: StartOptions = {}
    if id is not None:
        options["id"] = id
    if queue is not None:
        options["queue"] = queue
    if delay is not None:
        options["delay"] = delay
    return options


def _shown(result: object, edge: Edge) -> str:
    return json.dumps(result, ensure_ascii=False, indent=2 if edge.output.is_terminal else None)
