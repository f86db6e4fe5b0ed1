"""`TestEnvironment`: what a user's test may rely on."""

from __future__ import annotations

import asyncio
import sys
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from time import monotonic
from types import ModuleType
from typing import Any

import pytest

from relight import (
    NonDeterminismError,
    Record,
    RefusedError,
    RelightError,
    Retry,
    RunFailed,
    StepFailed,
    WaitTimedOut,
    Workflow,
    WorkflowContext,
    step,
    workflow,
)
from relight.testing import StalledError, TestEnvironment, replay


@dataclass
class Deps:
    price: int


@step
async def charge(customer: str, cents: int) -> str:
    return f"{customer} paid {cents + step.deps(Deps).price}"


@step
def in_thread(text: str) -> str:
    return text.upper()


@step
async def outer_step(customer: str) -> str:
    return await charge(customer, 1)


@workflow
async def order(ctx: WorkflowContext, customer: str, cents: int = 5) -> str:
    paid = await charge(customer, cents)
    answer = await ctx.suspend("review", {"paid": paid}, type=str, timeout=timedelta(days=3))
    await ctx.sleep(timedelta(days=365))
    return f"{paid}, {answer}, {await in_thread('sent')}"


@workflow
async def calls_a_step_in_a_step(ctx: WorkflowContext) -> str:
    return await outer_step("ann")


@workflow
async def waits_for_ever(ctx: WorkflowContext) -> str:
    return await ctx.wait_for_signal("never", type=str)


async def test_a_year_of_sleeps_takes_milliseconds() -> None:
    async with TestEnvironment([order], deps=Deps(price=2)) as env:
        run = await env.start(order, "ann")
        await env.until(run, suspended="review")
        await run.resume("review", "fine")
        began = monotonic()

        assert await run.result() == "ann paid 7, fine, SENT"

        assert monotonic() - began < 2
        await env.replay(run)


async def test_time_stands_still_while_nobody_waits() -> None:
    async with TestEnvironment([order], deps=Deps(price=2)) as env:
        run = await env.start(order, "ann")
        await env.until(run, suspended="review")

        await asyncio.sleep(0.02)

        assert (await run.describe()).suspended == ("review",)


async def test_a_suspension_that_nobody_answers_times_out_at_once() -> None:
    async with TestEnvironment([order], deps=Deps(price=2)) as env:
        run = await env.start(order, "ann")

        with pytest.raises(RunFailed, match="had no answer within 259200 s"):
            await run.result()


async def test_fakes_may_be_sync_or_async_or_decorated_and_see_the_arguments() -> None:
    async with TestEnvironment([order]) as env:
        env.fake(charge)(lambda customer, cents: f"{customer} {cents}")

        @env.fake(in_thread)
        async def shouted(text: str) -> str:
            await env.sleep(60)
            return text + "!"

        run = await env.start(order, "ann", 3)
        await env.until(run, suspended="review")
        await run.resume("review", "fine")

        assert await run.result() == "ann 3, fine, sent!"


async def test_a_fake_stands_in_for_a_step_that_a_step_calls() -> None:
    async with TestEnvironment([calls_a_step_in_a_step]) as env:
        env.fake(charge)(lambda customer, cents: "faked")

        run = await env.start(calls_a_step_in_a_step)

        assert await run.result() == "faked"


async def test_a_fake_that_returns_the_wrong_type_fails_the_step() -> None:
    async with TestEnvironment([calls_a_step_in_a_step]) as env:
        env.fake(outer_step)(lambda customer: 3)  # type: ignore[arg-type,return-value]  # pyright: ignore  # the point

        run = await env.start(calls_a_step_in_a_step)

        with pytest.raises(RunFailed):
            await run.result()


async def test_waiting_for_what_can_never_happen_is_an_error_that_says_why() -> None:
    async with TestEnvironment([waits_for_ever]) as env:
        run = await env.start(waits_for_ever)

        with pytest.raises(StalledError, match="waits for signal 'never' since"):
            await run.result()


async def test_after_that_error_the_run_can_still_go_on() -> None:
    async with TestEnvironment([waits_for_ever]) as env:
        run = await env.start(waits_for_ever)
        with pytest.raises(StalledError):
            await run.result()

        await run.signal("never", "after all")

        assert await run.result() == "after all"


async def test_until_says_in_one_line_that_the_run_has_ended() -> None:
    async with TestEnvironment([calls_a_step_in_a_step]) as env:
        env.fake(charge)(lambda customer, cents: "faked")
        run = await env.start(calls_a_step_in_a_step)

        with pytest.raises(RelightError, match=r"is completed, not suspended as 'review'$"):
            await env.until(run, suspended="review")


async def test_until_says_in_one_line_that_the_run_waits_for_something_else() -> None:
    async with TestEnvironment([waits_for_ever]) as env:
        run = await env.start(waits_for_ever)

        with pytest.raises(StalledError, match=r"never suspended as 'review': .*waits for signal 'never'"):
            await env.until(run, suspended="review")


async def test_a_workflow_that_the_environment_does_not_have_is_refused() -> None:
    async with TestEnvironment([order]) as env:
        with pytest.raises(RefusedError, match=r"waits_for_ever.* is not in this environment"):
            await env.start(waits_for_ever)


@step(retry=Retry(attempts=2, delay=600))
async def fails_once(path: list[str]) -> str:
    if step.info().attempt == 1:
        raise ConnectionError("away")
    return "there"


@step
async def really_waits() -> float:
    began = monotonic()
    await asyncio.sleep(0.05)
    return monotonic() - began


@workflow
async def races(ctx: WorkflowContext) -> float:
    async with asyncio.timeout(10):
        return await really_waits()


async def test_a_step_that_really_waits_is_not_skipped_over() -> None:
    async with TestEnvironment([races]) as env:
        run = await env.start(races)

        assert await run.result() >= 0.05


@workflow
async def gives_up(ctx: WorkflowContext) -> str:
    try:
        async with asyncio.timeout(10):
            await really_waits()
    except TimeoutError:
        return "gave up"
    return "in time"


async def test_a_fake_that_takes_its_time_loses_against_a_shorter_timeout() -> None:
    async with TestEnvironment([gives_up]) as env:

        @env.fake(really_waits)
        async def slow() -> float:
            await env.sleep(60)
            return 60.0

        run = await env.start(gives_up)

        assert await run.result() == "gave up"


@workflow
async def retries(ctx: WorkflowContext) -> str:
    return await fails_once([])


async def test_long_waits_between_attempts_pass_at_once() -> None:
    async with TestEnvironment([retries]) as env:
        run = await env.start(retries)

        assert await run.result() == "there"
        await env.replay(run)


_second = "second"


@step
async def first() -> int:
    return 1


@step
async def second() -> int:
    return 2


@workflow
async def changes(ctx: WorkflowContext) -> int:
    return await first() + await (second() if _second == "second" else first())


async def test_replay_names_both_sides_of_a_difference(monkeypatch: pytest.MonkeyPatch) -> None:
    async with TestEnvironment([changes]) as env:
        run = await env.start(changes)
        assert await run.result() == 3

        monkeypatch.setitem(globals(), "_second", "first")

        with pytest.raises(
            NonDeterminismError,
            match=r"recorded step second#1 .*test_testing_environment.py:\d+.*"
            r"asks for step first#2 .*test_testing_environment.py:\d+",
        ):
            await env.replay(run)


@workflow
async def ends_otherwise(ctx: WorkflowContext) -> str:
    return _second


async def test_replay_refuses_another_end(monkeypatch: pytest.MonkeyPatch) -> None:
    async with TestEnvironment([ends_otherwise]) as env:
        run = await env.start(ends_otherwise)
        assert await run.result() == "second"

        monkeypatch.setitem(globals(), "_second", "first")

        with pytest.raises(NonDeterminismError, match=r'with result "second"; .* with result "first"'):
            await env.replay(run)


@workflow
async def catches(ctx: WorkflowContext) -> str:
    try:
        return await ctx.wait_for_signal("late", type=str, timeout=30)
    except WaitTimedOut as error:
        return str(error)
    except StepFailed:
        raise


async def test_history_can_be_followed_to_the_end() -> None:
    async with TestEnvironment([catches]) as env:
        run = await env.start(catches)

        kinds = [record.kind async for record in run.history(follow=True)]

        assert kinds[0] == "RunStarted"
        assert kinds[-1] == "RunCompleted"


async def test_a_run_that_is_stuck_does_not_hang_who_waits_for_it() -> None:
    @workflow
    async def spins(ctx: WorkflowContext) -> None:
        while True:
            await asyncio.sleep(0)

    async with TestEnvironment([spins]) as env:
        run = await env.start(spins)

        with pytest.raises(StalledError, match="stuck"):
            await run.result()


@step(retry=Retry(attempts=1), on_exhausted="park")
async def is_exhausted() -> None:
    raise ValueError("no more")


@workflow
async def parks(ctx: WorkflowContext) -> None:
    await is_exhausted()


async def test_skipped_time_returns_when_all_that_was_due_has_happened() -> None:
    async with TestEnvironment([order], deps=Deps(price=2)) as env:
        run = await env.start(order, "ann")

        await env.skip(timedelta(days=3) - timedelta(seconds=1))
        before = (await run.describe()).status
        await env.skip(1)
        after = (await run.describe()).status

    assert (before, after) == ("waiting", "failed")


async def test_time_can_be_skipped_when_nothing_is_due() -> None:
    async with TestEnvironment([order]) as env:
        await env.skip(timedelta(days=365))
        await env.skip(0)


async def test_time_can_be_skipped_when_all_runs_are_parked() -> None:
    async with TestEnvironment([parks]) as env:
        run = await env.start(parks)

        await env.skip(timedelta(minutes=1))

        assert (await run.describe()).status == "parked"


async def test_a_step_can_be_faked_by_its_name() -> None:
    async with TestEnvironment([calls_a_step_in_a_step]) as env:

        @env.fake("charge")
        def _(customer: str, cents: int) -> str:
            return f"{customer} by name"

        assert await (await env.start(calls_a_step_in_a_step)).result() == "ann by name"


async def executed(seed: int | None) -> list[int]:
    """In which order the steps of five runs are executed."""
    order: list[int] = []
    async with TestEnvironment([charges]) as env:

        @env.fake(charge)
        def _(customer: str, cents: int) -> str:
            order.append(cents)
            return "paid"

        if seed is not None:
            env.disturb(seed)
        runs = [await env.start(charges, number) for number in range(5)]
        assert [await run.result() for run in runs] == ["paid"] * 5
    return order


@workflow
async def charges(ctx: WorkflowContext, number: int) -> str:
    return await charge("ann", number)


async def test_disturbed_messages_overtake_each_other_alike_for_each_seed() -> None:
    undisturbed = await executed(None)

    orders = [await executed(seed) for seed in range(5)]

    assert undisturbed == [0, 1, 2, 3, 4]
    assert any(order != undisturbed for order in orders)
    assert [await executed(seed) for seed in range(5)] == orders


async def test_an_environment_may_be_opened_while_another_one_is() -> None:
    async with TestEnvironment([retries]) as outer, TestEnvironment([retries]) as inner:
        await inner.skip(1)
        run = await outer.start(retries)

        assert await run.result() == "there"


async def recorded(workflow: Workflow[[], Any]) -> list[Record]:
    async with TestEnvironment([workflow]) as env:
        run = await env.start(workflow)
        await run.result()
        return [record async for record in run.history()]


async def test_a_history_replays_on_the_workflow_that_a_loaded_module_has(monkeypatch: pytest.MonkeyPatch) -> None:
    history = await recorded(changes)
    replay(history, workflows=[changes])

    monkeypatch.setitem(globals(), "_second", "first")

    with pytest.raises(NonDeterminismError, match="recorded step second#1"):
        replay(history, workflows=[changes])


async def test_a_whole_history_of_a_known_workflow_is_asked_for(tmp_path: Path) -> None:
    history = await recorded(changes)
    (tmp_path / "no-history").write_text("{}")

    with pytest.raises(RefusedError, match=r"0 workflows are named 'changes'; import its module, or pass workflows"):
        replay(history, workflows=[order])
    with pytest.raises(RefusedError, match="does not begin with RunStarted"):
        replay(history[1:])
    with pytest.raises(RefusedError, match="without records"):
        replay([])
    with pytest.raises(RefusedError, match="is no recorded history"):
        replay(tmp_path / "no-history")


async def test_a_workflow_is_found_by_its_name_in_the_modules_that_are_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    history = await recorded(changes)
    module = ModuleType("app")
    module.changes = changes  # type: ignore[attr-defined]  # a module has what it is given
    monkeypatch.setitem(sys.modules, "app", module)

    replay(history)

    monkeypatch.setattr(module, "other", Workflow(changes.function, {}), raising=False)
    with pytest.raises(RefusedError, match="2 workflows are named 'changes'; pass workflows"):
        replay(history)


async def test_the_history_of_a_fork_that_has_not_gone_on_replays() -> None:
    async with TestEnvironment([changes]) as env:
        run = await env.start(changes)
        await run.result()
        fork = await run.fork(after="first#1")
        history = [record async for record in fork.history()]

        replay(history, workflows=[changes])
        await env.replay(fork)

        assert await fork.result() == 3


async def test_modules_whose_import_is_forbidden_are_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    history = await recorded(changes)
    module = ModuleType("app")
    module.changes = changes  # type: ignore[attr-defined]  # a module has what it is given
    monkeypatch.setitem(sys.modules, "app", module)
    monkeypatch.setitem(sys.modules, "forbidden", None)

    replay(history)


@step
async def large(length: int) -> str:
    return "x" * length


@workflow
async def returns_a_length(ctx: WorkflowContext, length: int) -> int:
    return len(await large(length))


async def test_settings_hold_for_workers_as_for_clients(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RELIGHT_VALUE_BYTES_MAX", "2000")

    async with TestEnvironment([returns_a_length]) as env:
        run = await env.start(returns_a_length, 5000)

        with pytest.raises(RunFailed, match="5002 bytes"):
            await run.result()
