"""`crash_everywhere`: a workflow must survive a crash at every point."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar, cast

from typing_extensions import TypeVarTuple

from relight.errors import RefusedError
from relight.sdk._known_secrets import SecretProvider
from relight.sdk._workflow import Runnable, StartOptions, Workflow
from relight.testing.trial import Fakes, Point, Scenario, Story, Trial

__all__ = ("CrashFailure", "CrashReport", "crash_everywhere", "sweep")

R = TypeVar("R")
Ts = TypeVarTuple("Ts")

_OPERATIONS_MAX = 10_000

_TRIAL_S = 5.0
_TRIAL_TIMES = 20
"""A trial takes milliseconds. One that takes this long in real time, plus so many times what the undisturbed one took,
never ends."""

_WORKER_VARIANTS = [
    partial(Point, side="worker", moment="before", leases_freed=False),
    partial(Point, side="worker", moment="before", leases_freed=True),
    partial(Point, side="worker", moment="after", leases_freed=False),
    partial(Point, side="worker", moment="after", leases_freed=True),
]
_STEP_VARIANTS = [
    partial(Point, side="step", moment="after", leases_freed=False),
    partial(Point, side="step", moment="after", leases_freed=True),
]
_CLIENT_VARIANTS = [partial(Point, side="client", moment="before"), partial(Point, side="client", moment="after")]


class CrashFailure(AssertionError):
    """A promise did not hold after a crash. It names the operation, and shows the history."""


@dataclass(frozen=True, kw_only=True)
class CrashReport:
    """What was tried.

    Attributes:
        operations: Of the workers, when nothing goes wrong.
        crashes: How many trials had one.
    """

    operations: int
    crashes: int


async def crash_everywhere(
    workflow: Runnable[*Ts, R],
    /,
    *args: *Ts,
    answers: Mapping[str, object] | None = None,
    fakes: Fakes | None = None,
    signals: Sequence[tuple[str, object, str]] = (),
    story: Story | None = None,
    options: StartOptions | None = None,
    others: Sequence[Workflow[..., Any]] = (),
    deps: object = None,
    secrets: SecretProvider | None = None,
    workers: int = 2,
) -> CrashReport:
    """Run a workflow in memory again and again, and kill a process before and after each of its operations.

    First the workers, once with their leases freed at once and once redelivered later, also inside of steps, where they
    wait; then the client, which repeats what it did. No code of a killed process runs, no `finally` either. Each time
    the run must end as it does undisturbed, no step may begin after its outcome was recorded, the chain must hold,
    every unfinished run must have a cause that will wake it, and nothing may be left behind.

    Args:
        workflow: Its result and its steps' must not depend on chance or on time.
        args: Its arguments.
        answers: To suspensions, by name, given when they open.
        fakes: What runs in place of steps, by step or by name.
        signals: Name, data and id of what is sent right after the start.
        story: What else a client does; repeatable.
        options: Of the start.
        others: Workflows that steps or story start.
        deps: What `step.deps()` gives.
        secrets: Returns the value of a `Secret` by its name.
        workers: How many are at work; when all are dead another one comes.

    Raises:
        CrashFailure: A promise did not hold.
    """
    if not isinstance(workflow, Workflow):
        raise RefusedError(f"{workflow!r} is no workflow; decorate it with @workflow")
    scenario = Scenario(
        workflow=cast("Workflow[..., Any]", workflow), args=args, answers=answers or {}, fakes=fakes or {},
        signals=signals, story=story, options=options or StartOptions(), others=others, deps=deps,
        secrets=secrets,
    )  # fmt: skip
    return await sweep(scenario, workers=workers)


async def sweep(scenario: Scenario, *, workers: int) -> CrashReport:
    """Crash a scenario everywhere. Raises like `crash_everywhere`."""
    reference = Trial(scenario, workers=workers)
    expected = await reference.play()
    _check(scenario, reference, expected, expected)
    limit_s = _TRIAL_S + _TRIAL_TIMES * reference.took_s
    crashes = 0
    for variants in (_WORKER_VARIANTS, _STEP_VARIANTS, _CLIENT_VARIANTS):
        for number in range(1, _OPERATIONS_MAX):
            points = [variant(number=number) for variant in variants]
            trials = [Trial(scenario, point=point, workers=workers, limit_s=limit_s) for point in points]
            for trial in trials:
                _check(scenario, trial, await trial.play(), expected)
            died = sum(trial.killed_at is not None for trial in trials)
            crashes += died
            if died == 0:
                break
    return CrashReport(operations=reference.operations["worker"], crashes=crashes)


def _check(scenario: Scenario, trial: Trial, outcome: tuple[str, ...] | None, expected: tuple[str, ...] | None) -> None:
    problems = list(trial.problems)
    if outcome != expected:
        problems.append(f"it ended with {outcome}, undisturbed with {expected}")
    if problems:
        where = trial.killed_at or "nothing went wrong"
        said = "\n".join(f"  - {one}" for one in problems)
        raise CrashFailure(f"{scenario.workflow.name}, {where}:\n{said}\n{trial.story_so_far()}")
