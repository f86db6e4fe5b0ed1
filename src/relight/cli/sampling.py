"""Which recorded histories are replayed, and what becomes of each."""

from __future__ import annotations

import asyncio
import re
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from itertools import chain, zip_longest
from typing import TYPE_CHECKING, Any, cast

from relight.actors.values import filled
from relight.cli.listing import Listed, newest
from relight.config.limits import LIMITS
from relight.errors import NonDeterminismError, ProtocolError, RefusedError, RelightError, RunNotFoundError
from relight.sdk._history import History, history_of
from relight.sdk._replaying import replay_open

if TYPE_CHECKING:
    from relight.sdk._client import Relight
    from relight.sdk._workflow import Workflow

__all__ = ("Difference", "Sample", "Unreadable", "difference_in", "histories", "sampled")

_AT_ONCE = 8
"""Histories read ahead: enough to hide the round trips, few enough to hold in memory."""


@dataclass(frozen=True)
class Difference:
    """Where today's code leaves a history. A place is file:line, as far as it is known."""

    run: str
    workflow: str
    recorded: str
    recorded_at: str
    actual: str
    actual_at: str


@dataclass(frozen=True)
class Sample:
    """Runs to be replayed, and how many of those that were seen have a workflow that the application has not."""

    runs: tuple[Listed, ...]
    unknown: Counter[str]


@dataclass(frozen=True)
class Unreadable:
    """A run whose history is damaged or sealed: what its code did can't be known."""

    run: str
    reason: str


async def sampled(relight: Relight, workflows: Sequence[Workflow[..., Any]], size: int) -> Sample:
    """Take the newest runs of each workflow in turn, so that a frequent one does not crowd out a rare one."""
    of_each: dict[str, list[Listed]] = {one.name: [] for one in workflows}
    of_each[""] = []  # Whose start can't be read, which is said of them when their turn comes.
    unknown: Counter[str] = Counter()
    for listed in (await newest(relight, limit=LIMITS.runs_listed_max)).runs:
        if listed.workflow in of_each:
            of_each[listed.workflow].append(listed)
        else:
            unknown[listed.workflow] += 1
    in_turn = chain.from_iterable(zip_longest(*of_each.values()))
    return Sample(tuple(one for one in in_turn if one is not None)[:size], unknown)


async def histories(relight: Relight, sample: Sample) -> AsyncIterator[History | Unreadable | None]:
    """Read the histories in order; None stands for one that has not begun, or was retired."""
    reading: list[asyncio.Task[History | Unreadable | None]] = []
    waiting = iter(sample.runs)
    try:
        while True:
            while len(reading) < _AT_ONCE and (listed := next(waiting, None)) is not None:
                reading.append(asyncio.create_task(_history(relight, listed.run)))
            if not reading:
                return
            yield await reading.pop(0)
    finally:
        for task in reading:
            task.cancel()


async def _history(relight: Relight, run: str) -> History | Unreadable | None:
    try:
        records = [one async for one in relight.get_run(run).history()]
        if not records:
            return None
        history = history_of(records)
        _ = history.started
        # With the large values, which are stored apart.
        moments = [
            one._replace(record=await filled(relight.door, relight.subjects, run, one.record))
            for one in history.moments
        ]
    except RunNotFoundError:
        return None
    except (ProtocolError, RefusedError) as error:  # Refused is what does not begin as a whole history does.
        return Unreadable(run, str(error))
    return history._replace(moments=tuple(moments))


def difference_in(workflows: Sequence[Workflow[..., Any]], history: History) -> Difference | None:
    """Replay one history and return where the code leaves it."""
    name = history.started.workflow
    try:
        replay_open(workflows, history)
    except NonDeterminismError as error:
        recorded, recorded_at = _parted(error.recorded)
        actual, actual_at = _parted(error.actual)
        return Difference(history.run, name, recorded, recorded_at, actual, actual_at or _place_of(workflows, name))
    except RelightError as error:
        return Difference(
            history.run, name, "a run that its code could read", "", str(error), _place_of(workflows, name)
        )
    return None


def _parted(said: str) -> tuple[str, str]:
    """Part what was asked for from the place that `in_words` says behind it."""
    matched = re.fullmatch(r"(.*) \(([^()]+:\d+)\)", said, re.DOTALL)
    return (matched[1], matched[2]) if matched is not None else (said, "")


def _place_of(workflows: Sequence[Workflow[..., Any]], name: str) -> str:
    """Return where the workflow begins: an end of it has no line of its own."""
    for one in workflows:
        if one.name == name:
            code = cast("Any", one.function).__code__
            return f"{'/'.join(code.co_filename.rsplit('/', 2)[-2:])}:{code.co_firstlineno}"
    return ""
