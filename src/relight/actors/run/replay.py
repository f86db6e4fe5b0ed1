"""Replay: feed the recorded facts to the code and compare what it asks for with what it asked for then."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import TypeAlias, get_args

from typing_extensions import TypeIs

from relight.actors import program as p
from relight.actors.run.shelf import Shelf
from relight.errors import NonDeterminismError
from relight.subjects import records as r
from relight.subjects.references import identity_of

__all__ = ("Moment", "Script", "in_words", "is_fact", "is_request")

Moment: TypeAlias = tuple[r.Record, int]
"""A record and the time of its turn."""

_RESULT_CHARACTERS_MAX = 60
_STARTS = "relight.start#"


class Script:
    """The code's side of a history: replayed first, then led on live.

    While a run is parked or paused, or its start is delayed, its code does not run: facts that come then are deferred
    until it goes on, in replay as live.

    Args:
        program: The code.
        shelf: Has its large values; None: the history has them itself.

    Attributes:
        missed: Facts that were deferred when the code ended, or continued as new, at one before them.
    """

    __slots__ = ("_asked", "_deferred", "_holds", "_is_called_off", "_program", "_shelf", "missed")

    def __init__(self, program: p.Program, shelf: Shelf | None = None) -> None:
        self._program = program
        self._shelf = shelf
        self._asked: deque[p.Asked] = deque()
        self.missed: list[r.Fact] = []
        self._holds: set[type] = set()
        self._is_called_off = False
        self._deferred: list[r.Fact] = []

    def replay(self, moments: Sequence[Moment]) -> None:
        """Take the next part of a history.

        Raises:
            NonDeterminismError: The code asks for something else than the history has.
        """
        asked = self._asked
        for record, at_ms in moments:
            if asked and asked[0] == record:  # What most requests are; each look costs a long history milliseconds.
                asked.popleft()
            elif is_fact(record):
                if asked and not self._holds:
                    raise NonDeterminismError(recorded=in_words(record), actual=in_words(asked[0]))
                asked.extend(self.live(record, at_ms))
            elif is_request(record):
                self._match(record)
            else:
                asked.extend(self.note(record, at_ms))

    def rest(self) -> list[p.Asked]:
        """What the code asked for beyond the end of the history; it belongs into the next turn."""
        rest = list(self._asked)
        self._asked.clear()
        return rest

    def live(self, fact: r.Fact, at_ms: int, value: object = p.NOT_DECODED) -> list[p.Asked]:
        """Let the code see a fact, unless the run is held; return what it asks for."""
        if type(fact) is r.RunStarted and fact.not_before_ms is not None:
            self._holds.add(r.Parked)  # As if: what lets it go on is the same.
        if self._holds:
            self._deferred.append(fact)
            return []
        return self._feed(fact, at_ms, value)

    def _feed(self, fact: r.Fact, at_ms: int, value: object = p.NOT_DECODED) -> list[p.Asked]:
        shelf = self._shelf
        if shelf is not None and shelf.is_used:
            if value is p.NOT_DECODED:
                fact = shelf.filled(fact)
            else:
                shelf.forget(fact)
        return self._program.feed(fact, at_ms, value)

    def note(self, record: r.Note, at_ms: int) -> list[p.Asked]:
        """Take a record that the code does not see; when nothing holds the run any more, feed what was deferred."""
        match record:
            case r.Parked() | r.Paused():
                self._holds.add(type(record))
            case r.Unparked(by=by):
                self._holds.discard(r.Parked)
                self._is_called_off = by == "cancel"
            case r.Unpaused():
                self._holds.discard(r.Paused)
            case _:
                pass
        return [] if self._holds or not self._deferred else self._feed_deferred(at_ms)

    def _feed_deferred(self, at_ms: int) -> list[p.Asked]:
        facts, self._deferred = self._deferred, []
        if self._is_called_off and isinstance(facts[0], r.RunStarted):
            facts.sort(key=lambda fact: not isinstance(fact, r.CancelRequested))  # Cancelled before it begins.
        asked: list[p.Asked] = []
        for index, fact in enumerate(facts, 1):
            asked += self._feed(fact, at_ms)
            if asked and isinstance(asked[-1], (*r.ENDS, p.Continue)):
                self.missed = facts[index:]
                break
        return asked

    def _match(self, recorded: r.Request) -> None:
        if isinstance(recorded, r.PatchMarked) and (not self._asked or self._asked[0] != recorded):
            return  # The change's call was removed from the code, and with it the old way.
        if not self._asked:
            raise NonDeterminismError(recorded=in_words(recorded), actual="nothing more at this point")
        actual = self._asked.popleft()
        if actual != recorded and _identity(actual) != _identity(recorded):
            raise NonDeterminismError(recorded=_to_compare(recorded, actual), actual=_to_compare(actual, recorded))


# By the type, because `isinstance` asks each of them in turn, which takes longer than all else that is done here.
_FACTS = frozenset(r.FACTS)
_REQUESTS = frozenset(get_args(r.Request))


def is_fact(record: r.Record) -> TypeIs[r.Fact]:
    """Whether the workflow's code sees it."""
    return type(record) in _FACTS


def is_request(record: r.Record) -> TypeIs[r.Request]:
    """Whether the code asked for it."""
    return type(record) in _REQUESTS


def _identity(request: p.Asked) -> tuple[object, ...]:
    """What must be the same in every replay. Places move with edits, times and texts may change with them."""
    match request:
        case r.StepScheduled(step=step, digest=digest):
            # Of a child's start its id and its workflow count, which `ChildScheduled` names: time-outs may change.
            return ("step", step, "" if step.startswith(_STARTS) else digest)
        case r.StepCancelled(step=step):
            return ("step cancelled", step)
        case r.TimerArmed(timer=timer):
            return ("timer", timer)
        case r.TimerCancelled(timer=timer):
            return ("timer cancelled", timer)
        case r.Suspended(wait=wait, name=name, problem=problem):
            return ("suspension", wait, name, bool(problem))
        case r.SignalAwaited(wait=wait, name=name, problem=problem):
            return ("signal", wait, name, bool(problem))
        case r.RequestAwaited(wait=wait, name=name):
            return ("request", wait, name)
        case r.RequestReplied(id=id) | r.RequestRejected(id=id):
            return (type(request).__name__, id)
        case r.WaitCancelled(wait=wait):
            return ("wait cancelled", wait)
        case r.AwakeableCreated(wait=wait, token=token):
            return ("awakeable", wait, token)
        case r.ChildScheduled(child=child, workflow=workflow):
            return ("child", child, workflow)
        case r.ChildAwaited(wait=wait, child=child):
            return ("child awaited", wait, child)
        case r.PatchMarked(change=change):
            return ("patch", change)
        case r.CompensationRegistered(step=step, digest=digest):
            return ("compensation", step, digest)
        case r.RunCompleted(result=result):
            return ("completed", identity_of(result))
        case r.RunFailed(error=error):
            return ("failed", error.type)
        case _:
            return (type(request).__name__,)


def in_words(record: r.Record | p.Continue) -> str:
    """Say what a record is, with the place of the call where it has one."""
    match record:
        case r.StepScheduled(step=step, digest=digest):
            said = f"step {step} with arguments {digest}"
        case r.TimerArmed(timer=timer):
            said = f"timer {timer}"
        case r.Suspended(name=name, problem=problem):
            said = f"suspension {name!r}{_after('an answer', problem)}"
        case r.SignalAwaited(name=name, problem=problem):
            said = f"a wait for signal {name!r}{_after('one', problem)}"
        case r.RequestAwaited(name=name):
            said = f"a wait for request {name!r}"
        case r.RequestReplied(id=id):
            said = f"the reply to request {id!r}"
        case r.RequestRejected(id=id, reason=reason):
            said = f"the rejection of request {id!r}: {reason}"
        case r.AwakeableCreated(wait=wait):
            said = f"awakeable {wait}"
        case r.ChildScheduled(child=child, workflow=workflow):
            said = f"child {child!r} of workflow {workflow!r}"
        case r.ChildAwaited(child=child):
            said = f"a wait for child {child!r}"
        case r.PatchMarked(change=change):
            said = f"the new way of change {change!r}"
        case r.CompensationRegistered(step=step, digest=digest):
            said = f"a compensation by step {step} with arguments {digest}"
        case r.ChildEnded(child=child):
            said = f"the end of child {child!r}"
        case p.Continue():
            said = "to continue as new"
        case r.StepCompleted(step=step) | r.StepFailed(step=step):
            said = f"the outcome of step {step}"
        case r.StepCancelled(step=step):
            said = f"the cancellation of step {step}"
        case r.TimerCancelled(timer=timer):
            said = f"the cancellation of timer {timer}"
        case r.WaitCancelled(wait=wait):
            said = f"the cancellation of wait {wait}"
        case r.RunCompleted():
            said = "the end of the workflow"
        case r.RunFailed(error=error):
            said = f"the end of the workflow with {error.type}: {error.message}"
        case _:
            said = type(record).__name__
    place = getattr(record, "place", "")
    return f"{said} ({place})" if place else said


def _to_compare(record: r.Record | p.Continue, other: r.Record | p.Continue) -> str:
    """Say what a record is; of two ends with different results also the beginning of the result."""
    said = in_words(record)
    if not (isinstance(record, r.RunCompleted) and isinstance(other, r.RunCompleted)):
        return said
    result = bytes(record.result).decode(errors="replace")
    more = "…" if len(result) > _RESULT_CHARACTERS_MAX else ""
    return f"{said} with result {result[:_RESULT_CHARACTERS_MAX]}{more}"


def _after(what: str, problem: str) -> str:
    return f" after {what} that could not be read: {problem}" if problem else ""
