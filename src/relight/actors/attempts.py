"""The attempts of one run's steps that are under way in this process, and what they have reported."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from functools import partial

from msgspec import Raw

from relight.actors import program as p
from relight.actors.door import Clock, Handle
from relight.actors.run.draft import Draft
from relight.actors.run.state import OpenStep
from relight.actors.title import Title
from relight.config.limits import LIMITS
from relight.subjects import records as r
from relight.subjects.references import is_reference

__all__ = ("Attempts", "Beats")


class Attempts:
    """What a run's owner has launched. Whether it may launch at all is the owner's to know.

    Attributes:
        running: Those that have been launched and whose end was not taken yet, by step.
        outcomes: What they have reported and nobody has taken yet, by step and whether it is how it goes on: of that
            only the latest counts, and an append may last as long as an outage.
        details: Large heartbeat details, at hand for the next attempt of a step.
    """

    __slots__ = ("_draft", "_ring", "details", "outcomes", "running")

    def __init__(self, draft: Draft, ring: Callable[[], None]) -> None:
        self.running: dict[str, p.RunningStep] = {}
        self.outcomes: dict[tuple[str, bool], p.Outcome] = {}
        self.details: dict[str, Raw] = {}
        self._draft = draft
        self._ring = ring

    @property
    def count(self) -> int:
        """Those that have not reported their outcome."""
        reported = {step for step, goes_on in self.outcomes if not goes_on}
        return len(self.running.keys() - reported)

    def launchable(self) -> list[OpenStep]:
        """Return the steps of which an attempt is to be launched."""
        steps = self._draft.launchable()
        return [step for step in steps if step.key not in self.running] if self.running else steps

    async def fetch_details(
        self, filled: Callable[[r.StepHeartbeat], Awaitable[r.StepHeartbeat]], title: Title
    ) -> None:
        """Have the large heartbeats at hand of steps that are about to be launched again. Raises `ProtocolError`."""
        for step in self.launchable():
            if step.heartbeat is not None and is_reference(step.heartbeat):
                beat = await title.eventually(partial(filled, r.StepHeartbeat(step.key, step.heartbeat)))
                self.details[step.key] = beat.details

    def launch(self, steps: list[OpenStep], now_ms: int) -> None:
        """Launch an attempt of each of these."""
        program = self._draft.program
        for step in steps:
            self.running[step.key] = program.launch(step.key, self._attempt(step, now_ms), self._report)

    def take(self) -> list[tuple[str, p.Outcome]]:
        """Return what was reported, in order; who has ended runs no more."""
        taken, self.outcomes = self.outcomes, {}
        for step, goes_on in taken:
            if not goes_on:
                self.running.pop(step, None)
        return [(step, outcome) for (step, _), outcome in taken.items()]

    def stop(self) -> None:
        """Tell all of them to stop."""
        for step in list(self.running.values()):
            step.cancel()

    def stop_cancelled(self) -> None:
        """Tell those to stop that the run does not wait for any more."""
        for key, step in self.running.items():
            if key not in self._draft.state.steps:
                step.cancel()

    def close(self) -> None:
        """Stop all, and tell nobody any more what they report."""
        self._ring = _tell_nobody  # The owner is not held by what it has: only the collector could free the two.
        self.stop()
        self.running.clear()

    def _attempt(self, step: OpenStep, now_ms: int) -> p.Attempt:
        state = self._draft.state
        deadline_ms = state.run_deadline_ms if state.has_dues else None
        heartbeat = self.details.pop(step.key, step.heartbeat) if self.details else step.heartbeat
        deadline = (
            None if deadline_ms is None else datetime.fromtimestamp(min(deadline_ms, LIMITS.due_ms_max) / 1000, UTC)
        )
        return p.Attempt(step.attempts + 1, step.counted_from_ms, now_ms, heartbeat, deadline)

    def _report(self, step: str, outcome: p.Outcome) -> None:
        self.outcomes[step, isinstance(outcome, p.Beat)] = outcome
        self._ring()


_PAUSE_S = 1.0
_PAUSE_S_MAX = 60.0
_SHARE_LOST = 1 / 600
"""Of the time for which a step has told how it goes on, so much may be missing from what its next attempt finds."""


class Beats:
    """Heartbeats of one second become one record; those of a step that goes on for hours, of up to a minute.

    Else such a step would fill the history. While the run is parked none is recorded: the latest one is kept.
    """

    __slots__ = ("_alarm", "_began_s", "_clock", "_draft", "_last_s", "_ring")

    def __init__(self, draft: Draft, clock: Clock, ring: Callable[[], None]) -> None:
        self._draft = draft
        self._clock = clock
        self._ring = ring
        self._alarm: Handle | None = None
        self._began_s = self._last_s = float("-inf")

    def record(self) -> None:
        """Record the latest ones, now or when enough time has passed since others were."""
        now_s = self._clock.elapsed_s()
        if now_s - self._last_s > _PAUSE_S_MAX:
            self._began_s = now_s  # Another step, or one that is silent for long: that costs no records.
        self._last_s = now_s
        if self._alarm is None:
            if self._draft.state.parked is None:
                self._draft.take_beats()
            pause_s = min(max(_PAUSE_S, (now_s - self._began_s) * _SHARE_LOST), _PAUSE_S_MAX)
            self._alarm = self._clock.call_later(pause_s, self._is_due)

    def close(self) -> None:
        """Record no more."""
        self._ring = _tell_nobody
        if self._alarm is not None:
            self._alarm.cancel()
            self._alarm = None

    def _is_due(self) -> None:
        self._alarm = None
        if self._draft.has_beats:
            self.record()
            self._ring()


def _tell_nobody() -> None:
    pass
