"""`relight replay`: the gate before a deployment."""

from __future__ import annotations

import sys
from collections.abc import Coroutine, Generator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from relight.cli.loading import load_workflows
from relight.cli.output import one_line
from relight.cli.progress import progress
from relight.cli.session import client
from relight.cli.verb import AlreadySaidError, Edge, verb
from relight.cli.working import fix_hash_seed
from relight.errors import RefusedError

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Mapping

    from relight.cli.sampling import Difference, Unreadable
    from relight.sdk._history import History
    from relight.sdk._workflow import Workflow

__all__ = ("replay",)

Application = Annotated[str, typer.Argument(metavar="APP", help="app.py or package.module, today's code.")]
Files = Annotated[
    list[Path] | None, typer.Argument(metavar="[HISTORY]...", help="Files with histories, golden ones for example.")
]


class _Report:
    """What was replayed so far."""

    def __init__(self) -> None:
        self.replayed = 0
        self.without_history = 0
        self.unreadable: list[Unreadable] = []
        self.difference: Difference | None = None


@verb("replay")
def replay(
    edge: Edge,
    app: Application,
    files: Files = None,
    from_server: Annotated[bool, typer.Option("--from-server", help="Replay runs that the server has.")] = False,
    sample: Annotated[
        int, typer.Option("--sample", min=1, max=1000, help="At most so many, the newest of each workflow in turn.")
    ] = 200,
) -> Coroutine[Any, Any, None]:
    """Replay recorded histories on today's code; exit code 1 with the first difference. No step runs."""
    if bool(files) == from_server:
        raise typer.BadParameter("give either files with histories or --from-server")
    # As `relight worker` does: the order of a set is part of what was recorded, and a module may run a loop of its own
    # while it is imported.
    fix_hash_seed()
    return _replay(edge, load_workflows(app), files, sample)


async def _replay(edge: Edge, workflows: list[Workflow[..., Any]], files: list[Path] | None, sample: int) -> None:
    report = _Report()
    unknown: Mapping[str, int] = {}
    if files:
        _replay_files(edge, report, workflows, files)
    else:
        unknown = await _replay_from_server(edge, report, workflows, sample)
    _print(edge, report, unknown)


def _replay_files(edge: Edge, report: _Report, workflows: list[Workflow[..., Any]], files: list[Path]) -> None:
    from relight.sdk._history import read_history
    from relight.sdk._replaying import check_values

    known = {one.name for one in workflows}
    with progress("replaying", len(files), is_json=edge.output.is_json) as advance:
        for file in files:
            with _readable(file):
                history = read_history(file)
            if history.started.workflow not in known:
                raise RefusedError(f"{file} is of workflow {history.started.workflow!r}, which the application has not")
            with _whole(file):
                check_values(history)
            advance()
            if _differs(report, workflows, history):
                return


@contextmanager
def _readable(file: Path) -> Generator[None]:
    try:
        yield
    except OSError as error:
        raise RefusedError(f"{file} can't be read: {error.strerror}") from error


@contextmanager
def _whole(file: Path) -> Generator[None]:
    try:
        yield
    except RefusedError as error:
        raise RefusedError(f"{file}: {error}") from error


async def _replay_from_server(
    edge: Edge, report: _Report, workflows: list[Workflow[..., Any]], size: int
) -> Counter[str]:
    from relight.cli.sampling import Unreadable, histories, sampled

    async with client(edge.place) as relight:
        sample = await sampled(relight, workflows, size)
        with progress("replaying", len(sample.runs), is_json=edge.output.is_json) as advance:
            async for history in histories(relight, sample):
                advance()
                if history is None:
                    report.without_history += 1
                elif isinstance(history, Unreadable):
                    report.unreadable.append(history)
                elif _differs(report, workflows, history):
                    break
    return sample.unknown


def _differs(report: _Report, workflows: list[Workflow[..., Any]], history: History) -> bool:
    from relight.cli.sampling import difference_in

    report.replayed += 1
    report.difference = difference_in(workflows, history)
    return report.difference is not None


def _print(edge: Edge, report: _Report, unknown: Mapping[str, int]) -> None:
    found = report.difference
    if edge.output.is_json:
        skipped = {
            "unknown_workflow": sum(unknown.values()),
            "without_history": report.without_history,
            "unreadable": len(report.unreadable),
        }
        difference = None if found is None else asdict(found)
        edge.output.json({"replayed": report.replayed, "skipped": skipped, "difference": difference})
    elif found is not None:
        recorded = f"{found.recorded}  {found.recorded_at}".rstrip()
        actual = f"{found.actual}  {found.actual_at}".rstrip()
        edge.output.pairs(
            [
                ("run", (found.run, "bold")),
                ("workflow", found.workflow),
                ("recorded", (recorded, "green")),
                ("today", (actual, "red")),
            ]
        )
    else:
        edge.output.line(("ok", "green"), f": {_counted(report.replayed)} on today's code{_skipped(report, unknown)}")
    for one in report.unreadable:
        print(one_line(f"run {one.run} was not replayed: {one.reason}"), file=sys.stderr)
    if found is not None:
        recorded_at = f"recorded at {found.recorded_at}, " if found.recorded_at else ""
        where = f"{recorded_at}today's code is at {found.actual_at}"
        print(one_line(f"run {found.run} of {found.workflow} leaves its history: {where}"), file=sys.stderr)
        raise AlreadySaidError


def _counted(number: int) -> str:
    return f"{number} histor{'y replays' if number == 1 else 'ies replay'}"


def _skipped(report: _Report, unknown: Mapping[str, int]) -> str:
    parts = [f"{number} of unknown workflow {name}" for name, number in sorted(unknown.items())]
    if report.without_history:
        parts.append(f"{report.without_history} without a history yet")
    if report.unreadable:
        parts.append(f"{len(report.unreadable)} that can't be read")
    return f"; skipped: {', '.join(parts)}" if parts else ""
