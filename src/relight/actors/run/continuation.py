"""The records that open a new history of a run which continues as new. Pure.

They fit into one journal message, so that no crash can come between them: the workflow's context refuses to continue
when what is to be carried over is too large.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec

from relight.actors import program as p
from relight.actors.run.awakeables import seed_after
from relight.actors.run.state import RunState
from relight.config.limits import LIMITS
from relight.subjects import records as r

__all__ = ("opening", "too_much")


def opening(
    state: RunState, asked: p.Continue, *, missed: Sequence[r.Fact] = (), unwritten: int
) -> tuple[r.Record, ...]:
    """Return the first records of the new history; the last of them is its start.

    Carried over is what others have sent and nobody has received or answered, answers that may not have been heard,
    children that have not ended, and what makes repeated messages harmless. Steps, timers and waits that are open are
    not.

    Args:
        state: At the end of the old history.
        asked: What the code asked for.
        missed: Facts of the old history that its code has not seen, because the run was parked or paused.
        unwritten: Records of the old history that will never be written.
    """
    assert state.started is not None, "its code has run"
    generation = state.generation + 1
    continued = r.Continued(
        generation=generation,
        started_at_ms=state.started_at_ms,
        records=state.records_before + state.records - unwritten,
        calls=asked.calls,
        signal_ids=_latest(state.signal_ids),
        suspensions=_latest(state.suspensions_seen),
        request_ids=tuple(state.request_ids)[-LIMITS.requests_carried_max :],
        answers=state.answers.answers,
        children=tuple(
            r.ChildScheduled(one.id, one.workflow, one.queue, one.close)
            for one in state.children.values()
            if one.id in asked.children
        ),
    )
    started = msgspec.structs.replace(
        state.started,
        arguments=asked.arguments,
        seed=seed_after(state.started.seed, generation),
        not_before_ms=state.at_ms,  # In the next turn: this one is stored before its code runs.
        signal=None,
        unchecked=False,
        origin_records=0,
        origin_hash="",
    )
    kept = [one for signals in state.signals_kept.values() for one in signals]
    signals = (r.SignalReceived(one.name, one.data, one.id) for one in (*_unkept(missed, kept), *kept))
    answers = (r.AnswerReceived(one.name, one.data) for one in state.answers_kept.values())
    missed_answers = (one for one in missed if isinstance(one, r.AnswerReceived) and one.name not in state.answers_kept)
    requests = (one.received for one in state.requests.values())
    cancelled = (one for one in missed if isinstance(one, r.CancelRequested))
    return (continued, *signals, *requests, *answers, *missed_answers, *cancelled, started)


def too_much(size_bytes: int, limit_bytes: int) -> str:
    """Say that what came while a run was held, or after it had asked to continue, can't be carried over."""
    return (
        f"it continues as new with what came while it was parked or paused, or was ending: {size_bytes} bytes, and the "
        f"limit is {limit_bytes}; deploy code that receives it before it continues"
    )


def _unkept(missed: Iterable[r.Fact], kept: Sequence[r.SignalReceived]) -> list[r.SignalReceived]:
    """Return signals that the history took for received, in a wait that the code has left."""
    left = list(kept)
    unkept: list[r.SignalReceived] = []
    for one in missed:
        if one in left:
            left.remove(one)
        elif isinstance(one, r.SignalReceived):
            unkept.append(one)
    return unkept


def _latest(names: Iterable[str]) -> tuple[str, ...]:
    return tuple(names)[-LIMITS.names_carried_max :]
