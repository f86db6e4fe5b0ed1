"""The runs whose coroutines this worker has: at work, or at rest for a while."""

from __future__ import annotations

import itertools
from collections import OrderedDict
from typing import TYPE_CHECKING, NamedTuple

from relight.actors.door import Clock, Delivery, Handle
from relight.config.limits import LIMITS

if TYPE_CHECKING:
    from relight.actors.run_actor import RunActor

__all__ = ("LiveRuns",)

_SWEEPS = 10
"""Per `limits.linger_s`: a run that rests is dropped when it has lingered, at most a tenth later."""


class _Rest(NamedTuple):
    until_s: float
    bytes: int


class LiveRuns:
    """Actors by run.

    At most `limits.resting_max` of them rest, with histories of at most `limits.resting_bytes_max` together, none for
    much longer than `limits.linger_s`.

    Attributes:
        actors: All of them.
        is_draining: Whether the worker goes: nothing new is taken, nothing is kept.
    """

    def __init__(self, clock: Clock) -> None:
        self.actors: dict[str, RunActor] = {}
        self.is_draining = False
        self._clock = clock
        self._resting: OrderedDict[str, _Rest] = OrderedDict()
        self._resting_bytes = 0
        self._sweep: Handle | None = None

    def ring(self, run: str, delivery: Delivery) -> None:
        self._rouse(run)
        self.actors[run].take_doorbell(delivery)

    def rest(self, actor: RunActor) -> None:
        """Keep its coroutine for a while; dropping it costs a replay."""
        run = actor.run
        if self.is_draining:
            self._drop(run)
            return
        self._rouse(run)
        rest = self._resting[run] = _Rest(self._clock.elapsed_s() + LIMITS.linger_s, actor.history_bytes)
        self._resting_bytes += rest.bytes
        if self._sweep is None:
            self._sweep_later()
        while len(self._resting) > LIMITS.resting_max or self._resting_bytes > LIMITS.resting_bytes_max:
            self._drop(next(iter(self._resting)))

    def close(self) -> None:
        """Throw all activations away."""
        self.is_draining = True
        if self._sweep is not None:
            self._sweep.cancel()
        self._resting.clear()
        self._resting_bytes = 0
        for actor in list(self.actors.values()):
            actor.discard()
        self.actors.clear()

    def _sweep_later(self) -> None:
        # One coarse timer for all: one for each run costs more than all else that its resting costs.
        self._sweep = self._clock.call_later(LIMITS.linger_s / _SWEEPS, self._drop_lingered)

    def _drop_lingered(self) -> None:
        self._sweep = None
        now_s = self._clock.elapsed_s()
        for run in list(itertools.takewhile(lambda one: self._resting[one].until_s <= now_s, self._resting)):
            self._drop(run)
        if self._resting:
            self._sweep_later()

    def _rouse(self, run: str) -> None:
        rest = self._resting.pop(run, None)
        if rest is not None:
            self._resting_bytes -= rest.bytes

    def _drop(self, run: str) -> None:
        self._rouse(run)
        actor = self.actors.pop(run, None)
        if actor is not None:
            actor.discard()
