"""Several processes seal one id, at once or one after the other: what each remembers of it never counts for another."""

from __future__ import annotations

import asyncio

import pytest
from tests.crash.workers_in_memory import WorkersInMemory

from relight import (
    Encryption,
    Keys,
    Relight,
    Run,
    RunTerminated,
    SealedError,
    UnavailableError,
    WorkflowContext,
    step,
    workflow,
)
from relight.actors.retire import retire
from relight.config.limits import LIMITS
from relight.subjects.codec import decode_turn, encode
from relight.subjects.messages import TimerDue
from relight.subjects.turn import Turn
from relight.testing.memory.faults import Faults, Operation, Outcome

CODEC = Encryption(Keys({"first": bytes(range(32))}))
LARGE = 300_000


@workflow
async def gives_back(ctx: WorkflowContext, text: str) -> str:
    return text


@step
async def grown(text: str) -> str:
    return text + text


@workflow
async def steps_on(ctx: WorkflowContext, text: str) -> str:
    return await grown(text)


@workflow
async def listens(ctx: WorkflowContext, text: str) -> int:
    return len(text) + len(await ctx.wait_for_signal("more", type=str))


@workflow
async def listens_twice(ctx: WorkflowContext, text: str) -> int:
    first = await ctx.wait_for_signal("more", type=str)
    return len(text) + len(first) + len(await ctx.wait_for_signal("more", type=str))


@workflow
async def asks(ctx: WorkflowContext) -> str:
    return await ctx.suspend("go", type=str)


async def retired(site: WorkersInMemory, client: Relight, run: str) -> None:
    """The id is free again when this returns."""
    await site.pass_time(5)
    await site.result(retire(client.door, client.subjects, run))
    await site.pass_time(LIMITS.tombstone_s + 100)


def journal(site: WorkersInMemory, run: str) -> list[Turn]:
    stored = site.server.stream.read(site.client.subjects.log(run), after=0, limit=1000)
    turns = [decode_turn(one.data) for one in stored]
    return [one for one in turns if isinstance(one, Turn)]


def keys(site: WorkersInMemory, run: str) -> list[str]:
    return site.server.stream.subjects(site.client.subjects.key(run, "*"), limit=1000)


async def test_a_run_that_is_not_sealed_stays_so_under_an_id_that_a_sealed_one_had(site: WorkersInMemory) -> None:
    await site.add(gives_back, codecs=(CODEC,))
    async with site.another_client(CODEC) as sealing:
        run = await site.result(sealing.start(gives_back, "one", id="x"))
        assert await site.result(run.result()) == "one"
        await retired(site, sealing, "x")

        again = await site.result(site.client.start(gives_back, "two", id="x"))

        assert await site.result(again.result()) == "two"
        assert [one.sealed for one in journal(site, "x")] == [""]


async def test_a_fork_under_an_id_that_a_sealed_run_had_is_sealed_with_a_key_of_its_own(site: WorkersInMemory) -> None:
    await site.add(gives_back, steps_on, codecs=(CODEC,))
    async with site.another_client(CODEC) as client, site.another_client(CODEC) as another:
        origin = await site.result(client.start(steps_on, "one", id="origin"))
        await site.result(origin.result())
        run = await site.result(client.start(gives_back, "one", id="x"))
        await site.result(run.result())
        await retired(site, another, "x")

        fork = await site.result(origin.fork(after="grown#1", id="x"))

        assert await site.result(fork.result()) == "oneone"
        assert await site.result(another.get_run("x").result()) == "oneone"


async def test_a_client_whose_start_was_lost_sends_large_signals_to_the_run_that_another_has_started(
    site: WorkersInMemory,
) -> None:
    await site.add(listens, codecs=(CODEC,))
    async with site.another_client(CODEC) as unlucky, site.another_client(CODEC) as lucky:

        def lost(operation: Operation) -> Outcome:
            return "lost" if ".start." in operation.subject else "known"

        site.server.faults = Faults(outcome=lost)
        with pytest.raises(UnavailableError):
            await site.result(unlucky.start(listens, "a" * LARGE, id="x"))
        site.server.faults = Faults()
        run = await site.result(lucky.start(listens, "a" * LARGE, id="x"))

        await site.result(unlucky.get_run("x").signal("more", "b" * LARGE))

        assert await site.result(run.result()) == 2 * LARGE


@pytest.mark.parametrize("delay", range(0, 24))
async def test_one_client_may_start_one_id_twice_at_once(site: WorkersInMemory, delay: int) -> None:
    await site.add(listens_twice, codecs=(CODEC,))
    async with site.another_client(CODEC) as client:

        async def later() -> None:
            for _ in range(delay):
                await asyncio.sleep(0)
            await client.signal_with_start(listens_twice, "a" * LARGE, id="x", signal="more", data="b" * LARGE)

        first = client.signal_with_start(listens_twice, "a" * LARGE, id="x", signal="more", data="b" * LARGE)
        await site.result(asyncio.gather(first, later()))

        assert await site.result(client.get_run("x", type=int).result()) == 3 * LARGE


async def test_attaching_leaves_no_data_keys_behind(site: WorkersInMemory) -> None:
    await site.add(gives_back, codecs=(CODEC,))
    async with site.another_client(CODEC) as client:
        run = await site.result(client.start(gives_back, "one", id="x"))
        for _ in range(4):
            await site.result(client.start(gives_back, "one", id="x"))
        await site.result(run.result())
        assert len(keys(site, "x")) == 1

        await retired(site, client, "x")

        assert keys(site, "x") == []


async def test_whoever_asks_for_the_result_of_a_retired_run_makes_no_data_key(site: WorkersInMemory) -> None:
    await site.add(gives_back, codecs=(CODEC,))
    async with site.another_client(CODEC) as client:
        run = await site.result(client.start(gives_back, "a" * LARGE, id="x"))
        await site.result(run.result())
        await retired(site, client, "x")

        await site.result(client.door.last(client.subjects.value("x", "0" * 64)))

        assert keys(site, "x") == []


async def test_a_corrupt_sealed_run_is_terminated_with_a_reason(site: WorkersInMemory) -> None:
    await site.add(listens, codecs=(CODEC,))
    async with site.another_client(CODEC) as client:
        run = await site.result(client.start(listens, "one", id="x"))
        await site.pass_time(120)
        log = client.subjects.log("x")
        site.server.stream.publish(log, b"rubbish", fence=None, fence_subject=None)
        site.abandon("x", "nobody can read its journal: that it can be ended nevertheless is what is tested")
        due = encode(TimerDue(timer=0, due_ms=0))
        site.server.stream.publish(client.subjects.wake("default", "x"), due, fence=None, fence_subject=None)
        await site.pass_time(120)
        await site.result(run.terminate(reason="it is corrupt"))

        with pytest.raises(RunTerminated):
            await site.result(run.result())


@pytest.mark.parametrize("has_begun", [True, False])
async def test_a_sealed_run_that_was_found_in_a_list_is_sent_nothing_that_is_not_sealed(
    site: WorkersInMemory, has_begun: bool
) -> None:
    if has_begun:
        await site.add(listens, codecs=(CODEC,))
    async with site.another_client(CODEC) as client:
        await site.result(client.start(listens, "one", id="x"))
        await site.pass_time(5)

        async def found() -> Run[object]:
            (run,) = [one async for one in site.client.runs()]
            return run

        run = await site.result(found())
        with pytest.raises(SealedError):
            await site.result(run.signal("more", "two"))
        run = await site.result(found())
        with pytest.raises(SealedError):
            await site.result(run.request("more", "two", type=str))
        run = await site.result(found())
        with pytest.raises(SealedError):
            await site.result(run.resume("more", "two"))


async def test_an_answer_beside_one_that_can_not_be_opened_is_refused(site: WorkersInMemory) -> None:
    worker = await site.add(asks, codecs=(CODEC,))
    async with site.another_client(CODEC) as client:
        run = await site.result(client.start(asks, id="x"))
        await site.pass_time(5)
        worker.kill()
        await site.result(run.resume("go", "first"))

        with pytest.raises(SealedError):
            await site.result(site.client.get_run("x").resume("go"))

        await site.add(asks, codecs=(CODEC,))
        assert await site.result(run.result()) == "first"


async def test_who_can_not_open_what_is_unread_may_unpause_a_run(site: WorkersInMemory) -> None:
    worker = await site.add(asks, codecs=(CODEC,))
    async with site.another_client(CODEC) as client:
        run = await site.result(client.start(asks, id="x"))
        await site.result(run.pause())
        await site.pass_time(5)
        worker.kill()
        await site.result(run.resume("go", "first"))

        await site.result(site.client.get_run("x").unpause())

        await site.add(asks, codecs=(CODEC,))
        assert await site.result(run.result()) == "first"
