"""Who may execute an attempt of a step when workers die: it is repeated only for want of its outcome."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import TypeAlias

from relight import Relight
from relight.actors.journal import read_history, read_tail
from relight.subjects import records as r
from relight.subjects.turn import Turn

__all__ = ("Attempt", "needless_executions")

Attempt: TypeAlias = tuple[str, str, int]
"""Run, step and number."""


async def needless_executions(
    relight: Relight, executors: Mapping[Attempt, Sequence[str]], victims: Mapping[str, str]
) -> list[str]:
    """Say which attempts were executed again although their outcome was recorded, or nobody had died.

    Args:
        relight: Reads the journals.
        executors: The workers that executed each attempt, in order.
        victims: The worker that died of each run that a test started.
    """
    journals = {run: await _turns(relight, run) for run in sorted({run for run, _, _ in executors})}
    recorders = {(run, *attempt): by for run, turns in journals.items() for attempt, by in _recorders(turns).items()}
    return [
        f"{attempt} was executed by {ran}, and recorded by {recorders.get(attempt)}"
        for attempt, ran in executors.items()
        if not _is_as_promised(ran, recorders.get(attempt), _victims_of(attempt[0], victims))
    ]


def _is_as_promised(executors: Sequence[str], recorder: str | None, victims: Collection[str]) -> bool:
    """Only who died without a record of the outcome is followed by another. Without a recorder the record is gone:
    the run has gone on under another history, or the step was cancelled.
    """
    match executors:
        case [only]:
            return recorder in (None, only)
        case [first, last]:
            return first in victims and last != first and recorder in (None, last)
        case _:
            return False


def _victims_of(run: str, victims: Mapping[str, str]) -> Collection[str]:
    """A child may outlive its parent, and its worker may die of another run."""
    if "-child-" in run:
        return victims.values()
    return [victims[run]] if run in victims else []


def _recorders(turns: Sequence[Turn]) -> dict[tuple[str, int], str]:
    """Who recorded the outcome of each attempt."""
    return {
        (record.step, record.attempt): turn.owner
        for turn in turns
        for record in turn.records
        if isinstance(record, r.StepCompleted | r.StepFailed | r.StepAttemptFailed)
    }


async def _turns(relight: Relight, run: str) -> Sequence[Turn]:
    tail = await read_tail(relight.door, relight.subjects.log(run))
    return () if tail is None else (await read_history(relight.door, relight.subjects.log(run), tail[0])).turns
