"""A scenario under seeded schedules: what a test does with its runs, again and again while things go wrong.

The scenario is played once undisturbed. Then each seed decides how messages overtake each other, which are lost, late
or doubled, which writes have an outcome that nobody learns, which workers stand still or die, and when. Whatever
happens, the runs must end as they did undisturbed, and every promise must hold. When a seed fails, it is played with
fewer and fewer of its decisions until none can be left out: what remains is the explanation.

A play is repeatable: ids, seeds of runs and what the module `random` gives are the same each time, time is virtual, and
a step in a thread is waited for. Only what steps do outside (a socket, a clock) is beyond that; so fake those steps.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from functools import partial
from math import isnan
from random import Random
from traceback import format_exception
from typing import TypeAlias, cast, final

from relight.testing.memory.door import MemoryDoor
from relight.testing.memory.faults import Operation
from relight.testing.memory_worker import MemoryWorker
from relight.testing.observed import in_lines
from relight.testing.person import Person
from relight.testing.promises import Executions, Outcome, Promises
from relight.testing.schedule import Decision, Disturbance, Schedule, Weather, weather_of
from relight.testing.shortest import shortest
from relight.testing.stage import Stage, StalledError

__all__ = ("Played", "SimulationFailure", "SimulationReport", "StageMaker", "simulated")

StageMaker: TypeAlias = Callable[[Executions, Schedule], Stage]
"""Makes the stage of one play."""

_PLAY_S = 5.0
_PLAY_TIMES = 20
"""A play takes milliseconds. One that takes this long in real time, plus so many times what the undisturbed one took,
never ends."""

_SETTLE_S = 3600.0
"""What a scenario leaves running has an hour of virtual time to end, undisturbed, to be compared."""

_ENDS_EVERYTHING = (asyncio.CancelledError, KeyboardInterrupt, SystemExit)
_TRIES_MAX = 300
_SHOWN_MAX = 40


class SimulationFailure(AssertionError):
    """A schedule under which a scenario does not do what it does undisturbed.

    Attributes:
        seed: Repeats it.
        schedule: The shortest one found, in words.
        problems: What did not hold under it.
    """

    def __init__(self, seed: int | None, schedule: Sequence[str], taken: int, problems: Sequence[str], story: str):
        self.seed = seed
        self.schedule = tuple(schedule)
        self.problems = tuple(problems)
        lines = [f"  - {one}" for one in problems]
        if seed is None:
            lines.insert(0, "it fails although nothing goes wrong")
        else:
            lines.insert(0, f"seed {seed} fails; it repeats with simulate(..., seeds=[{seed}])")
            more = len(schedule) - _SHOWN_MAX
            lines.append(f"the shortest schedule found ({len(schedule)} of {taken} decisions):")
            lines += [f"  {number}. {one}" for number, one in enumerate(schedule[:_SHOWN_MAX], 1)]
            lines += [f"  … and {more} more"] if more > 0 else []
        super().__init__("\n".join([*lines, story]))


@dataclass(frozen=True, kw_only=True)
class SimulationReport:
    """What was tried.

    Attributes:
        seeds: How many were played.
        decisions: How many things went another way than usual, in all.
        interruptions: How often a process was stopped or killed.
    """

    seeds: int
    decisions: int
    interruptions: int


@dataclass(frozen=True, kw_only=True)
class Played:
    """What came of one play.

    Attributes:
        returned: What the scenario returned.
        outcomes: How the runs ended, by id; None if they have not.
        error: What the scenario raised.
        took_s: In real time.
    """

    returned: object
    outcomes: dict[str, Outcome | None]
    error: BaseException | None
    problems: tuple[str, ...]
    taken: tuple[Decision, ...]
    interruptions: int
    story: str
    took_s: float

    def differences(self, undisturbed: Played) -> list[str]:
        """What is not as it should be, in words."""
        found = list(self.problems)
        if self.error is not None:
            found.append(f"the scenario raised:\n{''.join(format_exception(self.error)).rstrip()}")
        elif not _are_alike(self.returned, undisturbed.returned):
            found.append(f"the scenario returned {self.returned!r}, undisturbed {undisturbed.returned!r}")
        for run, outcome in undisturbed.outcomes.items():
            if outcome is not None and self.outcomes.get(run) != outcome and self.error is None:
                found.append(f"run {run!r} ended with {self.outcomes.get(run)}, undisturbed with {outcome}")
        return found


def _are_alike(one: object, other: object) -> bool:
    """Whether they are equal; one that is not a number is as good as another."""
    match one, other:
        case (list(), list()) | (tuple(), tuple()):
            ones, others = cast("tuple[Sequence[object], Sequence[object]]", (one, other))
            return len(ones) == len(others) and all(map(_are_alike, ones, others))
        case dict(), dict():
            named, others_named = cast("tuple[dict[object, object], dict[object, object]]", (one, other))
            is_alike = named.keys() == others_named.keys()
            return is_alike and all(_are_alike(value, others_named[name]) for name, value in named.items())
        case float(), float():
            return one == other or (isnan(one) and isnan(other))
        case _:
            return bool(one == other)


async def simulated(
    make: StageMaker, scenario: Callable[[Stage], Awaitable[object]], seeds: Sequence[int]
) -> SimulationReport:
    """Play a scenario undisturbed, and then with each seed.

    Raises:
        SimulationFailure: A seed fails.
        Exception: What the scenario raises undisturbed.
    """
    undisturbed = await _undisturbed(make, scenario)
    decisions = interruptions = 0
    for seed in seeds:
        played = await _played(make, scenario, Schedule(seed, weather_of(seed)), undisturbed)
        if played.differences(undisturbed):
            raise await _explained(make, scenario, seed, undisturbed, played)
        decisions += len(played.taken)
        interruptions += played.interruptions
    return SimulationReport(seeds=len(seeds), decisions=decisions, interruptions=interruptions)


async def _undisturbed(make: StageMaker, scenario: Callable[[Stage], Awaitable[object]]) -> Played:
    played = await _played(make, scenario, Schedule(0, Weather()), None)
    if played.error is not None:
        raise played.error
    if played.problems:
        raise SimulationFailure(None, (), 0, played.problems, played.story)
    return played


async def _explained(
    make: StageMaker, scenario: Callable[[Stage], Awaitable[object]], seed: int, undisturbed: Played, failed: Played
) -> SimulationFailure:
    """Look for the shortest schedule that fails."""
    last = failed

    async def repeats(decisions: Sequence[Decision]) -> Sequence[Decision] | None:
        nonlocal last
        schedule = Schedule(seed, weather_of(seed), kept={one.key for one in decisions})
        played = await _played(make, scenario, schedule, undisturbed)
        if not played.differences(undisturbed):
            return None
        last = played
        return played.taken

    await shortest(failed.taken, repeats, kind=lambda one: one.kind, tries_max=_TRIES_MAX)
    words = [str(one) for one in last.taken]
    failure = SimulationFailure(seed, words, len(failed.taken), last.differences(undisturbed), last.story)
    failure.__cause__ = last.error
    return failure


async def _played(
    make: StageMaker,
    scenario: Callable[[Stage], Awaitable[object]],
    schedule: Schedule,
    undisturbed: Played | None,
) -> Played:
    play = Play(make, schedule)
    limit_s = None if undisturbed is None else _PLAY_S + _PLAY_TIMES * undisturbed.took_s
    ended = [] if undisturbed is None else [run for run, outcome in undisturbed.outcomes.items() if outcome is not None]
    before = random.getstate()
    random.seed(schedule.seed)
    try:
        return await play.run(scenario, limit_s, None if undisturbed is None else ended)
    finally:
        random.setstate(before)


@final
class Play:
    """One play of a scenario under one schedule."""

    def __init__(self, make: StageMaker, schedule: Schedule) -> None:
        executions = Executions()
        self._schedule = schedule
        self._stage = make(executions, schedule)
        self._promises = Promises(self._stage, executions)
        self._tasks: set[asyncio.Task[object]] = set()
        self._returned: object = None
        self._error: BaseException | None = None

    async def run(
        self, scenario: Callable[[Stage], Awaitable[object]], limit_s: float | None, ended: Sequence[str] | None
    ) -> Played:
        """Play it.

        Args:
            limit_s: In real time.
            ended: The runs that end undisturbed; None: that is to be found out.
        """
        began_s = time.monotonic()
        async with self._stage:
            # With every other seed a first turn is parted from what follows: a history of one turn never replays.
            self._stage.server.starts_are_new = self._schedule.seed % 2 == 0
            # Two or three: a run must have somewhere to go, and three can disagree in more ways.
            for _ in range(2 + Random(self._schedule.seed).randrange(2)):
                await self._stage.open_worker()
            self._stage.server.on_operation = self._on_operation
            async with self._attended():
                await self._play(scenario, limit_s, ended)
            self._stage.server.on_operation = None
            self._promises.check_at_the_end()
            return self._played(time.monotonic() - began_s)

    async def _play(
        self, scenario: Callable[[Stage], Awaitable[object]], limit_s: float | None, ended: Sequence[str] | None
    ) -> None:
        limit = asyncio.timeout(limit_s)
        try:
            async with limit:
                try:
                    self._returned = await scenario(self._stage)
                except _ENDS_EVERYTHING:
                    raise
                except BaseException as error:  # noqa: BLE001 - whatever a test raises is its outcome, `pytest.fail` too
                    self._error = error
                await self._settle(ended)
        except TimeoutError:
            assert limit_s is not None, "there was a limit"
            self._promises.problems.append(f"the play did not end within {limit_s:.1f} s of real time")

    @asynccontextmanager
    async def _attended(self) -> AsyncGenerator[None]:
        async with asyncio.TaskGroup() as group:
            attending = group.create_task(Person(self._stage, {}).attend())
            yield
            attending.cancel()

    async def _settle(self, ended: Sequence[str] | None) -> None:
        """Let what the scenario left come to its end; who stands still goes on."""
        observer, clock = self._stage.observer, self._stage.server.clock
        end_ms = clock.now_ms() + _SETTLE_S * 1000

        def has_ended() -> bool:
            if ended is None and clock.now_ms() >= end_ms:
                return True
            return all(observer.state(run).end is not None for run in (observer.runs() if ended is None else ended))

        def is_settled() -> bool:
            # A timer that a late write, or a zombie, has armed goes off some time; nothing else may leave one.
            return not any(
                observer.pending(run) or (ended is not None and observer.timers(run))
                for run in observer.runs()
                if observer.state(run).end is not None
            )

        with suppress(StalledError):  # What has not ended is found, and named, at the end.
            self._resume_all()
            await self._stage.until(has_ended)
            # Who stood still, or died, just now would seem to have left behind what he was about to see to.
            self._stage.server.on_operation = None
            self._resume_all()
            await self._stage.rest()
            while not is_settled():
                await self._stage.until(is_settled)
                await self._stage.rest()

    def _resume_all(self) -> None:
        for worker in self._stage.workers:
            _resume(worker)

    def _on_operation(self, door: MemoryDoor, operation: Operation, moment: str) -> None:
        worker = next((one for one in self._stage.workers if one.door is door), None)
        if worker is None or door.process.is_stopped:
            return
        disturbance = self._schedule.disturbance(door.name, operation, moment)
        if disturbance is not None:
            self._promises.interruptions += 1
            self._disturb(worker, disturbance)

    def _disturb(self, worker: MemoryWorker, disturbance: Disturbance) -> None:
        if disturbance.stop_s is not None:
            worker.door.stop()
            self._stage.server.clock.call_later(disturbance.stop_s, partial(_resume, worker))
            return
        worker.kill()
        if not any(one.is_alive for one in self._stage.workers):
            task = asyncio.get_running_loop().create_task(self._stage.open_worker())
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    def _played(self, took_s: float) -> Played:
        observer = self._stage.observer
        return Played(
            returned=self._returned,
            outcomes={run: self._promises.outcome(run) for run in observer.runs()},
            error=self._error,
            problems=tuple(self._promises.problems),
            taken=tuple(self._schedule.taken),
            interruptions=self._promises.interruptions,
            story="\n".join(f"run {run!r}:\n{in_lines(observer.turns(run))}" for run in observer.runs()),
            took_s=took_s,
        )


def _resume(worker: MemoryWorker) -> None:
    if worker.is_alive and worker.door.process.is_stopped:
        worker.door.resume()
