"""Arguments of verbs that are more than a word: JSON, durations, and what the shell can complete."""

from __future__ import annotations

import json
import math
import re
import sys
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer

from relight.cli.completion import complete_run, complete_status, complete_workflow

__all__ = (
    "Confirmed",
    "Data",
    "Name",
    "OfStatus",
    "OfWorkflow",
    "RunName",
    "RunNameOrMany",
    "Seconds",
    "Since",
    "Token",
    "WorkflowName",
    "read_json",
    "read_seconds",
)

_UNITS = {"": 1, "ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86_400}


def read_json(text: str) -> Any:
    """Return the value of a JSON text, of a file (`@path`) or of standard input (`-`).

    Raises:
        typer.BadParameter: It is no JSON, or can't be read.
    """
    source, found = _found(text)
    try:
        return json.loads(found, parse_constant=_refuse_constant, parse_float=_finite)
    except ValueError as error:
        if source == text and re.match(r"--?[A-Za-z]", text):
            raise typer.BadParameter(f"no such option: {text}") from None
        remedy = f"; a text needs its quotes: '{json.dumps(text)}'" if source == text and text.isalnum() else ""
        raise typer.BadParameter(f"{source[:80]!r} is no JSON ({error}){remedy}") from None
    except RecursionError:
        raise typer.BadParameter(f"{source[:80]!r} is nested too deeply") from None


def read_seconds(text: str) -> float:
    """Return the seconds of `90`, `1.5h`, `10m`, `2d` or `500ms`.

    Raises:
        typer.BadParameter: It is no duration.
    """
    matched = re.fullmatch(r"(\d+(?:\.\d+)?)\s*(ms|s|m|h|d|)", text.strip())
    if matched is None:
        raise typer.BadParameter(f"{text[:40]!r} is no duration; give seconds, or for example 10m, 1.5h, 2d")
    return float(matched[1]) * _UNITS[matched[2]]


def _found(text: str) -> tuple[str, str]:
    """Return a name for the source, and what it holds."""
    try:
        if text == "-":
            return "standard input", sys.stdin.buffer.read().decode()
        if text.startswith("@"):
            return text, Path(text[1:]).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise typer.BadParameter(f"{text!r} can't be read: {reason}") from None
    return text, text


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not part of JSON")


def _finite(text: str) -> float:
    value = float(text)
    if math.isinf(value):
        raise ValueError(f"{text[:40]} is larger than a number can be")
    return value


def _no_option(name: str) -> str:
    """Return a name as it was typed. Where JSON may begin with a hyphen, an option that is none would become a name."""
    behind = sys.argv[sys.argv.index("--") + 1 :] if "--" in sys.argv else []
    if len(name) > 1 and name.startswith("-") and name not in behind:
        raise typer.BadParameter(f"no such option: {name}; a name that begins with - comes behind --")
    return name


Data = Annotated[
    Any, typer.Argument(parser=read_json, metavar="JSON", help="A JSON text, @file, or - for standard input.")
]
RunName = Annotated[
    str, typer.Argument(metavar="RUN", help="The run's id.", callback=_no_option, autocompletion=complete_run)
]
WorkflowName = Annotated[
    str,
    typer.Argument(metavar="NAME", help="The workflow's name.", callback=_no_option, autocompletion=complete_workflow),
]
Name = Annotated[str, typer.Argument(metavar="NAME", help="As the workflow calls it.", callback=_no_option)]
Token = Annotated[str, typer.Argument(metavar="TOKEN", help="Of the awakeable.", callback=_no_option)]
Seconds = Annotated[
    float | None,
    typer.Option("--delay", parser=read_seconds, metavar="DURATION", help="Its first line runs so much later."),
]
RunNameOrMany = Annotated[
    str | None,
    typer.Argument(metavar="[RUN]", help="The run's id; none to choose many.", autocompletion=complete_run),
]
OfStatus = Annotated[
    str | None, typer.Option("--status", help="Many: those that stand so.", autocompletion=complete_status)
]
OfWorkflow = Annotated[
    str | None, typer.Option("--workflow", help="Many: those of this one.", autocompletion=complete_workflow)
]
Since = Annotated[
    float | None,
    typer.Option(
        "--since", parser=read_seconds, metavar="DURATION", help="Many: those that came to stand so within, say, 2h."
    ),
]
Confirmed = Annotated[bool, typer.Option("--yes", help="Many: do it; else they are only counted.")]
