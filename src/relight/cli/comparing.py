"""A second run beside a first: `fork`, `diff`."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from relight.cli.arguments import RunName, read_json
from relight.cli.completion import complete_run
from relight.cli.output import shortened
from relight.cli.session import client
from relight.cli.verb import Edge, verb

if TYPE_CHECKING:
    from relight.cli.difference import Entry, RunsCompared
    from relight.cli.output import Cell, Output
    from relight.sdk._client import Relight
    from relight.sdk._run import StoredRecord

__all__ = ("diff", "fork")

_CHARACTERS_MAX = 60

FirstRun = Annotated[str, typer.Argument(metavar="RUN", help="One run's id.", autocompletion=complete_run)]
SecondRun = Annotated[str, typer.Argument(metavar="RUN", help="The other's id.", autocompletion=complete_run)]


@verb("fork")
async def fork(
    edge: Edge,
    run: RunName,
    after: Annotated[
        str | None, typer.Option("--after", metavar="STEP", help="Copy up to its outcome, for example charge#1.")
    ] = None,
    before: Annotated[
        str | None, typer.Option("--before", metavar="STEP", help="Copy up to where it is called: it runs again.")
    ] = None,
    replace: Annotated[
        list[str] | None, typer.Option("--replace", metavar="STEP=JSON", help="Another result of a copied step.")
    ] = None,
    args: Annotated[
        str | None, typer.Option("--args", metavar="JSON", help="Other arguments: a JSON list of all of them.")
    ] = None,
    id: Annotated[str | None, typer.Option("--id", help="Of the new run; repeating it is harmless.")] = None,
) -> None:
    """Start a new run from a copy of a run's history; the old one is untouched."""
    is_before = before is not None and after is None and not replace and args is None
    if not is_before and (after is None or before is not None):
        raise typer.BadParameter(
            "give --after STEP, if wanted with --replace STEP=JSON and --args JSON, or --before STEP"
        )
    results = dict(_replacement(one) for one in replace or ())
    arguments = None if args is None else _arguments(args)
    async with client(edge.place) as relight:
        origin = relight.get_run(run)
        if after is not None:
            made = await origin.fork(after=after, replace=results, args=arguments, id=id)
        else:
            assert before is not None, "one of the two is given"
            made = await origin.restart_from(before, id=id)
    if edge.output.is_json:
        edge.output.json({"run": made.id, "origin": run})
    else:
        edge.output.line(made.id)


def _arguments(text: str) -> list[Any]:
    values = read_json(text)
    if not isinstance(values, list):
        raise typer.BadParameter(f"{text[:40]!r} is no list; give all arguments, for example '[\"order-42\", true]'")
    return [*cast("list[object]", values)]


def _replacement(text: str) -> tuple[str, Any]:
    step, separator, value = text.partition("=")
    if not separator:
        raise typer.BadParameter(f"{text[:40]!r} is no replacement; give STEP=JSON, for example 'charge#1=\"ch_2\"'")
    return step, read_json(value)


@verb("diff")
async def diff(edge: Edge, left: FirstRun, right: SecondRun) -> None:
    """Say where two runs part and what differs: results, errors, times."""
    from relight.cli.difference import compared

    async with client(edge.place) as relight:
        histories = await _history(relight, left), await _history(relight, right)
    found = compared(*histories, names=(left, right))
    if edge.output.is_json:
        edge.output.json(_document(left, right, found))
    else:
        _print(edge.output, left, right, found)


async def _history(relight: Relight, run: str) -> list[Entry]:
    from relight.cli.difference import Entry
    from relight.subjects.envelope import check_sealed

    stored = [cast("StoredRecord", one) async for one in relight.get_run(run).history()]
    for one in stored:
        check_sealed(one.sealed, run)  # Placeholders are the same in all runs.
    return [Entry(one.sequence, round(one.at.timestamp() * 1000), one.data) for one in stored]


def _document(left: str, right: str, found: RunsCompared) -> dict[str, object]:
    parting = found.parting
    return {
        "left": left,
        "right": right,
        "same": parting is None and not found.differences,
        "shared_records": found.shared,
        "parting": None if parting is None else {"left": _record(parting.left), "right": _record(parting.right)},
        "differences": [one._asdict() for one in found.differences],
        "times": [one._asdict() for one in found.times],
    }


def _record(entry: Entry | None) -> dict[str, Any] | None:
    if entry is None:
        return None
    from relight.cli.words import moment
    from relight.sdk._description import as_stored
    from relight.subjects.codec import encode

    said: dict[str, Any] = as_stored(encode(entry.record))
    return {"sequence": entry.sequence, "at": moment(entry.at_ms).isoformat(), **said}


def _print(output: Output, left: str, right: str, found: RunsCompared) -> None:
    columns = ("what", "of it", left, right)
    if found.parting is None:
        output.line((f"the same in all {found.shared} records that are compared", "green"))
    else:
        output.line(("they part", "bold yellow"), f" after {found.shared} records that are the same")
        output.pairs([(left, _in_words(found.parting.left)), (right, _in_words(found.parting.right))])
    rows: list[tuple[Cell, ...]] = [
        (one.what, one.field, (_cell(one.left), "red"), (_cell(one.right), "green")) for one in found.differences
    ]
    rows += [(one.what, (one.field, "dim"), _seconds(one.left), _seconds(one.right)) for one in found.times]
    if rows:
        output.table(columns, rows)


def _in_words(entry: Entry | None) -> Cell:
    if entry is None:
        return "nothing more", "dim"
    from relight.actors.run.replay import in_words

    return f"{entry.sequence}: {in_words(entry.record)}"


def _cell(value: object) -> str:
    return shortened(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False), _CHARACTERS_MAX)


def _seconds(value: float) -> Cell:
    return f"{value:.3f}", "dim"
