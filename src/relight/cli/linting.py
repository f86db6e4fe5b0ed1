"""`relight lint`."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from relight.cli.output import Output
from relight.cli.verb import AlreadySaidError, Edge, verb

if TYPE_CHECKING:
    from relight.lint import Finding

__all__ = ("lint",)

Targets = Annotated[
    list[str], typer.Argument(metavar="APP", help="app.py or package.module; their code is read, never run.")
]


@verb("lint")
def lint(edge: Edge, apps: Targets) -> None:
    """Look through workflows, and what they call, for what a replay would not repeat."""
    from relight.lint import lint_sources

    report = lint_sources(apps)
    for one in report.findings:
        _print(edge.output, one)
    looked = f"{_counted(report.workflows, 'workflow')} looked through"
    if report.findings:
        print(f"{_counted(len(report.findings), 'finding')}; {looked}", file=sys.stderr)
        raise AlreadySaidError
    if not edge.output.is_json:
        edge.output.line(("ok", "green"), f": nothing found; {looked}")


def _print(output: Output, one: Finding) -> None:
    if output.is_json:
        output.json(_document(one))
        return
    output.line(f"{one.path}:{one.line}:{one.column}: ", (one.rule, "bold red"), f": {one.message}")
    output.line((f"    → {one.remedy}", "dim"))
    if one.chain:
        output.line((f"    in {one.chain}", "dim"))


def _document(one: Finding) -> dict[str, object]:
    return {
        "path": one.path,
        "line": one.line,
        "column": one.column,
        "rule": one.rule,
        "message": one.message,
        "remedy": one.remedy,
        "function": one.function,
        "callers": [{"function": link.function, "path": link.path, "line": link.line} for link in one.callers],
    }


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
