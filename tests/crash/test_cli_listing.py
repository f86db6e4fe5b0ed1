"""Which runs the command lists: retired ones are none, and one that can't be read takes no others with it."""

from __future__ import annotations

from tests.crash.workers_in_memory import WorkersInMemory

from relight import WorkflowContext, workflow
from relight.actors.letters import Sight
from relight.actors.retire import retire_each
from relight.cli.listing import newest, sights
from relight.cli.sampling import histories, sampled
from relight.config.limits import LIMITS
from relight.subjects.codec import encode
from relight.subjects.messages import Start
from relight.subjects.records import RunStarted
from relight.subjects.turn import VERSION


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

    assert [one.run for one in listed.runs] == ["a"]
    assert [one.run for one in sample.runs] == ["a"]


async def test_runs_that_can_not_be_read_are_listed_among_the_others(site: WorkersInMemory) -> None:
    await site.add(quick)
    await ended(site, "a", "b", "c")
    subjects = site.client.subjects
    await site.client.door.publish(subjects.log("b"), b'{"v":99}')
    await site.client.door.publish(subjects.start("later", "d"), b'{"v":99}')
    site.abandon("b", "nobody can read how its journal ends")
    site.abandon("d", "nobody can read its start")

    listed = (await newest(site.client, workflow="quick", limit=10)).runs
    seen = {one.run: isinstance(sight, Sight) async for one, sight in sights(site.client, listed)}
    sample = await sampled(site.client, [quick], 10)
    replayed = [type(one).__name__ async for one in histories(site.client, sample)]

    assert seen == {"d": False, "c": True, "b": False, "a": True}
    assert [(one.queue, one.workflow) for one in listed[:2]] == [("later", ""), ("default", "quick")]
    assert sorted(replayed) == ["History", "History", "Unreadable", "Unreadable"]


async def test_it_is_said_when_older_runs_were_not_looked_at(site: WorkersInMemory) -> None:
    door, subjects = site.client.door, site.client.subjects
    start = encode(Start(v=VERSION, run=RunStarted("w", "default")))
    for number in range(LIMITS.runs_listed_max - 1):
        await door.publish(subjects.start("default", f"run-{number}"), start)

    all_of_them = await newest(site.client, workflow="w", limit=10)
    await door.publish(subjects.start("default", "one-more"), start)
    newest_of_them = await newest(site.client, workflow="w", limit=10)
    of_any = await newest(site.client, limit=LIMITS.runs_listed_max)
    few = await newest(site.client, limit=10)

    assert (all_of_them.has_older, newest_of_them.has_older, few.has_older) == (False, True, False)
    assert of_any.has_older
    assert [one.run for one in few.runs] == [one.run for one in newest_of_them.runs]
    assert len(few.runs) == 10
