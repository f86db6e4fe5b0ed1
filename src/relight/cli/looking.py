"""How runs stand: `runs`, `show`, `history`."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated, cast, get_args

import typer

from relight.cli.arguments import RunName
from relight.cli.completion import complete_status, complete_workflow
from relight.cli.output import one_line, status_style
from relight.cli.session import client
from relight.cli.verb import Edge, verb
from relight.errors import ProtocolError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from relight.cli.listing import Newest
    from relight.cli.output import Cell, Output
    from relight.sdk._client import Relight
    from relight.sdk._run import StoredRecord

__all__ = ("history", "runs", "show")

_LIMIT_MAX = 1_000

WorkflowOption = Annotated[
    str | None,
    typer.Option("--workflow", help="Only runs of this one, among the newest 1,000.", autocompletion=complete_workflow),
]
FollowOption = Annotated[bool, typer.Option("--follow", help="Go on until the run ends.")]
AfterOption = Annotated[int, typer.Option("--after", metavar="SEQUENCE", min=0, help="Only the records behind this.")]
StatusOption = Annotated[
    str | None,
    typer.Option("--status", help="Only runs that stand so, among the newest 1,000.", autocompletion=complete_status),
]
LimitOption = Annotated[int, typer.Option("--limit", min=1, max=_LIMIT_MAX, help="At most so many, the newest first.")]


@verb("runs")
async def runs(
    edge: Edge, workflow: WorkflowOption = None, status: StatusOption = None, limit: LimitOption = 20
) -> None:
    """List the newest runs."""
    from relight.cli.listing import newest

    _check_status(status)
    rows: list[tuple[Cell, ...]] = []
    number = 0
    async with client(edge.place) as relight:
        found = await newest(relight, workflow=workflow, limit=limit if status is None else _LIMIT_MAX)
        async for document, row in _summaries(relight, found, status):
            edge.output.json(document) if edge.output.is_json else rows.append(row)
            number += 1
            if number == limit:
                break
    if rows:
        edge.output.table(("run", "workflow", "status", "since", "waits for"), rows)
    elif not edge.output.is_json and edge.output.is_terminal:
        edge.output.line(("no runs", "dim"))
    if number < limit and found.has_older:
        print(f"only the newest {_LIMIT_MAX:,} runs were looked at; older ones are not listed", file=sys.stderr)


async def _summaries(
    relight: Relight, found: Newest, status: str | None
) -> AsyncIterator[tuple[dict[str, object], tuple[Cell, ...]]]:
    """Say how those stand that stand so; of one that can't be read nobody knows, which goes to standard error."""
    from relight.cli.listing import sights
    from relight.cli.sighting import summary, summary_of_unreadable

    async for one, sight in sights(relight, found.runs):
        if not isinstance(sight, ProtocolError):
            document, row = summary(sight, now_ms=relight.door.clock.now_ms())
            if status in (None, document["status"]):
                yield document, row
        elif status is None:
            yield summary_of_unreadable(one.run, one.workflow, one.queue, str(sight))
        else:
            print(one_line(f"run {one.run} can't be read: {sight}"), file=sys.stderr)


@verb("show")
async def show(edge: Edge, run: RunName) -> None:
    """Say how a run stands, why it waits, and what would help."""
    from relight.actors.letters import how_children_stand
    from relight.cli.listing import fill_result, look_at
    from relight.cli.sighting import Sighting

    async with client(edge.place) as relight:
        sight = await look_at(relight, run)
        if edge.output.is_json:
            await fill_result(relight, sight)
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
    from relight.cli.timeline import COLUMNS, WIDTHS, Timeline

    least = [first for first, _ in WIDTHS]
    timeline = Timeline()
    rows: list[Sequence[Cell]] = []
    try:
        async for one in relight.get_run(run).history(after=after):
            stored = cast("StoredRecord", one)
            rows.append(timeline.row(stored.at, stored.worker, stored.data))
    except ProtocolError:
        if rows:  # They stand before the break, of which the error tells.
            output.table(COLUMNS, rows, least=least)
        raise
    output.table(COLUMNS, rows, least=least)


def _check_status(status: str | None) -> None:
    from relight.sdk._run import RunStatus

    known: tuple[str, ...] = get_args(RunStatus)
    if status is not None and status not in known:
        raise typer.BadParameter(f"{status[:40]!r} is no status; give one of {', '.join(known)}")
