"""The turn that is being made: facts come in, the code answers, records come out. No I/O, no clock, no randomness.

A draft has one time, because a turn is recorded with one: code that asks for the time gets the same in every replay.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import assert_never

import msgspec
from msgspec import Raw

from relight.actors import program as p
from relight.actors.run.continuation import opening, too_much
from relight.actors.run.inbox import LET_GO, due, is_let_go, is_stuck_on_other_code, receive
from relight.actors.run.length import is_refusal, is_too_long, refusal
from relight.actors.run.parting import Consumed
from relight.actors.run.replay import Script, is_fact
from relight.actors.run.shelf import NOT_FED, Shelf
from relight.actors.run.state import OpenStep, RunState
from relight.config.limits import LIMITS
from relight.errors import NonDeterminismError
from relight.subjects import messages as m
from relight.subjects import records as r
from relight.subjects.codec import encode
from relight.subjects.turn import Turn

__all__ = ("Draft",)

_NEVER_BEHIND_A_HOLD = (r.RunStarted, r.Unparked)
"""A history begins with the one; the other would let the run go on."""


class Draft:
    """Makes the turns of one run.

    Attributes:
        state: What the history amounts to, the draft included.
        records: What the next append will write.
        consumed: Which of them come from which message.
        at_ms: The draft's time.
        program: The activation.
        shelf: Its large values.
        is_behind: The code can't follow the history, or is not to; it must be activated anew to go on.
        is_opening: The records open a new history; what its code asks for belongs into the next turn.
    """

    __slots__ = (
        "_beats",
        "_code",
        "_has_unseen_cancel",
        "_interrupted",
        "_known",
        "_problem",
        "_script",
        "at_ms",
        "consumed",
        "is_behind",
        "is_opening",
        "program",
        "records",
        "shelf",
        "state",
    )

    def __init__(
        self, program: p.Program, *, code: str, shelf: Shelf | None = None, state: RunState | None = None
    ) -> None:
        self.state = state or RunState()
        self.records: list[r.Record] = []
        self.consumed: list[Consumed] = []
        self._known = 0
        self.at_ms = 0
        self.is_behind = False
        self.is_opening = False
        self.program = program
        self._code = code
        self.shelf = shelf or Shelf(LIMITS.value_inline_bytes_max)
        self._script = Script(self.program, self.shelf)
        self._problem = ""
        self._beats: dict[str, Raw] = {}
        self._interrupted: dict[str, str] = {}
        self._has_unseen_cancel = False

    # Before any code runs.

    def begin_again(self, started: r.RunStarted, claim: r.Claimed) -> None:
        """Record a start whose code may have ended the worker that had it; it begins once that is stored."""
        self.record(self._held_back(started))
        self.claim(claim)

    def _held_back(self, started: r.RunStarted) -> r.RunStarted:
        """Return the start such that its code does not see it in this turn."""
        if started.not_before_ms is not None:
            return started
        return msgspec.structs.replace(started, not_before_ms=self.at_ms)

    def claim(self, claim: r.Claimed) -> None:
        """Record that the run is taken over. After too many deaths its code is left alone."""
        self._write(claim)
        if self.state.deaths >= LIMITS.deaths_max and not self.state.is_early(self.at_ms):
            self.withhold()
            self.park("quarantined", f"{self.state.deaths} workers died while they ran it, without progress")

    def withhold(self) -> None:
        """Do not execute the code: what comes is recorded without it."""
        self.is_behind = True

    # From a history.

    def replay(self, turns: Sequence[Turn]) -> None:
        """Bring the code to the end of a history, or of a page of it. Once it can't follow, nothing more is fed.

        Args:
            turns: What follows what was replayed before. The draft's state, what they amount to, has them already.
        """
        self.at_ms = self.state.at_ms
        if self.is_behind:
            return
        try:
            with self.program.replaying(self.state.changes):
                self._script.replay([(record, turn.at_ms) for turn in turns for record in turn.records])
        except (NonDeterminismError, p.BrokenProgramError) as error:
            self.is_behind = True
            self._problem = str(error)

    def carry_on(self) -> None:
        """After a replay: record what the code asks for beyond it, and park what can't go on."""
        if self.state.end is not None or self.state.is_quarantined:
            return
        if self.is_behind:
            if self.state.parked is None or self.state.parked.reason != "stuck" or is_let_go(self.state):
                self.park("stuck", self._problem)
            return
        self._ask(self._script.rest())
        if is_stuck_on_other_code(self.state, self._code):
            # Whoever parked it may have died before it left word for those with other code.
            self.record(r.Unparked("code"))
        if self.state.goes_on_at_once:
            self._let_begin()  # Before what came: of those who had it, it may be about what they have not recorded.
        interrupted = (step.key for step in self.state.steps.values() if step.started and step.unsafe)
        self._interrupted = dict.fromkeys(interrupted, "interrupted")
        self._ask_about_steps()

    def _ask_about_steps(self) -> None:
        """A run is parked for one step at a time: whoever has decided on it is asked about the next one."""
        open_steps = self.state.steps
        for key in [key for key in self._interrupted if key not in open_steps or not open_steps[key].started]:
            del self._interrupted[key]
        if self.state.parked is not None or self.state.end is not None or self.is_behind:
            return
        if self._interrupted:
            step, how = next(iter(self._interrupted.items()))
            self.park("unknown_outcome", f"step {step} was {how}: did it happen?", step)
        elif (exhausted := self.state.exhausted_step) is None or (error := exhausted.last_error) is None:
            return
        elif not (self.state.cancel_requested and self.state.moves):  # Else the code is cleaning up.
            self.park("retries_exhausted", f"{exhausted.key}: {error.type}: {error.message}", exhausted.key)

    # What came.

    @property
    def may_be_held(self) -> bool:
        """Whether the first turn says nothing but which steps are to be launched, as the start does."""
        state = self.state
        if state.run_deadline_ms is not None and state.run_deadline_ms <= self.at_ms:
            return False  # It came too late to launch anything.
        return bool(state.steps) and state.end is None and not state.has_unsafe

    def begin_at(self, now_ms: int) -> None:
        """Give an empty draft its time."""
        if not self.records:
            latest_ms = self.state.at_ms
            self.at_ms = latest_ms if latest_ms > now_ms else now_ms

    def record(self, record: r.Record, value: object = p.NOT_DECODED) -> None:
        """Add a record, and what the code asks for when it sees it."""
        if self.is_behind:
            self._has_unseen_cancel = self._has_unseen_cancel or isinstance(record, r.CancelRequested)
            self._write(record)
            return
        try:
            asked = self.program.gated(self._shown(record, value))
        except p.BrokenProgramError as error:
            self._break(error, record)
        else:
            self._write(record)
            self._add(asked)

    def _shown(self, record: r.Record, value: object) -> list[p.Asked]:
        if is_fact(record):
            return self._script.live(record, self.at_ms, value)
        if isinstance(record, r.Parked | r.Unparked | r.Paused | r.Unpaused):
            return self._script.note(record, self.at_ms)
        return []

    def _break(self, error: p.BrokenProgramError, record: r.Record) -> None:
        """Park the run before what its code could not take: other code sees it when the run goes on, at that time."""
        self.is_behind = True
        if isinstance(record, r.RunStarted):
            self._write(self._held_back(record))
        self.park("stuck", str(error))
        if not isinstance(record, _NEVER_BEHIND_A_HOLD):
            self.record(record)

    def _write(self, record: r.Record) -> None:
        self.records.append(record)
        self._known = len(self.records)
        self.state.apply(record, self.at_ms)

    def park(self, reason: str, message: str, step: str = "") -> None:
        self.record(r.Parked(reason, self.program.redacted(message)[:4000], step, self._code))

    def take_message(self, wake: m.Wake, cursor: int, *, is_tried: bool = False) -> None:
        """Consume a mailbox message, and with it the mailbox up to `cursor`.

        What `is_tried` has been with those who died: it lets a run that is quarantined for that go on no more.
        """
        begins = self._known = len(self.records)
        self._take_message(wake, is_tried=is_tried)
        # What the code asks for when it sees the message, it asks for again in a replay.
        self.consumed.append(Consumed(begins, self._known, cursor))

    def _take_message(self, wake: m.Wake, *, is_tried: bool) -> None:
        if isinstance(wake, m.TimerDue):
            # The server's word that it is time counts, whatever this machine's clock says; but not that of anybody else
            # that it is later than what the run waits for.
            self.begin_at(max(self.at_ms, min(wake.due_ms, self.state.next_due_ms() or 0)))
            self._time_out()  # What was sent before it counts, what was sent after it does not.
        if isinstance(wake, m.Resolve) and self._refuses(wake):
            return
        was_opening = self.is_opening
        for record in receive(self.state, wake, code=self._code):
            if self.state.end is not None or self.is_opening != was_opening:
                break
            if self.is_behind and isinstance(record, r.Unparked):
                if is_tried and self.state.is_quarantined:
                    self._bring_cursor_forward()
                else:
                    self._let_go()
            elif not (isinstance(record, r.StepRerun | r.StepCompleted | r.StepFailed) and self._is_left(record.step)):
                self.record(record)
        self._ask_about_steps()

    def _let_go(self) -> None:
        """Facts that are recorded behind an `Unparked` are for code that has seen it, and this one sees nothing."""
        if not is_let_go(self.state):
            self.record(LET_GO)
            if self.state.deaths:
                self.record(r.Claimed(r.RESUMED))  # They are counted anew.

    def begins_anew(self, under_way: Collection[str]) -> bool:
        """Whether the code is to be activated anew, now that nothing is under way that would then run beside itself.

        A cancel does not wait for that: the code decides what becomes of it.
        """
        state = self.state
        if not self.is_behind or state.end is not None:
            return False
        is_free = self._has_unseen_cancel or state.steps.keys().isdisjoint(under_way)
        return state.parked is None or (is_let_go(state) and is_free)

    def _is_left(self, step: str) -> bool:
        """Whether the code gave the step up when it went on, before what was decided about it."""
        return step not in self.state.steps

    def _refuses(self, wake: m.Resolve) -> bool:
        """A result that the step's type refuses decides nothing: the run stays parked, and says why."""
        parked = self.state.parked
        if parked is None or parked.step != wake.step or wake.error is not None or wake.rerun or self.is_behind:
            return False
        problem = self.program.refuses(wake.step, self.shelf.seen(wake.result))
        if problem:
            self.park(parked.reason, problem, parked.step)
        return bool(problem)

    def take_time(self) -> None:
        """Record what is due at the draft's time."""
        state = self.state
        if not state.has_dues:
            return
        self._time_out()
        if state.end is not None or state.started is None or state.is_paused:
            return
        self._let_begin()
        for fired in due(state, self.at_ms):
            if fired.timer in state.timers:
                self.record(fired)

    def _let_begin(self) -> None:
        """Let the code begin, or go on from where it was copied, if it is time: what it asks for is of now."""
        state = self.state
        if self.is_opening or state.parked is not None or state.is_paused:
            return
        if state.is_delayed and not state.is_early(self.at_ms):
            self.record(r.Unparked("fork" if state.is_copied else "delay"))

    def keep_up(self, consumed: int) -> None:
        """Take a turn for messages that led to no record: else its mailbox would fill, and be full for ever."""
        if consumed >= LIMITS.mailbox_purge and not self.records and self.state.end is None:
            self._bring_cursor_forward()

    def _bring_cursor_forward(self) -> None:
        """Record something that changes nothing: else nobody could tell that what led to no record was consumed."""
        self.record(r.Claimed(r.RESUMED, self.state.deaths))

    def next_due_ms(self) -> int | None:
        """When time will bring an owned run forward; retries that were due are under way."""
        return None if self.state.end is not None else self.state.next_due_ms(self.at_ms)

    def _time_out(self) -> None:
        deadline_ms = self.state.run_deadline_ms
        if deadline_ms is not None and deadline_ms <= self.at_ms and self.state.end is None:
            self.record(r.RunTimedOut())

    def take_outcome(self, step: str, outcome: p.Outcome, now_ms: int) -> None:
        """Record how an attempt went on or ended; a late outcome changes nothing."""
        open_step = self.state.steps.get(step)
        if open_step is None or self.state.end is not None:
            self._beats.pop(step, None)
            return
        if self._beats and step in self._beats and not isinstance(outcome, p.Beat):
            self.record(self._heartbeat(step, self._beats.pop(step)))
        attempt = open_step.attempts + 1
        match outcome:
            case p.Done(result=result, value=value, digest=digest):
                kept = self.shelf.kept(result, is_fed=True, digest=digest)
                self.record(r.StepCompleted(step, kept, attempt), value)
            case p.Failed(error=error):
                self.record(r.StepFailed(step, error, attempt))
            case p.Again(error=error, delay_s=delay_s):
                # A history that is ahead of the clock would take what counts from the clock for long due.
                failed_ms = max(now_ms, self.at_ms)
                self.record(r.StepAttemptFailed(step, attempt, error, failed_ms + max(1, round(delay_s * 1000))))
            case p.Exhausted(error=error):
                self.record(r.StepAttemptFailed(step, attempt, error, 0))
                self._ask_about_steps()
            case p.Unknown():
                self._interrupted[step] = "cut off by a time-out"
                self._ask_about_steps()
            case p.Beat(details=details):
                self._beats[step] = details
            case p.Stopped():
                pass  # It was told to stop by a hand-over: whoever takes the run over runs it again.
            case _:
                assert_never(outcome)

    def take_beats(self) -> None:
        """Record the latest heartbeats."""
        beats, self._beats = self._beats, {}
        for step, details in beats.items():
            if step in self.state.steps:
                self.record(self._heartbeat(step, details))

    def _heartbeat(self, step: str, details: Raw) -> r.StepHeartbeat:
        return r.StepHeartbeat(step, self.shelf.kept(details, is_fed=False))

    @property
    def has_beats(self) -> bool:
        return bool(self._beats)

    def announce(self) -> None:
        """Record the start of each attempt that must not be repeated unasked, or that no other record asks for.

        Who reads the history sees then whether a retry may be under way.
        """
        if self.state.cancel_requested:
            self._ask_about_steps()
        if self.state.has_unsafe or self.state.has_dues:
            for step in self.launchable():
                if (step.unsafe or step.attempts) and not step.started:
                    self.record(r.StepStarted(step.key, step.attempts + 1))

    def launchable(self) -> list[OpenStep]:
        """Return the open steps of which an attempt may be under way."""
        state, at_ms = self.state, self.at_ms
        if state.parked is not None or state.paused_at_ms is not None or (state.has_dues and state.is_delayed):
            return []
        return [step for step in state.steps.values() if step.retry_at_ms <= at_ms and not step.is_exhausted]

    @property
    def _only_claims(self) -> bool:
        """Whether its code may not have been replayed yet: it could not take a note of what is recorded behind that."""
        return bool(self.records) and isinstance(self.records[-1], r.Claimed)

    def take_records(self) -> list[r.Record]:
        """Hand the records over to be appended; the draft is empty then."""
        parked = self.state.parked
        # Said again behind whatever came in spite of it: it stands last, where senders look.
        if self.records and parked is not None and is_refusal(parked) and self.records[-1] != parked:
            self._write(parked)
        elif is_too_long(self.state) and not self.is_opening and not self._only_claims:
            self.park("stuck", refusal(self.state))
        records, self.records = self.records, []
        self.consumed = []
        return records

    # The code.

    def go_on(self) -> None:
        """Record what the code asks for at the beginning of the history that was opened by the turn before."""
        self.is_opening = False
        if self.state.end is None:
            self._let_begin()

    def _continue(self, asked: p.Continue) -> None:
        """Open a new history. What this turn has so far is part of the old one, of which nothing is read any more."""
        arguments = tuple(self.shelf.kept(one, is_fed=True) for one in asked.arguments)
        kept = p.Continue(arguments, asked.calls, asked.children)
        missed = self._script.missed
        records = opening(self.state, kept, missed=missed, unwritten=len(self.records))
        size = sum(len(encode(one)) for one in records)
        bytes_max = LIMITS.turn_bytes_max // (2 if missed else 1)
        if size > bytes_max:  # The code, which could not see what came since it asked, was not refused.
            self.is_behind = True
            self.park("stuck", too_much(size, bytes_max))
            return
        started = records[-1]
        assert isinstance(started, r.RunStarted), "the last one of an opening"
        self.is_opening = True
        self.records = list(records)
        self._beats.clear()
        self._interrupted.clear()
        for record in records:
            self.state.apply(record, self.at_ms)
        self.program = self.program.anew(started)
        self._script = Script(self.program, self.shelf)
        if not self.shelf.has_all(records):
            # A signal that was not received, for example: the new history is read, with its values, once it is stored.
            self.is_behind = True
            return
        self._script.replay([(record, self.at_ms) for record in records])

    def _ask(self, requests: list[p.Asked]) -> None:
        try:
            self._add(self.program.gated(requests))
        except p.BrokenProgramError as error:
            self.is_behind = True
            self.park("stuck", str(error))

    def _add(self, allowed: list[p.Asked]) -> None:
        for request in allowed:
            if isinstance(request, p.Continue):
                self._continue(request)
                return
            recorded = self.shelf.relieved(request) if type(request) in NOT_FED else request
            self.records.append(recorded)
            self.state.apply(recorded, self.at_ms)
