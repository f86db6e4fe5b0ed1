"""One decision about many runs: a count first, then, if it is confirmed, each of them. Repeating it goes on."""

from __future__ import annotations

import asyncio
import sys
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, get_args

import typer

from relight.cli.progress import progress
from relight.cli.session import client
from relight.cli.verb import AlreadySaidError, Edge
from relight.errors import RefusedError, RelightError, RunNotFoundError

if TYPE_CHECKING:
    from relight.cli.choosing import Chosen, Filters
    from relight.sdk._client import Relight
    from relight.sdk._run import Run

__all__ = ("Decision", "check_choice", "decide_all")

_EXAMPLES_MAX = 5


@dataclass(frozen=True)
class Decision:
    """What is decided about each of the runs.

    Attributes:
        name: The verb.
        did: The verb with what was done, for people.
        kind: Of the message that tells a run.
        tell: Tells one.
    """

    name: str
    did: str
    kind: str
    tell: Callable[[Run[Any]], Awaitable[None]]


def check_choice(run: str | None, *, workflow: str | None, status: str | None, since: float | None, yes: bool) -> None:
    """Refuse a decision about a run and about many at once, or about all runs there are."""
    from relight.sdk._run import RunStatus

    chooses = any(one is not None for one in (workflow, status, since))
    if run is not None and (chooses or yes):
        raise typer.BadParameter("give either RUN, or filters for many runs")
    if run is None and not chooses:
        raise typer.BadParameter("give RUN, or choose many runs by --status, --workflow and --since")
    known: tuple[str, ...] = get_args(RunStatus)
    if status is not None and status not in known:
        raise typer.BadParameter(f"{status[:40]!r} is no status; give one of {', '.join(known)}")


async def decide_all(edge: Edge, decision: Decision, filters: Filters, *, is_confirmed: bool) -> None:
    """Count the runs that are meant; tell them if that is confirmed, by an option or at the terminal."""
    async with client(edge.place) as relight:
        found = await _found(edge, relight, decision, filters)
        open_ = [one for one in found if not one.is_told]
        if not is_confirmed and not await _asked(edge, decision, open_):
            _print_count(edge, decision, found)
            return
        outcome, failures = await _tell(edge, relight, decision, open_)
    _print_outcome(edge, decision, outcome, told_before=len(found) - len(open_))
    if failures:
        again = f"{len(failures)} of {len(open_)} runs were not reached; repeat the command to go on"
        print(f"{again} ({failures[0]})", file=sys.stderr)
        raise AlreadySaidError


async def _found(edge: Edge, relight: Relight, decision: Decision, filters: Filters) -> list[Chosen]:
    from relight.cli.choosing import at_once, chosen, every_run

    starts = await every_run(relight)
    sends = f'{{"kind":"{decision.kind}"'.encode()
    found: list[Chosen] = []
    with progress("looking", len(starts), is_json=edge.output.is_json) as advance:
        async for one in at_once(starts, lambda start: chosen(relight, start, filters, sends)):
            advance()
            if one is not None:
                found.append(one)
    return found


async def _asked(edge: Edge, decision: Decision, found: list[Chosen]) -> bool:
    if not found or not edge.output.is_terminal or not sys.stdin.isatty():
        return False
    print(f"{decision.name} {_counted(len(found))} ({_by_workflow(found)})? [y/N]: ", end="", flush=True)
    # In the loop: an interruption that comes just before a blocking read is not heeded until the next key.
    has_line = asyncio.Event()
    asyncio.get_running_loop().add_reader(sys.stdin.fileno(), has_line.set)
    try:
        await has_line.wait()
    finally:
        asyncio.get_running_loop().remove_reader(sys.stdin.fileno())
    return sys.stdin.readline().strip().lower() in ("y", "yes")


async def _tell(
    edge: Edge, relight: Relight, decision: Decision, found: list[Chosen]
) -> tuple[Counter[str], list[str]]:
    from relight.cli.choosing import at_once

    failures: list[str] = []

    async def tell(one: Chosen) -> str:
        try:
            await decision.tell(relight.get_run(one.run))
        except (RefusedError, RunNotFoundError):
            return "needless"  # It has ended, or goes on, since it was counted.
        except RelightError as error:
            failures.append(f"run {one.run}: {error}")
            return "failed"
        return "done"

    outcome: Counter[str] = Counter()
    try:
        with progress(decision.name, len(found), is_json=edge.output.is_json) as advance:
            async for one in at_once(found, tell):
                advance()
                outcome[one] += 1
    except asyncio.CancelledError:
        told = f"interrupted when {sum(outcome.values())} of {len(found)} runs were told, or a few more"
        print(f"{told}; repeat the command to go on", file=sys.stderr)
        raise
    return outcome, failures


def _print_count(edge: Edge, decision: Decision, found: list[Chosen]) -> None:
    open_ = [one for one in found if not one.is_told]
    if edge.output.is_json:
        workflows = Counter(one.workflow for one in open_)
        edge.output.json(
            {
                "decision": decision.name,
                "dry_run": True,
                "runs": len(open_),
                "told_before": len(found) - len(open_),
                "workflows": dict(sorted(workflows.items())),
                "examples": [one.run for one in open_[:_EXAMPLES_MAX]],
            }
        )
        return
    if not open_:
        edge.output.line(f"no run to {decision.name}{_told_before(len(found))}")
        return
    edge.output.line(f"would {decision.name} {_counted(len(open_))}: {_by_workflow(open_)}")
    for one in open_[:_EXAMPLES_MAX]:
        edge.output.line(("  ", ""), one.run, (f"  {one.workflow}, {one.status}", "dim"))
    if len(open_) > _EXAMPLES_MAX:
        edge.output.line((f"  … and {len(open_) - _EXAMPLES_MAX} more", "dim"))
    edge.output.line("nothing was done; add --yes to do it")


def _print_outcome(edge: Edge, decision: Decision, outcome: Counter[str], *, told_before: int) -> None:
    counts = {name: outcome[name] for name in ("done", "needless", "failed")}
    if edge.output.is_json:
        edge.output.json({"decision": decision.name, "dry_run": False, **counts, "told_before": told_before})
        return
    needless = f"; {outcome['needless']} needed it no more" if outcome["needless"] else ""
    edge.output.line(f"{decision.did} {_counted(outcome['done'])}{needless}{_told_before(told_before)}")


def _told_before(number: int) -> str:
    return f"; {number} told before and not come to it yet" if number else ""


def _by_workflow(found: list[Chosen]) -> str:
    workflows = Counter(one.workflow for one in found)
    return ", ".join(f"{number} of {name}" for name, number in workflows.most_common())


def _counted(number: int) -> str:
    return f"{number} run{'' if number == 1 else 's'}"
