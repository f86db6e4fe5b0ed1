"""The end of a run whose start did not come from here is not waited for in vain."""

from __future__ import annotations

import asyncio

from tests.crash.workers_in_memory import workers_in_memory

from relight import WorkflowContext, workflow
from relight.subjects import records as r
from relight.testing.memory import Faults

_LATE = 1_000
"""Passes of the loop."""


@workflow
async def ends(ctx: WorkflowContext) -> int:
    return 1


async def test_after_a_start_that_was_given_up_the_end_of_anothers_is_found_at_once() -> None:
    async with workers_in_memory() as site:
        await site.add(ends)
        site.server.faults = Faults(outcome=lambda operation: "lost" if ".start." in operation.subject else "known")
        starting = asyncio.ensure_future(site.client.start(ends, id="run"))
        await site.pass_time(2)
        starting.cancel()
        await asyncio.wait((starting,))
        site.server.faults = Faults()
        async with site.another_client() as other:
            await site.result((await site.result(other.start(ends, id="run"))).result())
            before_ms = site.server.clock.now_ms()

            assert await site.result(site.client.get_run("run", type=int).result()) == 1

            assert site.server.clock.now_ms() - before_ms < 1_000


async def test_while_a_run_that_has_ended_is_started_again_its_end_is_found_at_once() -> None:
    async with workers_in_memory() as site:
        await site.add(ends)
        run = await site.result(site.client.start(ends, id="run"))
        await site.pass_time(1)
        before_ms = site.server.clock.now_ms()

        _, result = await site.result(asyncio.gather(site.client.start(ends, id="run"), run.result()))

        assert result == 1
        assert site.server.clock.now_ms() - before_ms < 1_000


async def test_an_end_that_is_heard_before_the_start_is_acknowledged_is_not_missed() -> None:
    async with workers_in_memory() as site:
        await site.add(ends)
        late: list[int] = []
        site.server.on_operation = lambda _door, operation, moment: (
            late.append(_LATE) if ".start." in operation.subject and moment == "after" else None
        )
        site.server.hops = lambda name: late.pop() if name == "client" and late else 1
        starting = asyncio.ensure_future(site.client.start(ends, id="run"))
        await site.until(lambda: bool(site.records("run", r.RunCompleted)))
        await site.passes(starting.done)
        assert not starting.done()
        run = await site.result(starting)
        before_ms = site.server.clock.now_ms()

        assert await site.result(run.result()) == 1

        assert site.server.clock.now_ms() - before_ms < 1_000


async def test_who_has_just_begun_to_listen_looks_soon() -> None:
    """In a cluster other nodes learn a moment later that somebody listens."""
    async with workers_in_memory() as site:
        await site.add(ends)
        site.server.faults = Faults(arrivals=lambda subject: () if ".done." in subject else (0.0,))
        async with site.another_client() as new:
            before_ms = site.server.clock.now_ms()
            run = await site.result(new.start(ends))

            assert await site.result(run.result()) == 1

            assert site.server.clock.now_ms() - before_ms < 5_000
