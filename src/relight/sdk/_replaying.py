"""Recorded histories on today's code: no step runs, nothing is written."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from relight.actors import program as p
from relight.actors.run.replay import Script, in_words, is_fact
from relight.errors import NonDeterminismError, RefusedError
from relight.sdk._execution import Launcher
from relight.sdk._history import History
from relight.sdk._programs import WorkflowPrograms
from relight.sdk._workflow import Workflow
from relight.subjects import records as r
from relight.subjects.references import references_in

__all__ = ("check_values", "replay_open", "replay_whole")


def replay_whole(workflows: Sequence[Workflow[..., Any]], history: History) -> None:
    """Replay a history; the code must ask for what it has, and for nothing more.

    Raises:
        NonDeterminismError: The code asks for something else than was recorded, or ends otherwise.
        UnknownWorkflowError: None of the workflows is the history's.
    """
    more = _replay(workflows, history)
    if more and not isinstance(history.moments[-1].record, r.RunTerminated | r.RunTimedOut):
        raise NonDeterminismError(recorded="nothing more at this point", actual=in_words(more[0]))


def replay_open(workflows: Sequence[Workflow[..., Any]], history: History) -> None:
    """Replay a history as a worker would that takes the run over. Raises like `replay_whole`.

    What the code of an unended run asks for beyond the history is no difference: it belongs into the next turn.
    """
    if isinstance(history.moments[-1].record, r.ENDS):
        replay_whole(workflows, history)
    else:
        _replay(workflows, history)


def _replay(workflows: Sequence[Workflow[..., Any]], history: History) -> list[p.Asked]:
    """Return what the code asks for beyond the history."""
    launcher = Launcher(threads=1, interceptors=(), sender=None)
    programs = WorkflowPrograms(workflows, launcher, code="replayed")
    program = programs.create(history.run, history.started)
    script = Script(program)
    try:
        changes = [one.record.change for one in history.moments if isinstance(one.record, r.PatchMarked)]
        moments = [(moment.record, moment.at_ms) for moment in history.moments]
        with program.replaying(changes):
            script.replay(moments)
        return script.rest()
    except p.BrokenProgramError as error:
        raise NonDeterminismError(recorded=in_words(history.moments[-1].record), actual=str(error)) from error
    finally:
        program.close()
        launcher.close()


def check_values(history: History) -> None:
    """Refuse a history that was taken without its large values. Raises `RefusedError`."""
    for _, record in history.moments:
        for one in references_in(record) if is_fact(record) else ():
            what = f"a value of {one.bytes} bytes ({type(record).__name__}) is stored apart from the history"
            raise RefusedError(f"{what}; replay the run where it is stored")
