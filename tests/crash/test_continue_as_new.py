"""A run that continues as new: what it carries over, what it leaves behind, and how its journal looks."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from itertools import pairwise
from typing import Literal

import pytest
from msgspec import Raw
from tests.crash.workers_in_memory import WorkersInMemory
from tests.runs import turns

from relight import (
    AlreadyAnsweredError,
    PayloadTooLargeError,
    RefusedError,
    Relight,
    Retry,
    RunCancelled,
    RunFailed,
    RunTerminated,
    StepFailed,
    Worker,
    WorkflowContext,
    step,
    workflow,
)
from relight.actors.journal import BrokenChainError, read_history
from relight.config.limits import LIMITS
from relight.config.server import EmbeddedServer
from relight.subjects import records as r
from relight.subjects.codec import encode
from relight.subjects.turn import VERSION, Turn, hash_of, opens_history
from relight.testing import TestEnvironment, replay
from relight.testing.memory import MemoryDoor, Operation
from relight.testing.replaying import replay_history

NOTHING: list[str] = []

LOG = "relight.memory.log.59.run"


@step
async def key() -> str:
    return step.info().idempotency_key


@workflow
async def counts(ctx: WorkflowContext, left: int, keys: list[str]) -> list[str]:
    keys = [*keys, await key(), f"{ctx.uuid4()} {ctx.random.random()}", ctx.awakeable(type=str).token]
    if left:
        ctx.continue_as_new(left - 1, keys)
    return keys


@workflow
async def listens(ctx: WorkflowContext, generation: int, heard: list[str]) -> list[str]:
    if generation == 1:
        heard = [*heard, await ctx.suspend("go", type=str)]
        ctx.continue_as_new(2, heard)
    early = await ctx.suspend("early", type=str)
    await ctx.suspend("then", type=str)
    return [*heard, early, *[await ctx.wait_for_signal("word", type=str) for _ in range(2)]]


@workflow
async def collects(ctx: WorkflowContext, heard: str) -> str:
    heard += await ctx.wait_for_signal("word", type=str)
    if len(heard) < 3:
        ctx.continue_as_new(heard)
    return heard


@workflow
async def spins(ctx: WorkflowContext, number: int) -> None:
    ctx.continue_as_new(number + 1)


@step(retry=Retry(attempts=1), on_exhausted="park")
async def fails() -> None:
    raise OSError("no network")


@step
async def tidied(generation: int) -> int:
    return generation


@workflow
async def parks_and_continues(ctx: WorkflowContext, generation: int) -> None:
    """Its step parks it, so that the signal by which it continues waits until it goes on."""
    try:
        if generation == 1:
            failing, going = asyncio.ensure_future(fails()), asyncio.ensure_future(ctx.wait_for_signal("go", type=str))
            await asyncio.wait({failing, going}, return_when=asyncio.FIRST_COMPLETED)
            ctx.continue_as_new(2)
        await ctx.suspend("never", type=str)
    except asyncio.CancelledError:
        await tidied(generation)
        raise


@workflow
async def tidies_as_it_continues(ctx: WorkflowContext, generation: int) -> None:
    try:
        ctx.continue_as_new(generation + 1)
    finally:
        await ctx.suspend("tidy", type=str)


@workflow
async def waits(ctx: WorkflowContext) -> str:
    return await ctx.wait_for_signal("never", type=str)


@workflow
async def asks_for_a_taken_id(ctx: WorkflowContext, left: int) -> str:
    for name in ("taken", "own", "own"):
        with suppress(StepFailed):
            await ctx.start(waits, id=name)
    if left:
        ctx.continue_as_new(left - 1)
    return "own"


@workflow
async def leaves_a_child(ctx: WorkflowContext, left: int) -> str:
    child = (await ctx.start(waits)).id
    if left:
        ctx.continue_as_new(left - 1)
    await ctx.suspend("end", type=str)
    return child


async def test_only_the_last_history_is_stored_and_its_first_turn_names_the_one_before_it(
    shared_server: EmbeddedServer, namespace: str
) -> None:
    async with Relight(shared_server.url, namespace=namespace) as client:
        run = await client.start(counts, 3, NOTHING, id="run")
        async with Worker(client, [counts]):
            result = await run.result(timeout=20)

        journal = await turns(client, run)
        history = [one async for one in run.history()]
        assert await client.door.count(client.subjects.log("run")) == len(journal)

    assert len(result) == 12
    assert opens_history(journal[0])
    assert journal[0].number > 3
    assert journal[0].previous
    assert [type(one) for one in journal[0].records] == [r.Continued, r.RunStarted]
    assert all(after.previous == hash_of(encode(before)) for before, after in pairwise(journal))
    assert [one.sequence for one in history] == list(range(history[0].sequence, history[0].sequence + len(history)))
    replay(history, workflows=[counts])


async def test_keys_tokens_and_random_values_are_those_of_no_other_history(site: WorkersInMemory) -> None:
    await site.add(counts)

    run = await site.result(site.client.start(counts, 2, NOTHING, id="run"))
    values = await site.result(run.result())

    assert len(set(values)) == 9
    assert values[::3] == ["run:key#1", "run:key#2", "run:key#3"]


async def test_unread_signals_and_early_answers_are_carried_over_and_repeats_count_once(site: WorkersInMemory) -> None:
    await site.add(listens)
    run = await site.result(site.client.start(listens, 1, NOTHING))
    await site.until(lambda: bool(site.records(run.id, r.Suspended)))

    for word, id in (("a", "1"), ("b", "2")):
        await run.signal("word", word, id=id)
    await run.resume("early", "soon")
    await site.until(lambda: bool(site.records(run.id, r.AnswerReceived)))
    await run.resume("go", "gone")
    await site.until(lambda: any(one.name == "then" for one in _suspended(site, run.id)))
    for answered in ("go", "early"):
        with pytest.raises(AlreadyAnsweredError):
            await run.resume(answered, "late")
    await run.signal("word", "again", id="2")
    await run.resume("then", "")

    assert await site.result(run.result()) == ["gone", "soon", "a", "b"]


async def test_messages_that_were_read_together_go_one_by_one_to_the_histories_that_take_them(
    site: WorkersInMemory,
) -> None:
    run = await site.result(site.client.start(collects, ""))
    for word in "abc":
        await run.signal("word", word)
    ends_of_openings: list[type[object]] = []

    def look(door: MemoryDoor, operation: Operation, now: Literal["before", "after"]) -> None:
        if now == "after" and operation.name == "publish" and ".log." in operation.subject:
            records = site.turns(run.id)[-1].records
            ends_of_openings.extend(type(records[-1]) for one in records if isinstance(one, r.Continued))

    site.server.on_operation = look
    worker = await site.add(collects)
    assert await site.result(run.result()) == "abc"
    assert set(ends_of_openings) == {r.RunStarted}

    worker.kill()
    replay([one async for one in run.history()], workflows=[collects])


@workflow
async def continues_in_a_group(ctx: WorkflowContext, generation: int) -> list[int]:
    """Continue while a task group and its task are open, with something that could be undone."""
    ctx.compensate(undoes)
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(asyncio.sleep(3600))
        await key()
        if generation == 1:
            ctx.continue_as_new(2)
        await asyncio.sleep(1)
    return [generation]


@step
async def undoes() -> None:
    raise AssertionError("the run goes on; there is nothing to undo")


async def test_one_that_continues_inside_of_a_task_group_continues_and_undoes_nothing(site: WorkersInMemory) -> None:
    await site.add(continues_in_a_group)
    run = await site.result(site.client.start(continues_in_a_group, 1))

    assert await site.result(run.result()) == [2]
    assert not [one for one in site.records(run.id, r.StepScheduled) if getattr(one, "step", "").startswith("undoes")]
    replay([one async for one in run.history()], workflows=[continues_in_a_group])


@workflow
async def races(ctx: WorkflowContext, kind: str, is_first: bool) -> object:
    """Wait for one of several, leave the other waits, continue, and take what came for those."""

    def waiting() -> list[asyncio.Task[str]]:
        if kind == "signals":
            calls = [ctx.wait_for_signal(name, type=str) for name in ("word", "other", "other")]
        else:
            calls = [ctx.suspend(name, type=str) for name in ("word", "other")]
        return [asyncio.ensure_future(one) for one in calls]

    async with asyncio.TaskGroup() as tasks:
        if is_first:
            waits = waiting()
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
            for one in waits:
                one.cancel()
            await asyncio.wait(waits)
            tasks.create_task(asyncio.sleep(1))
    if is_first:
        ctx.continue_as_new(kind, False)
    if kind == "signals":
        return [await ctx.wait_for_signal("other", type=str) for _ in range(3)]
    return await ctx.suspend("other", type=str)


@pytest.mark.parametrize("kind", ["signals", "answers"])
async def test_what_came_during_a_pause_for_a_wait_that_was_left_before_it_was_seen_is_carried_over(
    site: WorkersInMemory, kind: str
) -> None:
    await site.add(races)
    run = await site.result(site.client.start(races, kind, True))
    await site.until(lambda: bool(site.records(run.id, r.Suspended, r.SignalAwaited)))
    await site.result(run.pause())
    await site.until(lambda: bool(site.records(run.id, r.Paused)))
    send = run.signal if kind == "signals" else run.resume
    others = ["a", "b", "c"] if kind == "signals" else ["a"]
    for name, word in (("word", "first"), *(("other", word) for word in others)):
        await site.result(send(name, word))
    await site.passes()
    await site.result(run.unpause())

    assert await site.result(run.result()) == (others if kind == "signals" else "a")


async def test_children_live_on_and_are_cancelled_when_the_run_ends(site: WorkersInMemory) -> None:
    await site.add(leaves_a_child, waits)
    run = await site.result(site.client.start(leaves_a_child, 1, id="run"))
    await site.until(lambda: bool(site.records("run", r.Suspended)) and bool(site.records("run-child-1")))

    await run.resume("end", "")

    assert await site.result(run.result()) == "run-child-2"
    for child in ("run-child-1", "run-child-2"):
        with pytest.raises(RunCancelled):
            await site.result(site.client.get_run(child).result())


async def test_a_child_that_was_refused_is_not_carried_over(site: WorkersInMemory) -> None:
    await site.add(asks_for_a_taken_id, waits)
    await site.result(site.client.start(waits, id="taken"))
    run = await site.result(site.client.start(asks_for_a_taken_id, 3, id="run"))

    assert await site.result(run.result()) == "own"

    (last,) = site.records("run", r.Continued)
    assert isinstance(last, r.Continued)
    assert [one.child for one in last.children] == ["own"]


async def test_what_was_left_by_a_dead_owner_is_removed_by_the_next_one(site: WorkersInMemory) -> None:
    worker = await site.add(listens)
    run = await site.result(site.client.start(listens, 1, NOTHING, id="run"))
    await site.until(lambda: bool(site.records("run", r.Suspended)))

    def dies(door: MemoryDoor, one: Operation, moment: str) -> None:
        if one.name == "purge" and door is worker.door and moment == "before":
            worker.kill()

    site.server.on_operation = dies

    await run.resume("go", "")
    await site.until(lambda: bool(site.records("run", r.Continued)))
    await site.add(listens)
    await site.until(lambda: any(one.name == "early" for one in _suspended(site, "run")))

    assert opens_history(site.turns("run")[0])


async def test_a_run_that_was_asked_to_cancel_does_not_continue() -> None:
    @workflow
    async def stubborn(ctx: WorkflowContext) -> None:
        try:
            await ctx.suspend("never", type=str)
        finally:
            ctx.continue_as_new()

    async with TestEnvironment([stubborn]) as env:
        run = await env.start(stubborn)
        await env.until(run, suspended="never")
        await run.cancel(reason="enough")
        with pytest.raises(RunCancelled, match="enough"):
            await run.result()


@pytest.mark.parametrize("replays", [False, True])
async def test_one_that_is_cancelled_while_it_is_parked_ends_although_it_continues(
    site: WorkersInMemory, replays: bool
) -> None:
    worker = await site.add(parks_and_continues)
    run = await site.result(site.client.start(parks_and_continues, 1, id="run"))
    await site.until(lambda: bool(site.records("run", r.Parked)))
    await site.result(run.signal("go", "on"))
    await site.until(lambda: bool(site.records("run", r.SignalReceived)))
    if replays:
        worker.kill()
        await site.add(parks_and_continues)

    await site.result(run.cancel(reason="enough"))

    with pytest.raises(RunCancelled, match="enough"):
        await site.result(run.result())
    replay_history([parks_and_continues], "run", site.turns("run"))


async def test_too_much_to_carry_over_is_refused_where_the_code_can_handle_it() -> None:
    @workflow
    async def hoards(ctx: WorkflowContext, text: str) -> str:
        await ctx.suspend("go", type=str)
        try:
            ctx.continue_as_new("x" * 50_000)
        except PayloadTooLargeError as error:
            first = await ctx.wait_for_signal("large", type=str)
            return f"{len(first)} {'with 10 unread signals' in str(error)}"

    async with TestEnvironment([hoards]) as env:
        run = await env.start(hoards, "")
        for _ in range(10):
            await run.signal("large", "y" * 50_000)
        await run.resume("go", "")

        assert await run.result() == "50000 True"


async def test_what_comes_after_it_has_asked_to_continue_is_bounded_too(site: WorkersInMemory) -> None:
    await site.add(tidies_as_it_continues)
    run = await site.result(site.client.start(tidies_as_it_continues, 1, id="run"))
    await site.until(lambda: bool(site.records("run", r.Suspended)))
    for _ in range(20):
        await site.result(run.signal("word", "x" * 60_000))
    await site.result(run.resume("tidy", ""))

    await site.until(lambda: bool(site.records("run", r.Parked)))

    description = await site.result(run.describe())
    assert description.parked == "stuck"
    assert "786432" in description.waits_for[0]
    assert not site.records("run", r.Continued)
    await site.result(run.terminate())
    with pytest.raises(RunTerminated):
        await site.result(run.result())


async def test_only_the_workflow_itself_continues_and_only_with_its_own_arguments() -> None:
    @workflow
    async def elsewhere(ctx: WorkflowContext, is_in_task: bool) -> None:
        async def inner() -> None:
            ctx.continue_as_new(False)

        if is_in_task:
            with pytest.raises(RefusedError, match="only the workflow itself"):
                await asyncio.create_task(inner())
            ctx.continue_as_new(False)
        ctx.continue_as_new("no bool")

    async with TestEnvironment([elsewhere]) as env:
        with pytest.raises(RunFailed, match="is_in_task"):
            await (await env.start(elsewhere, True)).result()


async def test_code_that_continues_without_end_and_without_waiting_leaves_others_their_turn(
    site: WorkersInMemory,
) -> None:
    await site.add(spins, counts)
    spinning = await site.result(site.client.start(spins, 0))
    run = await site.result(site.client.start(counts, 0, NOTHING))
    await site.result(run.result())
    await spinning.terminate()

    await site.until(lambda: bool(site.records(spinning.id, r.RunTerminated)))
    assert len(site.turns(spinning.id)) <= 2


async def test_a_journal_may_begin_with_a_continued_turn_and_with_no_other(site: WorkersInMemory) -> None:
    door = site.server.door("reader")
    continued = Turn(VERSION, 7, "a", "me", 1, 1, 1, "0" * 32, (r.Continued(2, 0, 10), r.RunStarted("w", "q")))
    other = Turn(VERSION, 7, "a", "me", 1, 1, 1, "0" * 32, (r.RunStarted("w", "q"),))

    await door.publish(LOG, encode(continued))
    last = await door.last(LOG)
    assert last is not None
    assert (await read_history(door, LOG, last)).turns == (continued,)

    await door.purge(LOG)
    await door.publish(LOG, encode(other))
    last = await door.last(LOG)
    assert last is not None
    with pytest.raises(BrokenChainError, match="turn 7"):
        await read_history(door, LOG, last)


def test_the_largest_opening_fits_into_one_message() -> None:
    names = tuple("\U0001f600" * LIMITS.id_characters_max for _ in range(LIMITS.names_carried_max))
    text = encode("x" * (LIMITS.payload_bytes_max - 2))
    continued = r.Continued(2, 0, 0, 0, names, names)
    turn = Turn(VERSION, 1, "", "", 1, 1, 1, "", (continued, r.RunStarted("w", "q", (Raw(text),))))

    assert len(encode(turn)) < LIMITS.turn_bytes_max - 2_048


def _suspended(site: WorkersInMemory, run: str) -> list[r.Suspended]:
    return [one for one in site.records(run, r.Suspended) if isinstance(one, r.Suspended)]
