"""What a run's history amounts to: the state that owner, client and tests derive from the same records.

`RunState.apply` is the run's `fold`: total, and a function of state and record alone (no clock, no randomness, no I/O).
It changes the state in place, because a history of 5,000 records must fold in milliseconds.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from typing import Any

from msgspec import Raw, Struct, field

from relight.actors.run.answers import GivenAnswers
from relight.subjects import records as r

__all__ = ("Child", "End", "OpenRequest", "OpenStep", "OpenWait", "RunState", "fold")

End = r.End


class OpenStep(Struct):
    """A step that was asked for and has no outcome.

    Attributes:
        counted_from_ms: From when its total time-out counts; the time in which the run was held is no part of it.
        attempts: Attempts that failed.
        started: An attempt of an `unsafe` step, or a retry, was announced, and nothing is known of its end.
        retry_at_ms: When the next attempt is due; 0 before the first.
        is_exhausted: Its attempts are used up, and nobody has decided on it yet. That the run is parked does not say
            so: it is parked for one step at a time, and may be for something else.
    """

    key: str
    scheduled_at_ms: int
    counted_from_ms: int
    unsafe: bool
    attempts: int = 0
    started: bool = False
    retry_at_ms: int = 0
    is_exhausted: bool = False
    last_error: r.Failure | None = None
    heartbeat: Raw | None = None
    cancelled: bool = False


class OpenWait(Struct):
    """A suspension, signal or awakeable that the code waits for."""

    kind: str
    name: str
    since_ms: int
    data: Raw | None = None
    problem: str = ""


class OpenRequest(Struct):
    """What was asked of the run and is not answered yet."""

    received: r.RequestReceived
    since_ms: int
    is_taken: bool = False


class TakenUnseen(Struct):
    """What waits of one kind and name took while the run was held, and the code has not seen."""

    waits: list[int]
    taken: list[r.SignalReceived | r.AnswerReceived | OpenRequest]


class Child(Struct):
    """A run that this run has started, until it has ended."""

    id: str
    workflow: str
    queue: str
    close: str


class RunState(Struct):
    """The state of one run after some prefix of its history."""

    started: r.RunStarted | None = None
    started_at_ms: int = 0
    generation: int = 1
    records_before: int = 0
    at_ms: int = 0
    end: End | None = None
    parked: r.Parked | None = None
    paused_at_ms: int | None = None
    held_at_ms: int = 0
    deaths: int = 0
    was_claimed: bool = False
    cancel_requested: bool = False
    records: int = 0
    records_unparked: int = 0
    since_ms: int = 0
    last_error: r.Failure | None = None
    details: Raw | None = None
    steps: dict[str, OpenStep] = {}
    timers: dict[int, int] = {}
    timers_since: dict[int, int] = {}
    waits: dict[int, OpenWait] = {}
    suspensions_seen: dict[str, None] = {}
    answers_kept: dict[str, r.AnswerReceived] = {}
    signals_kept: dict[str, deque[r.SignalReceived]] = {}
    signal_ids: dict[str, None] = {}
    requests: dict[str, OpenRequest] = {}
    request_ids: dict[str, None] = {}
    answers: GivenAnswers = field(default_factory=GivenAnswers)
    children: dict[str, Child] = {}
    changes: set[str] = set()
    ends_kept: set[str] = set()
    ends_awaited: dict[str, list[int]] = {}
    taken_unseen: dict[tuple[str, str], TakenUnseen] = {}
    has_dues: bool = False
    has_unsafe: bool = False
    is_begun: bool = False
    is_held_back: bool = False
    is_copied: bool = False

    def apply(self, record: r.Record, at_ms: int) -> None:
        """Take one record of the turn of `at_ms` into account."""
        self.records += 1
        self.at_ms = at_ms
        _APPLY[type(record)](self, record)

    @property
    def status(self) -> str:
        """One of the closed list of `RunStatus`, from the history alone."""
        if self.end is not None:
            return _ENDED[type(self.end)]
        if self.parked is not None:
            return "parked"
        if self.is_paused:
            return "paused"
        if self.started is None or self.is_delayed:
            return "queued"
        return "running" if self.has_work else "waiting"

    @property
    def is_paused(self) -> bool:
        """Whether a person holds it: nothing is launched, and the code does not go on."""
        return self.paused_at_ms is not None

    @property
    def is_delayed(self) -> bool:
        """Whether the code has not begun yet, or has not gone on from where it was copied."""
        is_to_begin = self.started is not None and self.started.not_before_ms is not None and not self.is_begun
        return self.is_copied or is_to_begin

    @property
    def goes_on_at_once(self) -> bool:
        """Whether its code, held until a later turn, waits for nothing but a worker: no time that is yet to come."""
        return self.is_held_back or self.is_copied

    @property
    def is_unbegun(self) -> bool:
        """Whether no code of it has begun, of any of its histories."""
        return self.is_delayed and not self.is_copied and self.generation == 1

    def is_early(self, at_ms: int) -> bool:
        """Whether the time at which the code may begin is yet to come."""
        return self.started is not None and self.is_delayed and (self.started.not_before_ms or 0) > at_ms

    @property
    def has_work(self) -> bool:
        """Whether a step is under way or due to be tried: only an owner can bring the run forward."""
        if self.is_held:
            return False
        return any(step.retry_at_ms <= self.at_ms and not step.is_exhausted for step in self.steps.values())

    @property
    def moves(self) -> bool:
        """Whether something will bring its code forward without a decision on a step whose attempts are used up."""
        return bool(self.timers or self.waits) or any(not step.is_exhausted for step in self.steps.values())

    @property
    def exhausted_step(self) -> OpenStep | None:
        """The first one whose attempts are used up, and on which a person is to decide."""
        return next((step for step in self.steps.values() if step.is_exhausted), None) if self.has_dues else None

    @property
    def run_deadline_ms(self) -> int | None:
        """When its own time-out passes, which counts from its begin, or its parent's deadline, if that is earlier."""
        if self.started is None:
            return None
        latest_ms, timeout_ms = self.started.deadline_ms, self.started.timeout_ms
        if timeout_ms is None or (self.is_unbegun and self.parked is None):
            return latest_ms
        begins_ms = (self.started.not_before_ms or 0) if self.is_unbegun else 0
        own_ms = max(self.started_at_ms, begins_ms) + timeout_ms
        return own_ms if latest_ms is None else min(own_ms, latest_ms)

    def next_due_ms(self, launched_until_ms: int = 0) -> int | None:
        """When time alone will bring the run forward: a timer, a retry, the delayed start, the run's own time-out.

        Retries that were due by `launched_until_ms` are under way already.
        """
        if not self.has_dues:
            return None
        if self.is_paused or self.parked is not None:
            return self.run_deadline_ms  # It waits for a person: nothing that was due meanwhile may hide this.
        dues = [*self.timers.values()]
        since_ms = max(self.at_ms, launched_until_ms)
        dues += [step.retry_at_ms for step in self.steps.values() if step.retry_at_ms > since_ms]
        if self.started is not None and self.is_delayed:
            dues.append(self.started.not_before_ms or 0)
        if self.run_deadline_ms is not None:
            dues.append(self.run_deadline_ms)
        return min(dues, default=None)

    @property
    def is_quarantined(self) -> bool:
        """Whether its code is not to be executed: too many workers have died while they did."""
        return self.parked is not None and self.parked.reason == "quarantined"

    @property
    def is_suspect(self) -> bool:
        """Whether workers have died that had it, and its code is all the same executed."""
        return self.deaths > 0 and not self.is_quarantined

    @property
    def is_held(self) -> bool:
        """Whether its code does not see what is recorded, until it goes on."""
        return self.parked is not None or self.is_paused or self.is_delayed

    def open_suspension(self, name: str) -> int | None:
        """The number of the wait that an answer of this name would resolve."""
        return next((n for n, wait in self.waits.items() if wait.kind == "suspension" and wait.name == name), None)

    def takes_answer(self, name: str) -> bool:
        """Whether an answer counts: the suspension is open, or was never seen and has no early answer yet."""
        if self.open_suspension(name) is not None:
            return True
        return name not in self.suspensions_seen and name not in self.answers_kept

    def awakeable(self, token: str) -> int | None:
        return next((n for n, wait in self.waits.items() if wait.kind == "awakeable" and wait.name == token), None)


def fold(history: Iterable[tuple[int, Iterable[r.Record]]]) -> RunState:
    """Return the state after a history of (time, records) turns."""
    state = RunState()
    for at_ms, turn in history:
        for record in turn:
            state.apply(record, at_ms)
    return state


def _started(state: RunState, record: r.RunStarted) -> None:
    state.started = record
    state.has_dues = any(one is not None for one in (record.timeout_ms, record.deadline_ms, record.not_before_ms))
    state.is_held_back = record.not_before_ms is not None and record.not_before_ms <= state.at_ms
    state.since_ms = state.at_ms
    if state.generation == 1:
        state.started_at_ms = state.at_ms
    if record.signal is not None:
        _signal_received(state, record.signal)


def _continued(state: RunState, record: r.Continued) -> None:
    """Nothing of an older history counts, whether it was read or not."""
    fresh = RunState(
        at_ms=state.at_ms,
        records=1,
        generation=record.generation,
        started_at_ms=record.started_at_ms,
        records_before=record.records,
        signal_ids=dict.fromkeys(record.signal_ids),
        suspensions_seen=dict.fromkeys(record.suspensions),
        request_ids=dict.fromkeys(record.request_ids),
        answers=GivenAnswers.carried(record.answers, state.at_ms),
        children={one.child: Child(one.child, one.workflow, one.queue, one.close) for one in record.children},
    )
    for name in RunState.__struct_fields__:
        setattr(state, name, getattr(fresh, name))


def _progress(state: RunState) -> None:
    state.deaths = 0
    if state.parked is None and state.paused_at_ms is None:  # What comes meanwhile does not move it.
        state.since_ms = state.at_ms


def _step_ended(state: RunState, record: r.StepCompleted | r.StepFailed) -> None:
    state.steps.pop(record.step, None)
    if type(record) is r.StepFailed:
        state.last_error = record.error
    state.deaths = 0
    if state.parked is None and state.paused_at_ms is None:
        state.since_ms = state.at_ms


def _timer_fired(state: RunState, record: r.TimerFired) -> None:
    state.timers.pop(record.timer, None)
    state.timers_since.pop(record.timer, None)
    _progress(state)


def _signal_received(state: RunState, record: r.SignalReceived) -> None:
    if record.id:
        state.signal_ids[record.id] = None
    number = _waiting(state, "signal", record.name)
    if number is None:
        state.signals_kept.setdefault(record.name, deque()).append(record)
    else:
        _take(state, number, record)
    _progress(state)


def _request_received(state: RunState, record: r.RequestReceived) -> None:
    state.request_ids[record.id] = None
    opened = state.requests[record.id] = OpenRequest(record, state.at_ms)
    number = _waiting(state, "request", record.name)
    if number is not None:
        opened.is_taken = True
        _take(state, number, opened)
    _progress(state)


def _waiting(state: RunState, kind: str, name: str) -> int | None:
    return next((number for number, one in state.waits.items() if one.kind == kind and one.name == name), None)


def _take(state: RunState, number: int, what: r.SignalReceived | r.AnswerReceived | OpenRequest) -> None:
    wait = state.waits.pop(number)
    if state.is_held:
        unseen = state.taken_unseen.setdefault((wait.kind, wait.name), TakenUnseen([], []))
        unseen.waits.append(number)
        unseen.taken.append(what)


def _give_back(state: RunState, unseen: TakenUnseen, number: int) -> None:
    """The code has left the wait before it saw what came: of those that came, the last one is left over."""
    unseen.waits.remove(number)
    match unseen.taken.pop():
        case r.SignalReceived() as signal:
            state.signals_kept.setdefault(signal.name, deque()).appendleft(signal)
        case r.AnswerReceived() as answer:
            state.answers_kept[answer.name] = answer
        case OpenRequest() as request:
            request.is_taken = False


def _request_awaited(state: RunState, record: r.RequestAwaited) -> None:
    for kept in state.requests.values():
        if not kept.is_taken and kept.received.name == record.name:
            kept.is_taken = True
            return
    state.waits[record.wait] = OpenWait("request", record.name, state.at_ms)


def _request_answered(state: RunState, record: r.RequestReplied | r.RequestRejected) -> None:
    state.requests.pop(record.id, None)
    state.answers.add(record, state.at_ms)


def _answer_received(state: RunState, record: r.AnswerReceived) -> None:
    number = state.open_suspension(record.name)
    if number is None:
        state.answers_kept[record.name] = record
    else:
        _take(state, number, record)
    _progress(state)


def _awakeable_ended(state: RunState, record: r.AwakeableCompleted | r.AwakeableFailed) -> None:
    state.waits.pop(record.awakeable, None)
    _progress(state)


def _cancel_requested(state: RunState, record: r.CancelRequested) -> None:
    state.cancel_requested = True
    _progress(state)


def _claimed(state: RunState, record: r.Claimed) -> None:
    state.deaths, state.was_claimed = record.deaths, True


def _step_started(state: RunState, record: r.StepStarted) -> None:
    step = state.steps[record.step]
    step.started = True
    step.is_exhausted = False  # Earlier versions tried it again when the run was let go on for something else.


def _attempt_failed(state: RunState, record: r.StepAttemptFailed) -> None:
    step = state.steps[record.step]
    step.attempts = record.attempt
    step.started = False
    step.retry_at_ms = record.retry_at_ms
    step.is_exhausted = record.retry_at_ms == 0
    state.has_dues = True
    step.last_error = state.last_error = record.error
    _progress(state)


def _heartbeat(state: RunState, record: r.StepHeartbeat) -> None:
    state.steps[record.step].heartbeat = record.details


def _rerun(state: RunState, record: r.StepRerun) -> None:
    step = state.steps[record.step]
    step.counted_from_ms = state.at_ms
    step.started = False
    step.attempts = 0
    step.retry_at_ms = 0
    step.is_exhausted = False


def _hold(state: RunState) -> None:
    if not state.is_held:
        state.taken_unseen.clear()  # Since it went on the code has seen all of it.
        state.held_at_ms = state.at_ms


def _go_on(state: RunState) -> None:
    if not state.is_held:
        for step in state.steps.values():
            step.counted_from_ms += state.at_ms - max(state.held_at_ms, step.counted_from_ms)


def _parked(state: RunState, record: r.Parked) -> None:
    _hold(state)
    state.is_copied = record.reason == r.FORKED
    state.parked = None if state.is_copied else record
    state.has_dues = True
    state.since_ms = state.at_ms


def _unparked(state: RunState, record: r.Unparked) -> None:
    if state.is_unbegun:
        state.started_at_ms = state.at_ms
    # That its time has come says nothing about code that may have ended those who had it.
    deaths = state.deaths if state.parked is None and state.goes_on_at_once else 0
    state.parked, state.is_copied, state.is_begun = None, False, True
    _go_on(state)  # One that was not parked has no step yet.
    state.records_unparked = state.records
    _progress(state)
    state.deaths = deaths


def _paused(state: RunState, record: r.Paused) -> None:
    _hold(state)
    state.paused_at_ms = state.at_ms
    if state.parked is None:
        state.since_ms = state.at_ms


def _unpaused(state: RunState, record: r.Unpaused) -> None:
    state.paused_at_ms = None
    _go_on(state)
    _progress(state)


def _step_scheduled(state: RunState, record: r.StepScheduled) -> None:
    state.steps[record.step] = OpenStep(record.step, state.at_ms, state.at_ms, record.unsafe)
    if record.unsafe:
        state.has_unsafe = True


def _step_cancelled(state: RunState, record: r.StepCancelled) -> None:
    state.steps.pop(record.step, None)


def _timer_armed(state: RunState, record: r.TimerArmed) -> None:
    state.timers[record.timer] = record.due_ms
    state.timers_since[record.timer] = state.at_ms
    state.has_dues = True


def _timer_cancelled(state: RunState, record: r.TimerCancelled) -> None:
    state.timers.pop(record.timer, None)
    state.timers_since.pop(record.timer, None)


def _child_scheduled(state: RunState, record: r.ChildScheduled) -> None:
    state.children[record.child] = Child(record.child, record.workflow, record.queue, record.close)


def _child_awaited(state: RunState, record: r.ChildAwaited) -> None:
    if record.child not in state.ends_kept:
        state.waits[record.wait] = OpenWait("child", record.child, state.at_ms)
        state.ends_awaited.setdefault(record.child, []).append(record.wait)


def _patch_marked(state: RunState, record: r.PatchMarked) -> None:
    state.changes.add(record.change)


def _compensation_registered(state: RunState, record: r.CompensationRegistered) -> None:
    """The code knows when it is due."""


def _child_ended(state: RunState, record: r.ChildEnded) -> None:
    state.children.pop(record.child, None)
    state.ends_kept.add(record.child)
    for number in state.ends_awaited.pop(record.child, ()):
        state.waits.pop(number, None)  # None if nobody waits for it any more.
    _progress(state)


def _suspended(state: RunState, record: r.Suspended) -> None:
    state.suspensions_seen[record.name] = None
    if state.answers_kept.pop(record.name, None) is None:
        state.waits[record.wait] = OpenWait("suspension", record.name, state.at_ms, record.data, record.problem)


def _signal_awaited(state: RunState, record: r.SignalAwaited) -> None:
    kept = state.signals_kept.get(record.name)
    if kept:
        kept.popleft()
    else:
        state.waits[record.wait] = OpenWait("signal", record.name, state.at_ms, problem=record.problem)


def _awakeable_created(state: RunState, record: r.AwakeableCreated) -> None:
    state.waits[record.wait] = OpenWait("awakeable", record.token, state.at_ms)


def _wait_cancelled(state: RunState, record: r.WaitCancelled) -> None:
    if state.waits.pop(record.wait, None) is None:
        for unseen in state.taken_unseen.values():
            if record.wait in unseen.waits:
                _give_back(state, unseen, record.wait)


def _details_set(state: RunState, record: r.DetailsSet) -> None:
    state.details = record.data


def _ended(state: RunState, record: End) -> None:
    state.end = record
    state.parked = None
    state.paused_at_ms = None
    state.since_ms = state.at_ms
    state.steps.clear()
    state.timers.clear()
    state.timers_since.clear()
    state.waits.clear()
    if isinstance(record, r.RunFailed):
        state.last_error = record.error


_ENDED: dict[type, str] = {
    r.RunCompleted: "completed",
    r.RunFailed: "failed",
    r.RunCancelled: "cancelled",
    r.RunTimedOut: "timed_out",
    r.RunTerminated: "terminated",
}

# A table, because a chain of 31 `case`s costs more than the work; a test proves that it treats every record.
_APPLY: dict[type, Callable[[RunState, Any], None]] = {
    r.RunStarted: _started,
    r.Continued: _continued,
    r.StepCompleted: _step_ended,
    r.StepFailed: _step_ended,
    r.TimerFired: _timer_fired,
    r.SignalReceived: _signal_received,
    r.RequestReceived: _request_received,
    r.RequestAwaited: _request_awaited,
    r.RequestReplied: _request_answered,
    r.RequestRejected: _request_answered,
    r.AnswerReceived: _answer_received,
    r.AwakeableCompleted: _awakeable_ended,
    r.AwakeableFailed: _awakeable_ended,
    r.CancelRequested: _cancel_requested,
    r.ChildEnded: _child_ended,
    r.Claimed: _claimed,
    r.StepStarted: _step_started,
    r.StepAttemptFailed: _attempt_failed,
    r.StepHeartbeat: _heartbeat,
    r.StepRerun: _rerun,
    r.Parked: _parked,
    r.Unparked: _unparked,
    r.Paused: _paused,
    r.Unpaused: _unpaused,
    r.StepScheduled: _step_scheduled,
    r.StepCancelled: _step_cancelled,
    r.TimerArmed: _timer_armed,
    r.TimerCancelled: _timer_cancelled,
    r.Suspended: _suspended,
    r.SignalAwaited: _signal_awaited,
    r.AwakeableCreated: _awakeable_created,
    r.WaitCancelled: _wait_cancelled,
    r.DetailsSet: _details_set,
    r.ChildScheduled: _child_scheduled,
    r.ChildAwaited: _child_awaited,
    r.PatchMarked: _patch_marked,
    r.CompensationRegistered: _compensation_registered,
    r.RunCompleted: _ended,
    r.RunFailed: _ended,
    r.RunCancelled: _ended,
    r.RunTimedOut: _ended,
    r.RunTerminated: _ended,
}
