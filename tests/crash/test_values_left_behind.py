"""Large values that were stored for nothing: none is left when the run is retired, or when its start is refused."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest
from msgspec import Raw
from tests.crash.workers_in_memory import WorkersInMemory

from relight import ConflictError, RefusedError, WorkflowContext, step, workflow
from relight.actors.retire import retire
from relight.subjects.codec import encode
from relight.subjects.references import digest_of

LARGE = "x" * 300_000

fetched: list[str] = []


@step
async def fetch() -> str:
    fetched.append("small" if fetched else LARGE)
    return fetched[-1]


@workflow
async def fetches(ctx: WorkflowContext) -> str:
    return (await fetch())[:5]


@workflow
async def fetches_and_waits(ctx: WorkflowContext) -> str:
    found = await fetch()
    return found[:5] + await ctx.wait_for_signal("go", type=str)


@workflow
async def measures(ctx: WorkflowContext, text: str) -> int:
    return len(text)


def left(site: WorkersInMemory, run: str) -> Sequence[str]:
    return site.server.stream.subjects(site.client.subjects.value_chunks(f"{run}.*.*"), limit=1000)


async def is_stored(site: WorkersInMemory, run: str) -> None:
    described = site.client.subjects.value(run, digest_of(Raw(encode(LARGE))))
    await site.until(lambda: site.server.stream.last(described) is not None)


async def retired(site: WorkersInMemory, run: str) -> None:
    await site.pass_time(20)
    await site.result(retire(site.client.door, site.client.subjects, run))


async def test_what_a_dead_worker_has_stored_and_not_recorded_goes_with_the_run(site: WorkersInMemory) -> None:
    fetched.clear()
    worker = await site.add(fetches)
    starting = asyncio.ensure_future(site.client.start(fetches, id="x"))
    await is_stored(site, "x")
    assert site.records("x") == []
    worker.kill()

    await site.add(fetches)
    run = await site.result(starting)
    assert await site.result(run.result()) == "small"
    await retired(site, "x")

    assert left(site, "x") == []


async def test_also_when_others_have_had_the_run_since(site: WorkersInMemory) -> None:
    fetched.clear()
    worker = await site.add(fetches_and_waits)
    starting = asyncio.ensure_future(site.client.start(fetches_and_waits, id="x"))
    await is_stored(site, "x")
    worker.kill()
    second = await site.add(fetches_and_waits)
    run = await site.result(starting)
    await site.pass_time(60)
    second.kill()

    await site.add(fetches_and_waits)
    await site.result(run.signal("go", "!"))
    assert await site.result(run.result()) == "small!"
    await retired(site, "x")

    assert left(site, "x") == []


async def test_a_start_whose_id_is_taken_stores_nothing(site: WorkersInMemory) -> None:
    await site.add(measures)
    run = await site.result(site.client.start(measures, "a", id="x"))
    await site.result(run.result())

    with pytest.raises(ConflictError, match="other arguments"):
        await site.result(site.client.start(measures, LARGE, id="x"))

    assert left(site, "x") == []


async def test_one_that_attaches_finds_what_is_stored(site: WorkersInMemory) -> None:
    await site.add(measures)
    await site.result(site.client.start(measures, LARGE, id="x"))
    stored = left(site, "x")

    again = await site.result(site.client.start(measures, LARGE, id="x"))

    assert await site.result(again.result()) == len(LARGE)
    assert left(site, "x") == stored


async def test_a_fork_that_is_refused_stores_nothing(site: WorkersInMemory) -> None:
    fetched[:] = ["before"]
    await site.add(fetches, measures)
    run = await site.result(site.client.start(fetches))
    await site.result(run.result())
    await site.result(site.client.start(measures, "a", id="taken"))

    with pytest.raises(RefusedError, match="is not in the history"):
        await site.result(run.fork(after="fetch#9", replace={"fetch#1": LARGE}, id="x"))
    with pytest.raises(ConflictError, match="'taken' exists"):
        await site.result(run.fork(after="fetch#1", replace={"fetch#1": LARGE}, id="taken"))

    assert [*left(site, "x"), *left(site, "taken")] == []
