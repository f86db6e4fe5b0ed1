"""Of a run that waits with a time-out again and again the server keeps one alarm, not one for each wait."""

from __future__ import annotations

from tests.crash.workers_in_memory import WorkersInMemory

from relight import WorkflowContext, workflow
from relight.subjects import records as r
from relight.subjects.codec import encode
from relight.subjects.messages import TimerDue

DAYS_30_S = 30 * 86_400


@workflow
async def entity(ctx: WorkflowContext) -> None:
    while await ctx.wait_for_signal("poke", type=int, timeout=DAYS_30_S):
        pass


async def _alarms(site: WorkersInMemory, *, rest_s: float) -> int:
    """Wake a run again and again, and return how many alarms the server has of it."""
    await site.add(entity)
    run = await site.result(site.client.start(entity))
    for number in range(1, 21):
        await site.until(lambda awaited=number: len(site.records(run.id, r.SignalAwaited)) == awaited)  # type: ignore[misc]
        await site.pass_time(rest_s)
        await site.result(run.signal("poke", number))
    await site.pass_time(5)
    return len(await site.result(site.client.door.subjects(site.client.subjects.timers(run.id), limit=100)))


async def test_by_an_owner_that_keeps_it(site: WorkersInMemory) -> None:
    assert await _alarms(site, rest_s=0.5) == 1


async def test_by_owners_that_take_it_up_again(site: WorkersInMemory) -> None:
    assert await _alarms(site, rest_s=100) == 1


@workflow
async def naps_twice(ctx: WorkflowContext) -> str:
    await ctx.sleep(60)
    await ctx.sleep(3600)
    return "awake"


async def test_what_anybody_says_is_due_does_not_move_the_time_of_a_run_beyond_what_it_waits_for(
    site: WorkersInMemory,
) -> None:
    await site.add(naps_twice)
    run = await site.result(site.client.start(naps_twice))
    await site.pass_time(10)

    forged = encode(TimerDue(timer=0, due_ms=10**15))
    await site.result(site.client.door.publish(site.client.subjects.wake("default", run.id), forged))
    await site.pass_time(3700)

    assert await site.result(run.result()) == "awake"
    dues = [one.due_ms for one in site.records(run.id) if isinstance(one, r.TimerArmed)]
    assert dues[1] - dues[0] == 3600 * 1000
