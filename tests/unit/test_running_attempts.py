"""Attempts of steps in moments that a test of runs hardly ever meets."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Future, wait
from typing import ParamSpec, TypeVar

from relight import Step, step
from relight.actors import program as p
from relight.sdk._execution import Launcher, RunningAttempt
from relight.sdk._step import PendingStep
from relight.sdk._threads import StepThreads

P = ParamSpec("P")
T = TypeVar("T")

executed: list[str] = []


class Attempt:
    """One attempt of a step, and what it reports."""

    def __init__(self, called: Step[[], None], launcher: Launcher) -> None:
        self.reported: list[p.Outcome] = []
        self._ended = asyncio.Event()
        pending = PendingStep(f"{called.name}#1", called, (), {}, asyncio.Future())
        attempt = p.Attempt(1, 0, 0, None, None)
        self.running = RunningAttempt(launcher, "run", {}, pending, attempt, self._report)

    def _report(self, _step: str, outcome: p.Outcome) -> None:
        self.reported.append(outcome)
        if not isinstance(outcome, p.Beat):
            self._ended.set()

    async def ended(self) -> None:
        async with asyncio.timeout(20):
            await self._ended.wait()


class Prompt(StepThreads):
    """Its threads are always faster than whoever has called."""

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        future = super().submit(fn, *args, **kwargs)
        wait([future], 20)
        return future


@step
async def note() -> None:
    executed.append("note")


@step
def beats() -> None:
    step.heartbeat(1)


async def test_one_that_is_stopped_in_the_moment_of_its_launch_says_so_and_runs_nothing() -> None:
    attempt = Attempt(note, Launcher(threads=1, interceptors=(), sender=None))

    attempt.running.cancel()
    await attempt.ended()

    assert [type(one) for one in attempt.reported] == [p.Stopped]
    assert executed == []


async def test_the_heartbeats_of_a_thread_come_before_its_end_however_fast_it_was() -> None:
    launcher = Launcher(threads=1, interceptors=(), sender=None)
    launcher._executor = Prompt(1)  # pyright: ignore[reportPrivateUsage]

    attempt = Attempt(beats, launcher)
    await attempt.ended()
    launcher.close()

    assert [type(one) for one in attempt.reported] == [p.Beat, p.Done]
