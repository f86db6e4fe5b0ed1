"""Which runs the command lists: retired ones are none, and stand in nobody's way."""

from __future__ import annotations

from tests.crash.workers_in_memory import WorkersInMemory

from relight import WorkflowContext, workflow
from relight.actors.retire import retire_each
from relight.cli.listing import newest
from relight.cli.sampling import sampled


@workflow
async def quick(ctx: WorkflowContext) -> None: ...


async def ended(site: WorkersInMemory, *runs: str) -> None:
    for run in runs:
        await site.result(site.client.call(quick, id=run))


async def retired(site: WorkersInMemory, *runs: str) -> None:
    assert await site.result(retire_each(site.client.door, site.client.subjects, runs)) == {}


async def test_retired_runs_are_not_listed_and_take_no_place_of_others(site: WorkersInMemory) -> None:
    await site.add(quick)
    await ended(site, "a", "b", "c", "d")
    await retired(site, "b", "c", "d")

    listed = await newest(site.client, limit=2)
    sample = await sampled(site.client, [quick], 10)

    assert [one.run for one in listed] == ["a"]
    assert [one.run for one in sample.runs] == ["a"]
