"""Steps whose attempts are used up wait for a person, whatever else the run is parked for and let go on from."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest
from tests.crash.workers_in_memory import WorkersInMemory

from relight import Retry, RunCancelled, WorkflowContext, step, workflow
from relight.actors.run.draft import Draft
from relight.actors.run.state import fold
from relight.config.limits import LIMITS
from relight.errors import RefusedError
from relight.sdk._execution import Launcher
from relight.sdk._programs import WorkflowPrograms
from relight.subjects import records as r
from relight.subjects.turn import GENESIS, VERSION, Turn
from relight.testing import replay

paid: list[int] = []


@pytest.fixture(autouse=True)
def nothing_yet() -> None:
    paid.clear()


@step(effect="unsafe", retry=Retry(attempts=1), on_exhausted="park")
async def pays(number: int) -> str:
    paid.append(number)
    raise OSError(f"payment {number} may have happened")


@workflow
async def pays_twice(ctx: WorkflowContext) -> list[str]:
    return list(await asyncio.gather(pays(1), pays(2)))


async def parked(site: WorkersInMemory, run: str) -> r.Parked:
    """Return for what the run is parked, once it is."""
    await site.pass_time(3)
    state = fold((turn.at_ms, turn.records) for turn in site.turns(run))
    assert state.parked is not None
    return state.parked


async def test_a_decision_on_one_step_does_not_run_another_one_again(site: WorkersInMemory) -> None:
    await site.add(pays_twice)
    run = await site.result(site.client.start(pays_twice))
    first = await parked(site, run.id)
    with pytest.raises(RefusedError):
        await site.result(run.resolve("pays#2", result="not asked about yet"))

    await site.result(run.resolve("pays#1", result="one"))
    second = await parked(site, run.id)
    await site.result(run.resolve("pays#2", result="two"))

    assert await site.result(run.result()) == ["one", "two"]
    assert [(one.reason, one.step) for one in (first, second)] == [
        ("retries_exhausted", "pays#1"),
        ("retries_exhausted", "pays#2"),
    ]
    assert second.message == "pays#2: builtins.OSError: payment 2 may have happened"
    assert paid == [1, 2]
    replay([one async for one in run.history()], workflows=[pays_twice])


async def test_who_takes_the_run_over_asks_about_the_next_one(site: WorkersInMemory) -> None:
    worker = await site.add(pays_twice)
    run = await site.result(site.client.start(pays_twice))
    await parked(site, run.id)
    worker.kill()
    await site.add(pays_twice)

    await site.result(run.resolve("pays#1", rerun=True))
    second = await parked(site, run.id)
    assert paid == [1, 2], "the run is held until both are decided on"
    await site.result(run.resolve("pays#2", result="two"))
    again = await parked(site, run.id)

    assert (second.step, again.step) == ("pays#2", "pays#1")
    assert paid == [1, 2, 1]


@workflow(name="pays")
async def pays_and_waits(ctx: WorkflowContext) -> str:
    paying = asyncio.ensure_future(pays(1))
    await ctx.wait_for_signal("go", type=str)
    return await paying


@workflow(name="pays")
async def pays_otherwise(ctx: WorkflowContext) -> str:
    return await pays(2)


@pytest.mark.parametrize("by", ["new code", "retry"])
async def test_a_run_that_was_stuck_on_other_code_meanwhile_does_not_run_it_again(
    site: WorkersInMemory, by: str
) -> None:
    worker = await site.add(pays_and_waits)
    run = await site.result(site.client.start(pays_and_waits))
    assert (await parked(site, run.id)).reason == "retries_exhausted"
    worker.kill()
    worker = await site.add(pays_otherwise, code="other")
    await site.result(run.signal("go", "on"))
    assert (await parked(site, run.id)).reason == "stuck"
    worker.kill()
    await site.add(pays_and_waits, code="code" if by == "new code" else "other")
    if by == "retry":
        await site.result(run.retry())
    else:
        await site.pass_time(LIMITS.stuck_recheck_s)

    asked = await parked(site, run.id)
    await site.result(run.resolve("pays#1", result="one"))

    assert (asked.reason, asked.step) == ("retries_exhausted", "pays#1")
    assert await site.result(run.result()) == "one"
    assert paid == [1]


@workflow
async def pays_shielded(ctx: WorkflowContext) -> str:
    paying = asyncio.ensure_future(pays(1))
    try:
        return await asyncio.shield(paying)
    except asyncio.CancelledError:
        await asyncio.wait((paying,))
        raise


async def test_a_cancel_does_not_run_it_again_where_the_code_shields_it(site: WorkersInMemory) -> None:
    await site.add(pays_shielded)
    run = await site.result(site.client.start(pays_shielded))
    await parked(site, run.id)

    await site.result(run.cancel())
    asked = await parked(site, run.id)
    await site.result(run.resolve("pays#1", result="one"))

    assert (asked.reason, asked.step) == ("retries_exhausted", "pays#1")
    with pytest.raises(RunCancelled):
        await site.result(run.result())
    assert paid == [1]


@workflow
async def pays_in_a_task(ctx: WorkflowContext) -> None:
    payment = asyncio.ensure_future(pays(1))
    try:
        await ctx.wait_for_signal("word", type=str)
    finally:
        await undoes()
        if is_awaited:
            await payment


@step
async def undoes() -> None:
    undone.append(True)


undone: list[bool] = []
is_awaited: list[bool] = []


@pytest.mark.parametrize("waits", [False, True])
async def test_after_a_cancel_the_code_cleans_up_before_anybody_is_asked(site: WorkersInMemory, waits: bool) -> None:
    undone.clear()
    is_awaited[:] = [True] * waits
    await site.add(pays_in_a_task)
    run = await site.result(site.client.start(pays_in_a_task))
    await parked(site, run.id)

    await site.result(run.cancel())
    if waits:
        assert (await parked(site, run.id)).step == "pays#1"
        assert undone == [True]
        await site.result(run.resolve("pays#1", result="one"))

    with pytest.raises(RunCancelled):
        await site.result(run.result())
    assert undone == [True]
    assert paid == [1]


# Histories that end where none does that one worker writes in peace.


@pytest.mark.parametrize("is_parked", [False, True])
async def test_a_worker_that_died_before_it_had_parked_the_run_leaves_the_step_to_a_person(is_parked: bool) -> None:
    failed = r.StepAttemptFailed("pays#1", 1, r.Failure("builtins.OSError", "no"), 0)
    # Parked for another step, on which a person has decided since.
    between: list[r.Record] = [r.Parked("retries_exhausted", "", "pays#2"), r.Unparked("resolve")] if is_parked else []
    draft = draft_after([*BEGUN, failed, *between])
    assert draft.launchable() == []

    draft.carry_on()

    assert draft.records == [r.Parked("retries_exhausted", "pays#1: builtins.OSError: no", "pays#1", "code")]


async def test_an_attempt_that_an_earlier_version_has_begun_unasked_is_one_that_was_interrupted() -> None:
    failed = r.StepAttemptFailed("pays#1", 1, r.Failure("builtins.OSError", "no"), 0)
    draft = draft_after([*BEGUN, failed, r.Parked("stuck", ""), r.Unparked("code"), r.StepStarted("pays#1", 2)])

    draft.carry_on()

    assert [one.reason for one in draft.records if isinstance(one, r.Parked)] == ["unknown_outcome"]


BEGUN = (
    r.RunStarted("pays_shielded", "default"),
    r.StepScheduled("pays#1", pays.signature.digest((1,), {}), unsafe=True),
    r.StepStarted("pays#1", 1),
)


def draft_after(records: Sequence[r.Record]) -> Draft:
    """Return the next turn behind a history of one turn with these records."""
    turn = Turn(VERSION, 1, "w.1", "w", 1, 1, 1_000, GENESIS, tuple(records))
    programs = WorkflowPrograms([pays_shielded], Launcher(threads=1, interceptors=(), sender=None), code="code")
    draft = Draft(programs.create("run", BEGUN[0]), code="code", state=fold([(turn.at_ms, turn.records)]))
    draft.replay([turn])
    return draft
