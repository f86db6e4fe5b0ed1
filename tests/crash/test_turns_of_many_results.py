"""Results that come together, and are more than one message of the server can hold, are written in several turns."""

from __future__ import annotations

import asyncio
import json

from msgspec import Raw
from tests.crash.workers_in_memory import workers_in_memory

from relight import WorkflowContext, step, workflow
from relight.actors.journal import Journal, Tail, read_history
from relight.config.limits import KIB, LIMITS
from relight.subjects import records as r

STEPS = 40
TEXT = "x" * 60 * KIB
"""Small enough to be part of its record."""

launched: list[int] = []
gate = asyncio.Event()


@step
async def large(number: int) -> str:
    launched.append(number)
    await gate.wait()
    return TEXT


@workflow
async def fans_out(ctx: WorkflowContext) -> int:
    return sum(map(len, await asyncio.gather(*(large(number) for number in range(STEPS)))))


async def test_results_that_come_together_are_split_over_messages_below_the_limit() -> None:
    global gate
    gate = asyncio.Event()
    launched.clear()
    async with workers_in_memory() as site:
        await site.add(fans_out)
        run = await site.client.start(fans_out)
        await site.until(lambda: len(launched) == STEPS)

        gate.set()

        assert await site.result(run.result()) == STEPS * len(TEXT)
        stored = site.server.stream.read(site.client.subjects.log(run.id), after=0, limit=1_000)
        assert max(len(one.data) for one in stored) <= LIMITS.turn_bytes_max
        # They came together: the turns are full.
        assert len(stored) < STEPS / 4
        assert len(site.records(run.id, r.StepCompleted)) == STEPS


async def test_what_one_append_can_not_hold_is_read_as_it_was_written() -> None:
    async with workers_in_memory() as site:
        door, log = site.server.door("owner"), site.client.subjects.log("run")
        numbers = iter(range(1_000))
        journal = Journal(door, log, owner="owner", new_append_id=lambda: f"owner.{next(numbers)}", tail=Tail())
        results = [r.StepCompleted(f"large#{n}", Raw(json.dumps(TEXT).encode())) for n in range(STEPS)]
        records: tuple[r.Record, ...] = (r.RunStarted("w", "q"), *results)

        await site.result(journal.append(records, epoch=1, lease=1, cursor=5, at_ms=1))

        last = await door.last(log)
        assert last is not None
        history = await read_history(door, log, last)
        assert tuple(record for turn in history.turns for record in turn.records) == records
        assert {(turn.lease, turn.at_ms) for turn in history.turns} == {(1, 1)}
        assert {turn.cursor for turn in history.turns[:-1]} == {0}
        assert history.turns[-1].cursor == 5
        assert history.tail == journal.tail
        assert all(len(one.data) <= LIMITS.turn_bytes_max for one in await door.read(log, after=0, limit=100))
