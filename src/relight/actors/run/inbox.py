"""What a mailbox message means for a run: the run's `decide`. Pure; every message may be a repeat or come too late."""

from __future__ import annotations

from typing import assert_never

from relight.actors.run.state import RunState
from relight.subjects import messages as m
from relight.subjects import records as r

__all__ = ("LET_GO", "due", "is_let_go", "is_stuck_on_other_code", "receive")

LET_GO = r.Parked("stuck", "it was let go on, and does so once the steps that are under way have ended")
"""In place of `Unparked`, by an owner whose code has diverged. Stuck on no code, it goes on with any."""

_RESOLVABLE = ("unknown_outcome", "retries_exhausted")


def receive(state: RunState, wake: m.Wake, *, code: str) -> tuple[r.Record, ...]:
    """Return the records by which the owner consumes `wake`; none if it changes nothing.

    Args:
        state: Of the run before it.
        wake: The mailbox message.
        code: Digest of the code of the worker that reads it.
    """
    if state.end is not None:
        return ()
    match wake:
        case m.Signal(name=name, data=data, id=id, headers=headers):
            return () if id and id in state.signal_ids else (r.SignalReceived(name, data, id, headers),)
        case m.Request(name=name, id=id, data=data, client=client, headers=headers):
            return () if id in state.request_ids else (r.RequestReceived(name, id, data, client, headers),)
        case m.Answer(name=name, data=data, headers=headers):
            return (r.AnswerReceived(name, data, headers),) if state.takes_answer(name) else ()
        case m.AnswerAwakeable(token=token, data=data):
            number = state.awakeable(token)
            return () if number is None else (r.AwakeableCompleted(number, data),)
        case m.FailAwakeable(token=token, reason=reason):
            number = state.awakeable(token)
            return () if number is None else (r.AwakeableFailed(number, reason),)
        case m.Cancel(reason=reason):
            return _cancel(state, reason)
        case m.Terminate(reason=reason):
            return (r.RunTerminated(reason),)
        case m.ChildOver(child=child, end=end):
            return (r.ChildEnded(child, end),) if child in state.children else ()
        case m.ParentOver(parent=parent, terminates=terminates, reason=reason):
            if state.started is None or state.started.parent != parent:
                return ()
            return (r.RunTerminated(reason),) if terminates else _cancel(state, reason)
        case m.Pause():
            return () if state.is_paused else (r.Paused(),)
        case m.Unpause():
            return (r.Unpaused("person"),) if state.is_paused else ()
        case m.Retry():
            return _retry(state)
        case m.Resolve():
            return _resolve(state, wake)
        case m.NewCode():
            return (r.Unparked("code"),) if is_stuck_on_other_code(state, code) else ()
        case m.TimerDue() | m.Relit():
            return ()  # The clock and the lease speak through `due` and the host; the message is only a doorbell.
        case _:
            assert_never(wake)


def due(state: RunState, at_ms: int) -> tuple[r.TimerFired, ...]:
    """Return the timers that are due at `at_ms`, the earliest first."""
    if not state.timers or state.end is not None:
        return ()
    fired = sorted((due_ms, number) for number, due_ms in state.timers.items() if due_ms <= at_ms)
    return tuple(r.TimerFired(number) for _, number in fired)


def is_stuck_on_other_code(state: RunState, code: str) -> bool:
    """Whether a run is stuck that may go on with this code: another one could not."""
    return state.parked is not None and state.parked.reason == "stuck" and state.parked.code != code


def is_let_go(state: RunState) -> bool:
    """Whether a stuck run only waits for its code to be activated anew."""
    return state.parked is not None and state.parked.reason == "stuck" and not state.parked.code


def _cancel(state: RunState, reason: str) -> tuple[r.Record, ...]:
    cancelled = _cancel_unpaused(state, reason)
    return (*cancelled, r.Unpaused("cancel")) if state.is_paused else cancelled


def _cancel_unpaused(state: RunState, reason: str) -> tuple[r.Record, ...]:
    if state.cancel_requested:
        return ()
    if state.parked is not None and state.parked.reason == "stuck":
        return (r.CancelRequested(reason),)  # What its code may have done before it broke, mended code undoes.
    if state.is_delayed:
        return (r.CancelRequested(reason), r.Unparked("cancel"))
    if state.parked is not None and state.parked.reason in (*_RESOLVABLE, "quarantined"):
        return (r.CancelRequested(reason), r.Unparked("cancel"))  # What came before it may end this history.
    return (r.CancelRequested(reason),)


def _retry(state: RunState) -> tuple[r.Record, ...]:
    if state.parked is None:
        return ()
    if state.parked.reason in _RESOLVABLE and state.parked.step in state.steps:
        return (r.Unparked("retry"), r.StepRerun(state.parked.step))
    return (r.Unparked("retry"),)


def _resolve(state: RunState, wake: m.Resolve) -> tuple[r.Record, ...]:
    if wake.step not in state.steps or state.parked is None or state.parked.step != wake.step:
        return ()
    unparked = r.Unparked("resolve")
    if wake.rerun:
        return (unparked, r.StepRerun(wake.step))
    if wake.error is not None:
        return (unparked, r.StepFailed(wake.step, r.Failure("relight.Resolved", wake.error), by="person"))
    return (unparked, r.StepCompleted(wake.step, wake.result, by="person"))
