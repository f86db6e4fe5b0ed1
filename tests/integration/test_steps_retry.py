"""Attempts of steps: when they are repeated, how often, how long, and what the workflow sees in the end."""

from __future__ import annotations

import asyncio
import re
import time
from datetime import timedelta
from typing import Any

import pytest
from tests.runs import kinds, recorded, suspended, turns, until

from relight import (
    Effect,
    Relight,
    Retry,
    RetryAfter,
    Run,
    RunFailed,
    StepCancelled,
    StepFailed,
    TerminalError,
    Worker,
    WorkflowContext,
    step,
    workflow,
)
from relight.subjects import records as r
from relight.testing import TestEnvironment
from relight.testing.stage import Stage

attempts: list[str] = []


@pytest.fixture(autouse=True)
def no_attempts() -> None:
    attempts.clear()


class CardDeclined(Exception):
    pass


class LimitReached(CardDeclined):
    pass


def note() -> int:
    info = step.info()
    attempts.append(f"{info.attempt} {info.idempotency_key}")
    return info.attempt


@step(retry=Retry(attempts=4, delay=2, factor=3, delay_max=10, jitter=0))
async def succeeds_at_the_fourth() -> int:
    if note() < 4:
        raise CardDeclined("not yet")
    return step.info().attempt


@workflow
async def patient(ctx: WorkflowContext) -> int:
    return await succeeds_at_the_fourth()


async def delays_s(client: Relight, run: Run[Any]) -> list[float]:
    """From each failed attempt to the next one's due time."""
    return [
        (record.retry_at_ms - turn.at_ms) / 1000
        for turn in await turns(client, run)
        for record in turn.records
        if isinstance(record, r.StepAttemptFailed)
    ]


async def test_delays_grow_by_the_factor_up_to_the_bound() -> None:
    async with TestEnvironment([patient]) as env:
        run = await env.start(patient)

        assert await run.result() == 4
        assert await delays_s(env.client, run) == [2, 6, 10]


async def test_the_idempotency_key_is_the_same_for_every_attempt_and_worker(client: Relight) -> None:
    @step(retry=Retry(attempts=3, delay=0.01))
    async def fails_twice(text: str) -> None:
        if note() < 3:
            raise CardDeclined

    @workflow
    async def two_calls(ctx: WorkflowContext) -> None:
        await fails_twice("a")
        await ctx.suspend("pause")
        await fails_twice("a")

    run = await client.start(two_calls, id="keys")
    async with Worker(client, [two_calls]):
        await suspended(run, "pause")
    async with Worker(client, [two_calls]):
        await run.resume("pause")
        await run.result(timeout=10)

    assert attempts == [f"{n} keys:fails_twice#{call}" for call in (1, 2) for n in (1, 2, 3)]


async def test_the_jitter_spreads_delays_by_its_share() -> None:
    @step(retry=Retry(attempts=30, delay=100, factor=1, delay_max=100, jitter=0.2))
    async def never_succeeds() -> None:
        raise CardDeclined

    @workflow
    async def stubborn(ctx: WorkflowContext) -> None:
        await never_succeeds()

    async with TestEnvironment([stubborn]) as env:
        run = await env.start(stubborn)
        with pytest.raises(RunFailed):
            await run.result()
        delays = await delays_s(env.client, run)

    assert len(delays) == 29
    assert all(80 <= one <= 120 for one in delays)
    assert max(delays) - min(delays) > 5


async def test_attempts_none_repeats_for_ever() -> None:
    @step(retry=Retry(attempts=None, delay=3600, delay_max=3600))
    async def needs_many() -> int:
        if note() < 200:
            raise CardDeclined
        return step.info().attempt

    @workflow
    async def stubborn(ctx: WorkflowContext) -> int:
        return await needs_many()

    async with TestEnvironment([stubborn]) as env:
        assert await (await env.start(stubborn)).result() == 200


@step(retry=Retry(attempts=5, delay=0.01, never=(CardDeclined,)))
async def declined(how: str) -> None:
    note()
    if how == "never":
        raise LimitReached("above the limit")
    if how == "terminal":
        raise TerminalError("no use")
    raise ValueError("bad luck")


@workflow
async def pays(ctx: WorkflowContext, how: str) -> str:
    try:
        await declined(how)
    except StepFailed as error:
        matches = [error.matches(one) for one in (CardDeclined, LimitReached, ValueError, Exception)]
        branch = f"{error.error_type.rsplit('.', 1)[1]} {error} {error.step} {matches}"
        await ctx.suspend("pause", branch)
        return f"{branch} {'Traceback' in error.traceback}"
    return "paid"


@pytest.mark.parametrize(
    ("how", "count", "branch"),
    [
        ("never", 1, "LimitReached above the limit declined#1 [True, True, False, True] True"),
        ("terminal", 1, "TerminalError no use declined#1 [False, False, False, True] True"),
        ("other", 5, "ValueError bad luck declined#1 [False, False, True, True] True"),
    ],
)
async def test_a_step_that_failed_for_good_takes_the_same_branch_live_and_in_replay(
    client: Relight, how: str, count: int, branch: str
) -> None:
    run = await client.start(pays, how)
    async with Worker(client, [pays]):
        await suspended(run, "pause")

    async with Worker(client, [pays]):
        await run.resume("pause")
        assert await run.result(timeout=10) == branch

    assert len(attempts) == count
    [shown] = await recorded(client, run, r.Suspended)
    assert bytes(shown.data).decode()[1:-1] == branch.rsplit(" ", 1)[0]


async def test_retry_after_sets_the_delay_itself() -> None:
    @step(retry=Retry(attempts=3, delay=1, delay_max=2))
    async def told_to_wait() -> str:
        if note() == 1:
            raise RetryAfter(timedelta(minutes=10), "busy")
        return "ok"

    @workflow
    async def polite(ctx: WorkflowContext) -> str:
        return await told_to_wait()

    async with TestEnvironment([polite]) as env:
        run = await env.start(polite)

        assert await run.result() == "ok"
        assert await delays_s(env.client, run) == [600]


async def test_an_attempt_that_takes_too_long_is_cancelled_and_repeated(client: Relight) -> None:
    @step(retry=Retry(attempts=2, delay=0.01), timeout=0.05)
    async def hangs_once() -> str:
        if note() == 1:
            await asyncio.Event().wait()
        return "second"

    @workflow
    async def waits(ctx: WorkflowContext) -> str:
        return await hangs_once()

    async with Worker(client, [waits]):
        run = await client.start(waits)
        assert await run.result(timeout=10) == "second"

    [failed] = await recorded(client, run, r.StepAttemptFailed)
    assert failed.error.type == "builtins.TimeoutError"
    assert failed.error.message == "attempt 1 took longer than 0.05 s"


async def test_a_thread_that_takes_too_long_is_told_at_its_next_heartbeat(client: Relight) -> None:
    told: list[type[BaseException]] = []

    @step(retry=Retry(attempts=1), timeout=0.05)
    def hangs() -> None:
        while True:
            time.sleep(0.01)
            try:
                step.heartbeat()
            except BaseException as error:
                told.append(type(error))
                raise

    @workflow
    async def waits(ctx: WorkflowContext) -> None:
        await hangs()

    async with Worker(client, [waits]):
        with pytest.raises(RunFailed, match="took longer than"):
            await client.call(waits)
        async with asyncio.timeout(5):
            while not told:
                await asyncio.sleep(0.005)

    assert told == [StepCancelled]


async def test_the_total_timeout_covers_all_attempts_and_the_waits_between_them() -> None:
    @step(retry=Retry(attempts=None, delay=10, factor=1, jitter=0), total_timeout=35)
    async def never_succeeds() -> None:
        note()
        raise CardDeclined("no")

    @workflow
    async def limited(ctx: WorkflowContext) -> str:
        try:
            await never_succeeds()
        except StepFailed as error:
            return str(error)
        return "?"

    async with TestEnvironment([limited]) as env:
        assert await (await env.start(limited)).result() == "no"

    assert len(attempts) == 4


async def test_the_total_timeout_ends_an_attempt_under_way(client: Relight) -> None:
    @step(total_timeout=0.05)
    async def hangs() -> None:
        note()
        await asyncio.Event().wait()

    @workflow
    async def waits(ctx: WorkflowContext) -> None:
        await hangs()

    async with Worker(client, [waits]):
        with pytest.raises(RunFailed):
            await client.call(waits)

    assert len(attempts) == 1


async def test_the_next_attempt_reads_the_last_heartbeat(client: Relight) -> None:
    @step(retry=Retry(attempts=2, delay=0.01))
    async def goes_on() -> list[int]:
        done = step.last_heartbeat(list[int]) or []
        step.heartbeat([*done, 1])
        step.heartbeat([*done, 1, 2])
        if step.info().attempt == 1:
            raise CardDeclined
        return done

    @step(retry=Retry(attempts=2, delay=0.01))
    def goes_on_in_a_thread() -> list[int]:
        done = step.last_heartbeat(list[int]) or []
        step.heartbeat([*done, 3])
        if step.info().attempt == 1:
            raise CardDeclined
        return done

    @workflow
    async def works(ctx: WorkflowContext) -> list[list[int]]:
        return [await goes_on(), await goes_on_in_a_thread()]

    async with Worker(client, [works]):
        assert await client.call(works) == [[1, 2], [3]]


async def test_heartbeats_of_a_step_that_goes_on_for_hours_do_not_fill_the_history() -> None:
    @step
    async def copies_for_hours() -> int:
        for row in range(4 * 3_600):
            step.heartbeat(row)
            await env.sleep(1)
        return 4

    @workflow
    async def copies(ctx: WorkflowContext) -> int:
        return await copies_for_hours()

    async with TestEnvironment([copies]) as env:
        run = await env.start(copies)
        recorded: list[int] = []
        for _ in range(4):
            await env.skip(3_599)
            recorded.append((await run.describe()).history_records)

        await env.skip(60)
        assert await run.result() == 4
    assert recorded[0] > 1_000, "each second at first"
    assert recorded[3] < 3_000


async def test_a_parked_run_records_no_heartbeats() -> None:
    @step(retry=Retry(attempts=1), on_exhausted="park")
    async def gives_up() -> None:
        raise CardDeclined

    @step
    async def goes_on() -> int:
        for row in range(600):
            step.heartbeat(row)
            await env.sleep(1)
        return 600

    @workflow
    async def both(ctx: WorkflowContext) -> int:
        _, rows = await asyncio.gather(gives_up(), goes_on())
        return rows

    async with TestEnvironment([both]) as env:
        run = await env.start(both)
        await env.skip(300)
        described = await run.describe()

    assert described.status == "parked"
    assert described.history_records < 20


async def test_heartbeat_details_and_the_idempotency_key_survive_a_kill() -> None:
    @step
    async def copies_rows() -> str:
        note()
        done = step.last_heartbeat(int)
        if done is None:
            step.heartbeat(41)
            await asyncio.Event().wait()
        return f"went on after {done}"

    @workflow
    async def copies(ctx: WorkflowContext) -> str:
        return await copies_rows()

    async with Stage([copies]) as stage:
        first = await stage.open_worker()
        run = await stage.client.start(copies, id="copy")
        await stage.until(lambda: any(isinstance(one, r.StepHeartbeat) for one in stage.observer.records(run.id)))

        first.kill()
        await stage.open_worker()

        assert await run.result() == "went on after 41"
    assert attempts == ["1 copy:copies_rows#1"] * 2


async def attempted(count: int) -> None:
    async with asyncio.timeout(10):
        while len(attempts) < count:
            await asyncio.sleep(0.005)


async def test_a_long_retry_wait_is_a_durable_timer_and_holds_no_worker(client: Relight) -> None:
    @step(retry=Retry(attempts=2, delay=1.5, jitter=0))
    async def fails_once() -> int:
        if note() == 1:
            raise CardDeclined("later")
        return step.info().attempt

    @workflow
    async def waits(ctx: WorkflowContext) -> int:
        return await fails_once()

    worker = Worker(client, [waits])
    async with worker:
        run = await client.start(waits)
        described = await until(run, lambda described: described.attempt == 2)
        assert described.status == "waiting"
        assert described.waits_for[0].startswith("attempt 2 of step fails_once#1 at ")
        assert described.last_error == f"{__name__}.CardDeclined: later"
    async with Worker(client, [waits]):
        assert await run.result(timeout=10) == 2


@step(retry=Retry(attempts=2, delay=0.01), on_exhausted="park")
async def breaks_until_fixed() -> str:
    note()
    if not is_fixed:
        raise CardDeclined("broken")
    return "fixed"


is_fixed: list[bool] = []


@workflow
async def careful(ctx: WorkflowContext) -> str:
    try:
        return await breaks_until_fixed()
    except StepFailed as error:
        return f"caught {error}"


async def test_exhausted_retries_park_the_run_and_retry_lets_it_go_on(client: Relight) -> None:
    is_fixed.clear()
    async with Worker(client, [careful]):
        run = await client.start(careful)
        described = await until(run, lambda described: described.status == "parked")
        assert described.parked == "retries_exhausted"
        assert "broken" in str(described.last_error)
        assert len(attempts) == 2

        is_fixed.append(True)
        await run.retry()

        assert await run.result(timeout=10) == "fixed"
    assert len(attempts) == 3


async def test_a_person_may_fail_a_step_whose_retries_are_used_up(client: Relight) -> None:
    is_fixed.clear()
    async with Worker(client, [careful]):
        run = await client.start(careful)
        await until(run, lambda described: described.status == "parked")

        await run.resolve("breaks_until_fixed", error="given up")

        assert await run.result(timeout=10) == "caught given up"


@step(effect="unsafe", retry=Retry(attempts=1))
async def sends_money() -> str:
    note()
    if holds:
        await asyncio.Event().wait()
    return "sent"


holds: list[bool] = []


@workflow
async def transfers(ctx: WorkflowContext) -> str:
    try:
        return f"step said {await sends_money()}"
    except StepFailed as error:
        return f"failed: {error}"


async def test_an_unsafe_step_writes_its_start_before_it_runs(client: Relight) -> None:
    holds.clear()
    async with Worker(client, [transfers]):
        run = await client.start(transfers)
        assert await run.result(timeout=10) == "step said sent"

    assert await kinds(run) == ["RunStarted", "StepScheduled", "StepStarted", "StepCompleted", "RunCompleted"]
    written = [turn for turn in await turns(client, run) if any(isinstance(one, r.StepStarted) for one in turn.records)]
    assert not any(isinstance(one, r.StepCompleted) for one in written[0].records)


@pytest.mark.parametrize(
    ("resolution", "result", "count"),
    [
        ({"result": "sent, says the bank"}, "step said sent, says the bank", 1),
        ({"error": "never arrived"}, "failed: never arrived", 1),
        ({"rerun": True}, "step said sent", 2),
    ],
)
async def test_an_interrupted_unsafe_step_parks_the_run_until_a_person_says_what_happened(
    resolution: dict[str, Any], result: str, count: int
) -> None:
    holds[:] = [True]
    async with Stage([transfers]) as stage:
        first = await stage.open_worker()
        run = await stage.client.start(transfers)
        await attempted(1)

        first.kill()
        await stage.open_worker()
        await stage.until(lambda: stage.observer.state(run.id).parked is not None)

        holds.clear()
        described = await run.describe()
        assert described.status == "parked"
        assert described.parked == "unknown_outcome"
        assert described.last_error == "unknown_outcome: step sends_money#1 was interrupted: did it happen?"
        await run.resolve("sends_money#1", **resolution)

        assert await run.result() == result
    assert len(attempts) == count


@workflow
async def transfers_repeatably(ctx: WorkflowContext, effect: Effect) -> str:
    return await sends_money.options(effect=effect)()


@pytest.mark.parametrize("effect", ["read", "idempotent"])
async def test_an_interrupted_step_of_another_effect_runs_again_unasked(effect: Effect) -> None:
    holds[:] = [True]
    async with Stage([transfers_repeatably]) as stage:
        first = await stage.open_worker()
        run = await stage.client.start(transfers_repeatably, effect, id="run")
        await attempted(1)

        holds.clear()
        first.kill()
        await stage.open_worker()

        assert await run.result() == "sent"
        assert "Parked" not in await kinds(run)
    assert attempts == ["1 run:sends_money#1"] * 2


@step(retry=Retry(attempts=2))
async def is_told_to_wait(delay: str) -> None:
    note()
    raise RetryAfter(float(delay), "busy")


@workflow
async def waits_for_ever(ctx: WorkflowContext, delay: str) -> None:
    await is_told_to_wait(delay)


@pytest.mark.parametrize("delay", ["inf", "nan", "-1.0", "1e+300"])
async def test_a_delay_that_is_none_fails_the_step_at_once(delay: str) -> None:
    async with TestEnvironment([waits_for_ever]) as env:
        run = await env.start(waits_for_ever, delay)

        with pytest.raises(RunFailed, match=f"RetryAfter: {re.escape(delay)} s is out of range; pass 0 seconds to 100"):
            await run.result()
    assert len(attempts) == 1
