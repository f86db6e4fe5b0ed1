"""What must hold for each run of a play, whatever went wrong in it."""

from __future__ import annotations

from collections import Counter
from typing import Any, TypeAlias, final

from relight.errors import RelightError
from relight.sdk._interceptors import Interceptor, Next, StepCall
from relight.subjects import records as r
from relight.testing.observed import Observer
from relight.testing.replaying import replay_history
from relight.testing.stage import Stage

__all__ = ("Execution", "Executions", "Outcome", "Promises", "replay_problem")

Execution: TypeAlias = tuple[str, str, int]
"""Run, step and attempt."""

Outcome: TypeAlias = tuple[str, ...]
"""How a run ended."""


@final
class Executions(Interceptor):
    """Counts the attempts of steps, and sees those that should never have begun."""

    def __init__(self) -> None:
        self.counted: Counter[Execution] = Counter()
        self.problems: list[str] = []
        self.observer: Observer | None = None

    async def step(self, call: StepCall, next: Next[StepCall]) -> Any:
        assert self.observer is not None, "set before any worker begins"
        run = call.info.run_id
        key = call.info.idempotency_key.removeprefix(f"{run}:")
        self.counted[run, key, call.info.attempt] += 1
        if key in self.observer.finished(run):
            self.problems.append(f"step {key} of run {run!r} began again after its outcome was recorded")
        return await next(call)


@final
class Promises:
    """Checks what was promised, during a play and after it.

    Attributes:
        problems: What did not hold.
        interruptions: How many processes were stopped or killed; each may have repeated the steps that were under way.
    """

    def __init__(self, stage: Stage, executions: Executions) -> None:
        self.problems: list[str] = []
        self.interruptions = 0
        self._stage = stage
        self._observer = stage.observer
        self._executions = executions
        executions.observer = stage.observer

    def check_causes(self, when: str) -> None:
        """Every unfinished run has a cause that will wake it."""
        for run in self._observer.runs():
            if self._observer.cause(run) is None:
                self.problems.append(f"{when} nothing will wake run {run!r}: {self._observer.mailbox(run)}")

    def check_at_the_end(self) -> None:
        """Check everything, of all runs, when nothing is left to be delivered to those that have ended."""
        self.problems += self._executions.problems
        self.check_causes("at the end")
        for run in self._observer.runs():
            if (broken := self._observer.broken_link(run)) is not None:
                self.problems.append(f"the chain of run {run!r} is broken: {broken}")
            if self._observer.state(run).end is not None:
                self._check_nothing_is_left(run)
            self._check_executions(run)
            if (problem := replay_problem(self._stage, run)) is not None:
                self.problems.append(problem)

    def outcome(self, run: str) -> Outcome | None:
        """How the run ended; None if it has not."""
        match self._observer.state(run).end:
            case r.RunCompleted(result=result):
                return ("completed", bytes(result).decode())
            case r.RunFailed(error=error, not_undone=not_undone):
                return ("failed", error.type, error.message, *not_undone)
            case r.RunCancelled(reason=reason, not_undone=not_undone):
                return ("cancelled", reason, *not_undone)
            case r.RunTerminated(reason=reason):
                return ("terminated", reason)
            case r.RunTimedOut():
                return ("timed out",)
            case None:
                return None

    def _check_nothing_is_left(self, run: str) -> None:
        pending, timers = self._observer.pending(run), self._observer.timers(run)
        if pending or timers:
            self.problems.append(f"run {run!r} left behind: deliveries {pending}, timers {timers}")

    def _check_executions(self, run: str) -> None:
        records = self._observer.records(run)
        reruns = Counter(one.step for one in records if isinstance(one, r.StepRerun))
        unsafe = {one.step for one in records if isinstance(one, r.StepScheduled) and one.unsafe}
        for (of, key, attempt), count in self._executions.counted.items():
            if of != run:
                continue
            if count > 1 + self.interruptions + reruns[key]:
                self.problems.append(f"attempt {attempt} of step {key} of run {run!r} was executed {count} times")
            if key in unsafe and count > 1 + reruns[key]:
                self.problems.append(f"unsafe step {key} of run {run!r} was executed {count} times unasked")


def replay_problem(stage: Stage, run: str) -> str | None:
    """Say why the history of a run does not replay; None if it does."""
    turns = stage.observer.turns(run)
    try:
        if turns:
            replay_history(stage.workflows, run, turns, stage.observer.values(run))
    except RelightError as error:
        return f"the history of run {run!r} does not replay: {error}"
    return None
