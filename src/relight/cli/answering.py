"""What is said to a run: `resume`, `signal`, `request`, `complete`."""

from __future__ import annotations

import json
from typing import Annotated, Any

import typer

from relight.cli.arguments import Data, Name, RunName, Token, read_seconds
from relight.cli.session import client
from relight.cli.verb import Edge, verb

__all__ = ("complete", "request", "resume", "signal")


@verb("resume", takes_json=True)
async def resume(edge: Edge, run: RunName, name: Name, data: Data = None) -> None:
    """Answer a suspension; the first answer counts. One that comes early is kept."""
    async with client(edge.place) as relight:
        answered = relight.get_run(run)
        suspended = (await answered.describe()).suspended
        await answered.resume(name, data)
    is_early = name not in suspended
    sent = f"sent the answer to {name!r} of run {run}"
    _done(edge, {"run": run, "resumed": name, "is_early": is_early}, sent + (_early(suspended) if is_early else ""))


def _early(suspended: tuple[str, ...]) -> str:
    """What tells of a typing error, too: that a name will never come, nobody can know."""
    names = ", ".join(repr(one) for one in suspended) or "no answer"
    return f", which waited for {names} just before: it is kept until it is waited for"


@verb("signal", takes_json=True)
async def signal(
    edge: Edge,
    run: RunName,
    name: Name,
    data: Data = None,
    id: Annotated[str | None, typer.Option("--id", help="A signal with an id counts once.")] = None,
) -> None:
    """Send a signal."""
    async with client(edge.place) as relight:
        await relight.get_run(run).signal(name, data, id=id)
    _done(edge, {"run": run, "signalled": name}, f"sent signal {name!r} to run {run}")


@verb("request", takes_json=True)
async def request(
    edge: Edge,
    run: RunName,
    name: Name,
    data: Data = None,
    id: Annotated[str | None, typer.Option("--id", help="Asking again with this id gives the same answer.")] = None,
    timeout: Annotated[
        float | None,
        typer.Option("--timeout", parser=read_seconds, metavar="DURATION", help="Waits no longer than this."),
    ] = None,
) -> None:
    """Ask a run something and print its answer."""
    async with client(edge.place) as relight:
        answer = await relight.get_run(run).request(name, data, type=object, id=id, timeout=timeout)
    if edge.output.is_json:
        edge.output.json({"run": run, "requested": name, "answer": answer})
    else:
        edge.output.line(json.dumps(answer, ensure_ascii=False))


@verb("complete", takes_json=True)
async def complete(edge: Edge, token: Token, data: Data = None) -> None:
    """Complete an awakeable by its token."""
    async with client(edge.place) as relight:
        await relight.complete(token, data)
    _done(edge, {"completed": token}, f"completed {token}")


def _done(edge: Edge, document: dict[str, Any], text: str) -> None:
    if edge.output.is_json:
        edge.output.json(document)
    else:
        edge.output.line(text)
