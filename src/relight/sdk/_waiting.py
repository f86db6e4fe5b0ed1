"""Why a run waits, in words: what for, since when, and who can bring it forward. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from relight.actors.letters import Sight
from relight.actors.run.inbox import is_let_go
from relight.actors.run.state import OpenRequest, OpenStep, OpenWait, RunState
from relight.sdk._durations import moment
from relight.subjects import records as r
from relight.subjects.turn import opens_history

__all__ = ("waits_for",)


def waits_for(sight: Sight, children: Mapping[str, str]) -> tuple[str, ...]:
    """Return one sentence for each thing that a run waits for; none when it has ended.

    Args:
        sight: Of the run.
        children: How those stand for which it waits, as far as somebody has looked.
    """
    state = sight.state
    if state.end is not None or state.started is None:
        return ()
    held = () if state.paused_at_ms is None else (_pause(sight.run, state.paused_at_ms),)
    if state.is_delayed and state.parked is None and not state.goes_on_at_once:
        return (
            *held,
            f"its start at {_time(state.started.not_before_ms or 0)}; it begins by itself",
        )
    if sight.tail is None or (state.is_delayed and state.parked is None and not held):
        since = "" if state.is_copied else f" {_since(state.started_at_ms)}"
        who = f"a worker of queue {state.started.queue!r}{since}; it must have workflow {state.started.workflow!r}"
        return (who, *_unread(sight))
    if state.parked is not None:
        return (_parked(sight.run, state, state.parked), *held)
    said = [*held]
    said += [_wait(one, children) for one in state.waits.values()]
    said += [_step(one, state, sight.tail.owner) for one in state.steps.values()]
    said += [_timer(number, due_ms, state) for number, due_ms in state.timers.items()]
    said += [_request(one) for one in state.requests.values()]
    said += _unread(sight)
    return tuple(said) if said or opens_history(sight.tail) else (_nothing(sight.run, state.run_deadline_ms),)


def _pause(run: str, since_ms: int) -> str:
    return f"a person: paused {_since(since_ms)}; `relight unpause {run}` or `run.unpause()` lets it go on"


def _wait(wait: OpenWait, children: Mapping[str, str]) -> str:
    since = _since(wait.since_ms)
    match wait.kind:
        case "suspension":
            refused = f"; the last answer was refused: {wait.problem}" if wait.problem else ""
            return f"the answer to suspension {wait.name!r} {since}{refused}; whoever decides answers by run.resume"
        case "child":
            return _child(wait, children.get(wait.name, ""))
        case "signal":
            return f"signal {wait.name!r} {since}; anybody may send it by run.signal"
        case "request":
            return f"request {wait.name!r} {since}; anybody may ask by run.request"
        case _:
            made = wait.name.rsplit("~", 1)[0]
            return f"the completion of awakeable {made!r} {since}; whoever has its token completes it"


def _child(wait: OpenWait, status: str) -> str:
    stands = f" ({status})" if status else ""
    who = "a person or a fix must help the child" if status.startswith("parked") else "the child wakes it"
    return f"the end of child {wait.name!r}{stands} {_since(wait.since_ms)}; {who}"


def _step(step: OpenStep, state: RunState, worker: str) -> str:
    number, since = step.attempts + 1, _since(step.scheduled_at_ms)
    if step.last_error is None:
        failed = ""
    else:
        failed = f"; attempt {step.attempts} failed: {step.last_error.type}: {step.last_error.message}"
    if step.retry_at_ms > state.at_ms:
        again = f"attempt {number} of step {step.key} at {_time(step.retry_at_ms)}"
        return f"{again}{failed}; the step waits {since} and is tried again by itself"
    # Who wrote last may have died since; nobody else is asked here.
    after = "; if it has died, a person says what became of it" if step.unsafe else ", or the next one if it has died"
    who = f"worker {worker} runs it{after}" if worker else "a worker of its queue takes it"
    return f"step {step.key}, attempt {number}, {since}{failed}; {who}"


def _timer(number: int, due_ms: int, state: RunState) -> str:
    since = _since(state.timers_since.get(number, state.since_ms))
    return f"timer {number}, due at {_time(due_ms)}, {since}; it goes on by itself"


def _request(request: OpenRequest) -> str:
    asked = request.received
    who = "its workflow has it" if request.is_taken else "its workflow has not come to it"
    return f"the answer to request {asked.name!r} ({asked.id}), open {_since(request.since_ms)}; {who}"


def _nothing(run: str, deadline_ms: int | None) -> str:
    ends = "" if deadline_ms is None else f"; its time-out ends it at {_time(deadline_ms)}"
    what = "its code waits for what only that code could set, like an event of its own or a future of a thread"
    return f"nothing that is recorded: {what}; `relight cancel {run}` stops it{ends}"


def _unread(sight: Sight) -> tuple[str, ...]:
    if not sight.unread:
        return ()
    is_one, started = sight.unread == 1, sight.state.started
    if started is not None and started.version:
        who = f"a worker of queue {started.queue!r} with version {started.version!r}, or one that adopts it,"
    else:
        who = "a worker of its queue"
    unread = "1 message in its mailbox is" if is_one else f"{sight.unread} messages in its mailbox are"
    said = f"{unread} unread; {who} reads {'it' if is_one else 'them'}"
    if sight.has_unread_cancel:
        said += f"; {'it is a cancel' if is_one else 'a cancel is among them'}, {_without_code(sight.run)}"
    return (said,)


def _without_code(run: str) -> str:
    return f"and waits for the code to clean up; `relight terminate {run}` ends it without"


def _parked(run: str, state: RunState, parked: r.Parked) -> str:
    said = (
        f"a person or a fix ({parked.reason}) {_since(state.since_ms)}: {parked.message}; {_for_parked(state, parked)}"
    )
    if state.cancel_requested and parked.reason in ("stuck", "quarantined"):
        said += f"; it was cancelled, {_without_code(run)}"
    return said


def _for_parked(state: RunState, parked: r.Parked) -> str:
    match parked.reason:
        case "stuck" if is_let_go(state):
            return "it goes on by itself"
        case "stuck":
            return "a worker with mended code goes on, or run.retry"
        case "corrupt":
            return "a person ends it by run.terminate"
        case "unknown_outcome":
            return f"a person says what became of {parked.step}, by run.resolve"
        case "retries_exhausted":
            return f"a person lets {parked.step} be tried again by run.retry, or says its outcome by run.resolve"
        case _:
            return "a person lets it go on by run.retry, after a fix"


def _since(milliseconds: int) -> str:
    return f"since {_time(milliseconds)}"


def _time(milliseconds: int) -> str:
    return f"{moment(milliseconds):%Y-%m-%d %H:%M:%S} UTC"
