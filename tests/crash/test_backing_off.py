"""Who waits for a server that is away tries again seldom, and soon after it is back."""

from __future__ import annotations

import asyncio
from itertools import pairwise

from tests.crash.workers_in_memory import workers_in_memory

from relight.actors.backoff import Backoff
from relight.actors.journal import Journal, Tail
from relight.config.limits import LIMITS
from relight.subjects import records as r
from relight.testing.memory import Faults, Operation
from relight.testing.memory.faults import Outcome
from relight.testing.virtual_clock import VirtualClock

OUTAGE_S = 60
TRIES_MAX = 70
"""Six while the pauses grow, then at most one a second: a pause is at least half of two seconds."""


async def test_a_journal_tries_seldom_while_the_server_is_away_and_appends_soon_after_it_is_back() -> None:
    async with workers_in_memory() as site:
        clock = site.server.clock
        began_s = clock.elapsed_s()
        tries_s: list[float] = []

        def outcome(operation: Operation) -> Outcome:
            tries_s.append(clock.elapsed_s() - began_s)
            return "lost" if tries_s[-1] < OUTAGE_S else "known"

        site.server.faults = Faults(outcome=outcome)
        log = site.client.subjects.log("run")
        journal = Journal(site.server.door("owner"), log, owner="owner", new_append_id=lambda: "owner.1", tail=Tail())

        await site.result(journal.append((r.StepCompleted("one#1"),), epoch=1, lease=1, cursor=0, at_ms=1))

        assert site.server.stream.count(log) == 1
        assert len(tries_s) <= TRIES_MAX
        assert tries_s[1] <= LIMITS.append_retry_s
        assert tries_s[-1] <= OUTAGE_S + LIMITS.append_retry_max_s


async def test_the_pauses_double_up_to_the_longest() -> None:
    clock = VirtualClock()
    backoff = Backoff(clock, 1.0, 8.0)
    moments_s = [clock.elapsed_s()]

    for _ in range(6):
        waiting = asyncio.ensure_future(backoff.wait())
        await asyncio.sleep(0)
        clock.advance_to_next()
        await waiting
        moments_s.append(clock.elapsed_s())

    pauses_s = [after - before for before, after in pairwise(moments_s)]
    assert all(
        longest_s / 2 <= pause_s <= longest_s + 0.001
        for pause_s, longest_s in zip(pauses_s, (1, 2, 4, 8, 8, 8), strict=True)
    )


async def test_those_who_wait_together_do_not_come_back_together() -> None:
    clock = VirtualClock()
    back_ms: list[int] = []

    async def wait() -> None:
        await Backoff(clock, 8.0, 8.0).wait()
        back_ms.append(clock.now_ms())

    async with asyncio.TaskGroup() as waiters:
        for _ in range(50):
            waiters.create_task(wait())
        while len(back_ms) < 50:
            await asyncio.sleep(0)
            clock.advance_to_next()

    # Of 4,000 milliseconds they have chosen.
    assert len(set(back_ms)) > 25
