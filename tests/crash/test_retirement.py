"""Finished runs are retired together; what can't be retired is left as it is, and why is told."""

from __future__ import annotations

from datetime import timedelta

import pytest
from tests.crash.workers_in_memory import WorkersInMemory

from relight import Encryption, Keys, RunTerminated, UnavailableError, WorkflowContext, workflow
from relight.actors.retire import retire_each
from relight.errors import RefusedError, RunNotFoundError
from relight.subjects.codec import encode
from relight.subjects.messages import Signal
from relight.testing.memory.faults import Faults


@workflow
async def quick(ctx: WorkflowContext, number: int) -> int:
    return number


@workflow
async def waits(ctx: WorkflowContext) -> str:
    await ctx.sleep(timedelta(hours=1))
    return await ctx.suspend("answer", type=str)


async def test_runs_are_retired_together_and_those_that_go_on_are_left(site: WorkersInMemory) -> None:
    await site.add(quick, waits)
    ended = [await site.result(site.client.start(quick, number)) for number in range(100)]
    for run in ended:
        await site.result(run.result())
    waiting = await site.result(site.client.start(waits))
    await site.pass_time(5)
    door, subjects = site.server.door("janitor"), site.client.subjects

    runs = [*(run.id for run in ended), waiting.id, "nobody"]
    left = await site.result(retire_each(door, subjects, runs))

    assert {run: type(error) for run, error in left.items()} == {waiting.id: RefusedError, "nobody": RunNotFoundError}
    assert await door.subjects(subjects.starts_of_queue("default"), limit=200) == [
        subjects.start("default", waiting.id)
    ]
    assert [await door.count(subjects.log(run.id)) for run in ended] == [1] * 100
    assert (await site.result(waiting.describe())).status == "waiting"


async def test_a_run_that_has_waited_leaves_neither_timers_nor_messages(site: WorkersInMemory) -> None:
    await site.add(waits)
    run = await site.result(site.client.start(waits))
    await site.pass_time(3700)
    await site.result(run.resume("answer", "yes"))
    await site.result(run.result())
    door, subjects = site.server.door("janitor"), site.client.subjects

    assert await site.result(retire_each(door, subjects, (run.id,))) == {}

    assert await door.subjects(subjects.timers(run.id), limit=10) == []
    assert await door.count(subjects.wake("default", run.id)) == 0


async def test_retiring_twice_changes_nothing(site: WorkersInMemory) -> None:
    await site.add(quick)
    run = await site.result(site.client.start(quick, 1))
    await site.result(run.result())
    door, subjects = site.server.door("janitor"), site.client.subjects
    await site.result(retire_each(door, subjects, (run.id,)))
    tombstone = await door.last(subjects.log(run.id))

    assert await site.result(retire_each(door, subjects, (run.id,))) == {}

    assert await door.last(subjects.log(run.id)) == tombstone


async def test_a_message_that_comes_between_the_end_and_the_retirement_is_not_left_for_the_next_run_of_this_id(
    site: WorkersInMemory,
) -> None:
    await site.add(quick)
    run = await site.result(site.client.start(quick, 1))
    await site.result(run.result())
    door, subjects = site.server.door("late"), site.client.subjects

    await site.result(door.publish(subjects.wake("default", run.id), encode(Signal(name="late"))))
    await site.pass_time(1)

    assert await door.count(subjects.wake("default", run.id)) == 0


@workflow
async def unknown(ctx: WorkflowContext, text: str) -> str:
    return text


async def test_a_run_that_was_ended_without_its_code_leaves_no_large_values(site: WorkersInMemory) -> None:
    await site.add(quick)
    run = await site.result(site.client.start(unknown, "a" * 300_000))
    await site.pass_time(5)
    await site.result(run.terminate(reason="nobody has its code"))
    with pytest.raises(RunTerminated):
        await site.result(run.result())
    door, subjects = site.server.door("janitor"), site.client.subjects

    assert await site.result(retire_each(door, subjects, (run.id,))) == {}

    assert await door.subjects(subjects.value_chunks(f"{run.id}.*.*"), limit=10) == []


@workflow
async def large(ctx: WorkflowContext) -> str:
    await ctx.sleep(timedelta(hours=1))
    return "a" * 300_000


@workflow
async def leaves(ctx: WorkflowContext) -> None:
    await ctx.start(large, id="child", on_parent_close="detach")


async def test_a_child_that_outlives_its_retired_parent_leaves_no_large_values_with_it(site: WorkersInMemory) -> None:
    await site.add(leaves, large)
    parent = await site.result(site.client.start(leaves))
    await site.result(parent.result())
    await site.pass_time(5)
    door, subjects = site.server.door("janitor"), site.client.subjects
    assert await site.result(retire_each(door, subjects, (parent.id,))) == {}

    assert await site.result(site.client.get_run("child").result()) == "a" * 300_000
    await site.pass_time(5)

    assert await door.subjects(subjects.value_chunks(f"{parent.id}.*.*"), limit=10) == []


async def test_the_retirement_of_a_sealed_parent_is_done_again_after_its_data_key_was_destroyed(
    site: WorkersInMemory,
) -> None:
    codec = Encryption(Keys({"first": bytes(range(32))}))
    await site.add(leaves, large, codecs=(codec,))
    async with site.another_client(codec) as client, site.another_client(codec) as another:
        parent = await site.result(client.start(leaves))
        await site.result(parent.result())
        await site.pass_time(5)
        site.server.faults = Faults(outcome=lambda operation: "lost" if operation.name == "entomb" else "known")
        left = await site.result(retire_each(client.door, client.subjects, (parent.id,)))
        assert [type(error) for error in left.values()] == [UnavailableError]
        site.server.faults = Faults()

        assert await site.result(retire_each(another.door, another.subjects, (parent.id,))) == {}
