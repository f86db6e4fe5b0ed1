"""A worker with other code offers it to the runs that are stuck, and no more of them at a time than others can bear."""

from __future__ import annotations

from itertools import pairwise

from tests.crash.workers_in_memory import workers_in_memory

from relight import WorkflowContext, workflow
from relight.actors.run.alarm import STUCK
from relight.actors.stuck import offer_new_code
from relight.config.limits import LIMITS
from relight.subjects.codec import encode
from relight.subjects.messages import NewCode

RUNS = 20
HOUR_MS = 3_600_000


@workflow
async def waits(ctx: WorkflowContext) -> None:
    await ctx.wait_for_signal("go", type=str)


async def test_other_code_is_offered_to_every_stuck_run_at_a_bounded_rate() -> None:
    async with workers_in_memory() as site:
        door, subjects, clock = site.server.door("worker"), site.client.subjects, site.server.clock
        for number in range(RUNS):
            run = await site.client.start(waits, id=f"run-{number}")
            timer, mailbox = subjects.timer(run.id, STUCK), subjects.wake("default", run.id)
            old, due_ms = encode(NewCode(code="old")), clock.now_ms() + HOUR_MS
            await door.schedule(timer, old, target=mailbox, due_ms=due_ms)

        await site.result(offer_new_code(door, subjects, "new"))

        wakes = site.server.stream.every(subjects.wakes_of_queue("default"))
        assert {one.subject for one in wakes} == {subjects.wake("default", f"run-{number}") for number in range(RUNS)}
        assert [one.data for one in wakes] == [encode(NewCode(code="new"))] * RUNS
        pause_ms = 1000 / LIMITS.stuck_wakes_per_s
        assert all(before.stored_at_ms + pause_ms <= after.stored_at_ms for before, after in pairwise(wakes))


async def test_a_start_that_nobody_can_read_does_not_keep_it_from_the_others() -> None:
    async with workers_in_memory() as site:
        door, subjects, clock = site.server.door("worker"), site.client.subjects, site.server.clock
        for run in ("run-1", "run-2"):
            due_ms = clock.now_ms() + HOUR_MS
            mailbox = subjects.wake("default", run)
            await door.schedule(subjects.timer(run, STUCK), encode(NewCode(code="old")), target=mailbox, due_ms=due_ms)
        await door.publish(subjects.start("default", "run-1"), b"no start")
        site.abandon("run-1", "nobody can read its start")
        await site.client.start(waits, id="run-2")

        await site.result(offer_new_code(door, subjects, "new"))

        wakes = site.server.stream.every(subjects.wakes_of_queue("default"))
        assert [one.subject for one in wakes] == [subjects.wake("default", "run-2")]
