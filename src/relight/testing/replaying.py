"""Recorded histories on today's code."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from relight.actors import program as p
from relight.actors.run.replay import Script, in_words
from relight.errors import NonDeterminismError
from relight.sdk._workflow import Workflow
from relight.subjects import records as r
from relight.subjects.turn import Turn
from relight.testing.memory_worker import programs_of

__all__ = ("replay_history",)


def replay_history(workflows: Sequence[Workflow[..., Any]], run: str, turns: Iterable[Turn]) -> None:
    """Replay a history; no step runs, and nothing is written.

    Raises:
        NonDeterminismError: The code asks for something else than was recorded, or ends otherwise.
        UnknownWorkflowError: None of the workflows is the history's.
    """
    history = list(turns)
    started = history[0].records[0]
    assert isinstance(started, r.RunStarted), "every history begins with it"
    program = programs_of(workflows).create(run, started)
    script = Script(program.feed)
    program.set_replaying(True)
    try:
        for turn in history:
            script.replay(turn.records, turn.at_ms)
        more = script.rest()
    except p.BrokenProgramError as error:
        raise NonDeterminismError(recorded=in_words(history[-1].records[-1]), actual=str(error)) from error
    finally:
        program.close()
    if more and not isinstance(history[-1].records[-1], r.RunTerminated | r.RunTimedOut):
        raise NonDeterminismError(recorded="nothing more at this point", actual=in_words(more[0]))
