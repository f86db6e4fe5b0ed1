"""`relight versions`: what is left on each version of the code."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from relight.cli.progress import progress
from relight.cli.session import client
from relight.cli.verb import Edge, verb
from relight.errors import ProtocolError

if TYPE_CHECKING:
    from relight.cli.output import Cell
    from relight.sdk._client import Relight
    from relight.subjects.grammar import StartSubject

__all__ = ("versions",)


@dataclass
class _Left:
    """Runs of one version. The empty version stands for those that go on anywhere."""

    ended: int = 0
    unfinished: Counter[str] = field(default_factory=Counter[str])

    @property
    def is_safe(self) -> bool:
        return not self.unfinished


@verb("versions")
async def versions(edge: Edge) -> None:
    """Say how many unfinished runs stay with each version of the code, and which version is safe to stop."""
    async with client(edge.place) as relight:
        found = await _look(edge, relight)
    anywhere = found.pop("", _Left())
    if edge.output.is_json:
        for version, left in sorted(found.items()):
            edge.output.json(_document(version, left) | {"safe_to_stop": left.is_safe})
        edge.output.json(_document(None, anywhere))
        return
    rows: list[tuple[Cell, ...]] = [
        (version, str(left.unfinished.total()), ("yes", "green") if left.is_safe else ("no", "yellow"), _of(left))
        for version, left in sorted(found.items())
    ]
    rows.append((("(any)", "dim"), str(anywhere.unfinished.total()), ("", ""), _of(anywhere)))
    edge.output.table(("version", "unfinished", "safe to stop", "of workflows"), rows)


def _document(version: str | None, left: _Left) -> dict[str, object]:
    workflows = dict(sorted(left.unfinished.items()))
    return {"version": version, "unfinished": left.unfinished.total(), "ended": left.ended, "workflows": workflows}


def _of(left: _Left) -> Cell:
    return ", ".join(f"{number} {name}" for name, number in left.unfinished.most_common()), "dim"


async def _look(edge: Edge, relight: Relight) -> dict[str, _Left]:
    from relight.cli.choosing import at_once, every_run

    starts = await every_run(relight)
    found: dict[str, _Left] = {}
    with progress("looking", len(starts), is_json=edge.output.is_json) as advance:
        async for seen in at_once(starts, lambda start: _seen(relight, start)):
            advance()
            if seen is not None:
                version, workflow, has_ended = seen
                left = found.setdefault(version, _Left())
                if has_ended:
                    left.ended += 1
                else:
                    left.unfinished[workflow] += 1
    return found


async def _seen(relight: Relight, start: StartSubject) -> tuple[str, str, bool] | None:
    """Return version and workflow of a run and whether it has ended; None if it was retired.

    The history's first turn and its last are all that is read. One that has not begun goes to whichever version takes
    it.
    """
    log = relight.subjects.log(start.run)
    try:
        return await _read(relight, start, log)
    except ProtocolError:
        return "", "(unreadable)", False


async def _read(relight: Relight, start: StartSubject, log: str) -> tuple[str, str, bool] | None:
    from relight.actors.journal import read_tail
    from relight.actors.starts import read_start
    from relight.subjects.codec import decode_turn
    from relight.subjects.records import ENDS, RunStarted
    from relight.subjects.turn import Turn

    tail = await read_tail(relight.door, log)
    first = None if tail is None else await relight.door.next(log, after=0)
    if tail is None or first is None:
        stored = await read_start(relight.door, relight.subjects, start.run)
        return None if stored is None or tail is not None else ("", stored.started.workflow, False)
    turn, last = decode_turn(first.data), tail[1]
    if not isinstance(turn, Turn) or not isinstance(last, Turn):
        return None
    started = next((one for one in turn.records if isinstance(one, RunStarted)), None)
    if started is None:
        return "", "", isinstance(last.records[-1], ENDS)
    return started.version, started.workflow, isinstance(last.records[-1], ENDS)
