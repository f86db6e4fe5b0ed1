"""One decision about many runs: a count first, then, if it is confirmed, each of them. Repeating it goes on."""

from __future__ import annotations

import asyncio
import sys
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, get_args

import typer

from relight.cli.output import one_line
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

_LOOK = "look at each by `relight show`"

_BY_HAND = {
    "unknown_outcome": "say what happened by `relight resolve`, or `relight retry RUN` one by one",
    "corrupt": "they can't go on; `relight terminate` ends them",
}
"""What helps runs that no decision about many is meant for."""


@dataclass(frozen=True)
class Decision:
    """What is decided about each of the runs.

    Attributes:
        name: The verb.
        did: The verb with what was done, for people.
        kind: Of the message that tells a run.
        tell: Tells one.
        reasons: Of parked runs it is meant only for those that are parked for one of these. None: whatever the reason.
    """

    name: str
    did: str
    kind: str
    tell: Callable[[Run[Any]], Awaitable[None]]
    reasons: frozenset[str] | None = None

    def takes(self, parked: str | None) -> bool:
        """Whether it is meant for a run that is parked for this."""
        return self.reasons is None or parked in self.reasons


@dataclass(frozen=True)
class _Found:
    """The runs that the filters want: those to be told, those told before, and those that are for a person.

    Besides, the ids of those that can't be read.
    """

    open: list[Chosen]
    told: list[Chosen]
    left_out: list[Chosen]
    unreadable: list[str]


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
        if not is_confirmed and not await _asked(edge, decision, found.open):
            _print_count(edge, decision, found)
            return
        outcome, failures = await _tell(edge, relight, decision, found)
    _print_outcome(edge, decision, outcome, found)
    if failures:
        again = f"{len(failures)} of {len(found.open)} runs were not reached; repeat the command to go on"
        print(one_line(f"{again} ({failures[0]})"), file=sys.stderr)
        raise AlreadySaidError


async def _found(edge: Edge, relight: Relight, decision: Decision, filters: Filters) -> _Found:
    from relight.cli.choosing import Unreadable, at_once, chosen, every_run

    starts = await every_run(relight)
    sends = f'{{"kind":"{decision.kind}"'.encode()
    found = _Found([], [], [], [])
    with progress("looking", len(starts), is_json=edge.output.is_json) as advance:
        async for one in at_once(starts, lambda start: chosen(relight, start, filters, sends)):
            advance()
            if isinstance(one, Unreadable):
                found.unreadable.append(one.run)
            elif one is not None:
                _part(found, decision, one).append(one)
    return found


def _part(found: _Found, decision: Decision, one: Chosen) -> list[Chosen]:
    if not decision.takes(one.parked):
        return found.left_out
    return found.told if one.is_told else found.open


async def _asked(edge: Edge, decision: Decision, found: list[Chosen]) -> bool:
    if not found or not edge.output.is_terminal or not sys.stdin.isatty():
        return False
    which = one_line(_by_workflow(found))
    print(f"{decision.name} {_counted(len(found))} ({which})? [y/N]: ", end="", flush=True)
    # In the loop: an interruption that comes just before a blocking read is not heeded until the next key.
    has_line = asyncio.Event()
    asyncio.get_running_loop().add_reader(sys.stdin.fileno(), has_line.set)
    try:
        await has_line.wait()
    finally:
        asyncio.get_running_loop().remove_reader(sys.stdin.fileno())
    return sys.stdin.readline().strip().lower() in ("y", "yes")


async def _tell(edge: Edge, relight: Relight, decision: Decision, found: _Found) -> tuple[Counter[str], list[str]]:
    from relight.cli.choosing import at_once

    failures: list[str] = []

    async def tell(one: Chosen) -> str:
        try:
            # Whoever confirms it may take his time.
            parked = None if decision.reasons is None else await _parked(relight, one)
            if parked is not None and not decision.takes(parked):
                found.left_out.append(replace(one, parked=parked))
                return "left_out"
            await decision.tell(relight.get_run(one.run))
        except (RefusedError, RunNotFoundError):
            return "needless"  # It has ended, or goes on, since it was counted.
        except RelightError as error:
            failures.append(f"run {one.run}: {error}")
            return "failed"
        return "done"

    outcome: Counter[str] = Counter()
    try:
        with progress(decision.name, len(found.open), is_json=edge.output.is_json) as advance:
            async for one in at_once(found.open, tell):
                advance()
                outcome[one] += 1
    except asyncio.CancelledError:
        told = f"interrupted when {sum(outcome.values())} of {len(found.open)} runs were told, or a few more"
        print(f"{told}; repeat the command to go on", file=sys.stderr)
        raise
    return outcome, failures


async def _parked(relight: Relight, one: Chosen) -> str | None:
    """Return why a run is parked now."""
    from relight.cli.listing import look_at

    parked = (await look_at(relight, one.run)).state.parked
    return None if parked is None else parked.reason


def _print_count(edge: Edge, decision: Decision, found: _Found) -> None:
    open_ = found.open
    if edge.output.is_json:
        workflows = Counter(one.workflow for one in open_)
        edge.output.json(
            {
                "decision": decision.name,
                "dry_run": True,
                "runs": len(open_),
                "told_before": len(found.told),
                "left_out": _reasons(found),
                "unreadable": len(found.unreadable),
                "workflows": dict(sorted(workflows.items())),
                "examples": [one.run for one in open_[:_EXAMPLES_MAX]],
            }
        )
        return
    if not open_:
        edge.output.line(f"no run to {decision.name}{_told_before(found)}")
        _print_left_out(edge, found)
        return
    edge.output.line(f"would {decision.name} {_counted(len(open_))}: {_by_workflow(open_)}")
    for one in open_[:_EXAMPLES_MAX]:
        edge.output.line(("  ", ""), one.run, (f"  {one.workflow}, {_standing(one)}", "dim"))
    if len(open_) > _EXAMPLES_MAX:
        edge.output.line((f"  … and {len(open_) - _EXAMPLES_MAX} more", "dim"))
    _print_left_out(edge, found)
    edge.output.line("nothing was done; add --yes to do it")


def _print_outcome(edge: Edge, decision: Decision, outcome: Counter[str], found: _Found) -> None:
    counts = {name: outcome[name] for name in ("done", "needless", "failed")}
    if edge.output.is_json:
        rest = {
            "told_before": len(found.told),
            "left_out": _reasons(found),
            "unreadable": len(found.unreadable),
        }
        edge.output.json({"decision": decision.name, "dry_run": False, **counts, **rest})
        return
    needless = f"; {outcome['needless']} needed it no more" if outcome["needless"] else ""
    edge.output.line(f"{decision.did} {_counted(outcome['done'])}{needless}{_told_before(found)}")
    _print_left_out(edge, found)


def _print_left_out(edge: Edge, found: _Found) -> None:
    for reason, number in sorted(_reasons(found).items()):
        named = _named([one.run for one in found.left_out if one.parked == reason])
        remedy = _BY_HAND.get(reason, _LOOK)
        edge.output.line((f"left out {_counted(number)} ({reason}: {named}): {remedy}", "yellow"))
    if found.unreadable:
        what = f"left out {_counted(len(found.unreadable))} that can't be read ({_named(found.unreadable)}): {_LOOK}"
        edge.output.line((what, "yellow"))


def _named(runs: list[str]) -> str:
    return ", ".join(runs[:_EXAMPLES_MAX]) + (", …" if len(runs) > _EXAMPLES_MAX else "")


def _reasons(found: _Found) -> dict[str, int]:
    """Return how many were left out for which reason."""
    return dict(Counter(one.parked or "" for one in found.left_out))


def _standing(one: Chosen) -> str:
    return one.status if one.parked is None else f"{one.status} ({one.parked})"


def _told_before(found: _Found) -> str:
    return f"; {len(found.told)} told before and not come to it yet" if found.told else ""


def _by_workflow(found: list[Chosen]) -> str:
    workflows = Counter(one.workflow for one in found)
    return ", ".join(f"{number} of {name}" for name, number in workflows.most_common())


def _counted(number: int) -> str:
    return f"{number} run{'' if number == 1 else 's'}"
