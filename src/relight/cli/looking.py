"""How runs stand: `runs`, `show`, `history`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, cast, get_args

import typer

from relight.cli.arguments import RunName
from relight.cli.completion import complete_status, complete_workflow
from relight.cli.output import status_style
from relight.cli.session import client
from relight.cli.verb import Edge, verb
from relight.errors import ProtocolError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from relight.cli.output import Cell, Output
    from relight.sdk._client import Relight
    from relight.sdk._run import StoredRecord

__all__ = ("history", "runs", "show")

_LIMIT_MAX = 1_000

WorkflowOption = Annotated[
    str | None, typer.Option("--workflow", help="Only runs of this one.", autocompletion=complete_workflow)
]
FollowOption = Annotated[bool, typer.Option("--follow", help="Go on until the run ends.")]
AfterOption = Annotated[int, typer.Option("--after", metavar="SEQUENCE", min=0, help="Only the records behind this.")]
StatusOption = Annotated[
    str | None, typer.Option("--status", help="Only runs that stand so.", autocompletion=complete_status)
]
LimitOption = Annotated[int, typer.Option("--limit", min=1, max=_LIMIT_MAX, help="At most so many, the newest first.")]


@verb("runs")
async def runs(
    edge: Edge, workflow: WorkflowOption = None, status: StatusOption = None, limit: LimitOption = 20
) -> None:
    """List the newest runs."""
    from relight.cli.listing import newest, sights
    from relight.cli.sighting import summary

    _check_status(status)
    output = edge.output
    rows: list[tuple[Cell, ...]] = []
    async with client(edge.place) as relight:
        listed = await newest(relight, workflow=workflow, limit=limit if status is None else _LIMIT_MAX)
        found = 0
        async for sight in sights(relight, listed):
            document, row = summary(sight, now_ms=relight.door.clock.now_ms())
            if status not in (None, document["status"]):
                continue
            output.json(document) if output.is_json else rows.append(row)
            found += 1
            if found == limit:
                break
    if rows:
        output.table(("run", "workflow", "status", "since", "waits for"), rows)
    elif not output.is_json and output.is_terminal:
        output.line(("no runs", "dim"))


@verb("show")
async def show(edge: Edge, run: RunName) -> None:
    """Say how a run stands, why it waits, and what would help."""
    from relight.actors.letters import how_children_stand
    from relight.cli.listing import look_at
    from relight.cli.sighting import Sighting

    async with client(edge.place) as relight:
        sight = await look_at(relight, run)
        children = await how_children_stand(relight.door, relight.subjects, sight)
        seen = Sighting(sight, children, now_ms=relight.door.clock.now_ms())
    if edge.output.is_json:
        edge.output.json(seen.document())
        return
    description = seen.description
    edge.output.line((run, "bold"), "  ", (description.status, status_style(description.status)))
    edge.output.pairs(seen.pairs())


@verb("history")
async def history(edge: Edge, run: RunName, follow: FollowOption = False, after: AfterOption = 0) -> None:
    """Print a run's records, in order."""
    async with client(edge.place) as relight:
        if edge.output.is_json:
            await _documents(edge.output, relight, run, follow=follow, after=after)
        elif follow:
            await _followed(edge.output, relight, run, after)
        else:
            await _table(edge.output, relight, run, after)


async def _documents(output: Output, relight: Relight, run: str, *, follow: bool, after: int) -> None:
    from relight.cli.timeline import document_of

    async for one in relight.get_run(run).history(follow=follow, after=after):
        stored = cast("StoredRecord", one)
        output.json(document_of(stored.sequence, stored.at, stored.worker, stored.epoch, stored.data))


async def _followed(output: Output, relight: Relight, run: str, after: int) -> None:
    from relight.cli.timeline import COLUMNS, WIDTHS, Timeline

    timeline = Timeline()
    output.row([(name, "dim") for name in COLUMNS], WIDTHS)
    async for one in relight.get_run(run).history(follow=True, after=after):
        stored = cast("StoredRecord", one)
        output.row(timeline.row(stored.at, stored.worker, stored.data), WIDTHS)


async def _table(output: Output, relight: Relight, run: str, after: int) -> None:
    from relight.cli.timeline import COLUMNS, Timeline

    timeline = Timeline()
    rows: list[Sequence[Cell]] = []
    try:
        async for one in relight.get_run(run).history(after=after):
            stored = cast("StoredRecord", one)
            rows.append(timeline.row(stored.at, stored.worker, stored.data))
    except ProtocolError:
        if rows:  # They stand before the break, of which the error tells.
            output.table(COLUMNS, rows)
        raise
    output.table(COLUMNS, rows)


def _check_status(status: str | None) -> None:
    from relight.sdk._run import RunStatus

    known: tuple[str, ...] = get_args(RunStatus)
    if status is not None and status not in known:
        raise typer.BadParameter(f"{status[:40]!r} is no status; give one of {', '.join(known)}")
