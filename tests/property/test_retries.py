"""Whatever the attempts of a step come to, and whatever its policy: as many are made as it says, and not too soon."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from hypothesis import example, given, settings
from hypothesis import strategies as st

from relight import Retry, RetryAfter, RunFailed, TerminalError, WorkflowContext, step, workflow
from relight.testing.replaying import replay_history
from relight.testing.stage import Stage, stage_here

Outcome = Literal["works", "fails", "never", "terminal", "later"]
_LATER_S = 7.0


class NeverAgain(Exception):
    """One of `Retry.never`."""


@dataclass
class Script:
    """What the attempts come to, one after the other; further ones work."""

    outcomes: list[Outcome]
    bounds: Bounds
    made: list[tuple[int, int]] = field(default_factory=list[tuple[int, int]])


@step
async def act() -> str:
    script, stage = step.deps(Script), stage_here()
    assert stage is not None
    attempt = step.info().attempt
    script.made.append((attempt, stage.server.clock.now_ms()))
    match script.outcomes[attempt - 1] if attempt <= len(script.outcomes) else "works":
        case "fails":
            raise OSError(f"attempt {attempt}")
        case "never":
            raise NeverAgain
        case "terminal":
            raise TerminalError("no")
        case "later":
            raise RetryAfter(_LATER_S)
        case "works":
            return f"worked at {attempt}"


@dataclass(frozen=True)
class Bounds:
    """A policy as an argument."""

    attempts: int | None
    delay_s: float
    factor: float
    delay_max_s: float
    jitter: float


@workflow
async def acts(ctx: WorkflowContext, bounds: Bounds) -> str:
    retry = Retry(
        attempts=bounds.attempts, delay=bounds.delay_s, factor=bounds.factor, delay_max=bounds.delay_max_s,
        jitter=bounds.jitter, never=(NeverAgain,),
    )  # fmt: skip
    return await act.options(retry=retry)()


class Expected(NamedTuple):
    attempts: int
    works: bool
    pauses_s: list[tuple[float, float]]


def expected_of(script: Script) -> Expected:
    """The model: how many attempts there are, whether the last one works, and the bounds of the pauses in between."""
    bounds, pauses_s = script.bounds, list[tuple[float, float]]()
    for attempt, outcome in enumerate([*script.outcomes, "works"], 1):
        if outcome in ("works", "never", "terminal") or attempt == bounds.attempts:
            return Expected(attempt, outcome == "works", pauses_s)
        delay_s = min(bounds.delay_s * bounds.factor ** (attempt - 1), bounds.delay_max_s)
        pause_s = (delay_s * (1 - bounds.jitter), delay_s * (1 + bounds.jitter))
        pauses_s.append((_LATER_S, _LATER_S) if outcome == "later" else pause_s)
    raise AssertionError("further attempts work")


policies = st.builds(
    Bounds,
    attempts=st.none() | st.integers(1, 6),
    delay_s=st.sampled_from([0.0, 0.3, 1.5, 40.0]),
    factor=st.sampled_from([1.0, 2.0, 10.0]),
    delay_max_s=st.sampled_from([0.5, 60.0, 4_000.0]),
    jitter=st.sampled_from([0.0, 0.1, 1.0]),
)
_OUTCOMES: list[Outcome] = ["fails", "fails", "fails", "later", "works", "never", "terminal"]


_TWICE = Bounds(attempts=2, delay_s=1.5, factor=2.0, delay_max_s=60.0, jitter=0.0)


@example(bounds=_TWICE, outcomes=["fails", "fails", "fails"])
@given(bounds=policies, outcomes=st.lists(st.sampled_from(_OUTCOMES), max_size=7))
@settings(max_examples=50, deadline=None)
def test_the_attempts_are_those_of_the_policy(bounds: Bounds, outcomes: list[Outcome]) -> None:
    script = Script(outcomes, bounds)
    expected = expected_of(script)

    assert asyncio.run(played(script)) is expected.works

    assert [attempt for attempt, _ in script.made] == list(range(1, expected.attempts + 1))
    times_ms = [at_ms for _, at_ms in script.made]
    for before_ms, after_ms, (least_s, most_s) in zip(times_ms, times_ms[1:], expected.pauses_s, strict=False):
        assert least_s - 0.01 <= (after_ms - before_ms) / 1000 <= most_s + 0.01


async def played(script: Script) -> bool:
    """Run the workflow; whether its step worked in the end. Its replay comes to the same."""
    async with Stage([acts], deps=script) as stage:
        await stage.open_worker()
        run = await stage.client.start(acts, script.bounds)
        try:
            result = await run.result()
        except RunFailed:
            result = ""
        made = list(script.made)
        replay_history([acts], run.id, stage.observer.turns(run.id))
        assert script.made == made, "a replay executes nothing"
    return result == f"worked at {len(made)}"
