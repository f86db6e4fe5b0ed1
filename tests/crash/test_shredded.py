"""A run whose data key was destroyed: within five minutes it stands still, and its family goes on without it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator

import pytest
from tests.crash.workers_in_memory import WorkersInMemory

from relight import (
    Codec,
    Encryption,
    Keys,
    RefusedError,
    Relight,
    RunNotFoundError,
    SealedError,
    WorkflowContext,
    Zstd,
    step,
    workflow,
)
from relight.actors.codecs import WrappedKey
from relight.actors.retire import retire
from relight.subjects import records as r

KEYS = Keys({"first": bytes(range(32))})
CODEC = Encryption(KEYS)
LARGE = 300_000
REMEMBERED_S = 300.0


class Away:
    """Wraps, but does not unwrap."""

    async def wrap(self, data_key: bytes, *, run: str) -> WrappedKey:
        return await KEYS.wrap(data_key, run=run)

    async def unwrap(self, wrapped: WrappedKey, *, run: str) -> bytes:
        raise ConnectionError("it is away")


@workflow
async def child(ctx: WorkflowContext, size: int) -> str:
    await ctx.sleep(3600)
    return "x" * size


@workflow
async def leaves_a_child(ctx: WorkflowContext, size: int) -> str:
    await ctx.start(child, size, id="child", on_parent_close="detach")
    return "left"


@workflow
async def awaits_a_child(ctx: WorkflowContext, size: int) -> int:
    return len(await ctx.call(child, size, id="child"))


@workflow
async def starts_a_child(ctx: WorkflowContext) -> str:
    await ctx.start(child, 10, id="child")
    return await ctx.wait_for_signal("go", type=str)


@workflow
async def gives_back(ctx: WorkflowContext, text: str) -> str:
    return text


@workflow
async def waits(ctx: WorkflowContext) -> str:
    return await ctx.wait_for_signal("go", type=str)


@pytest.fixture
async def client(site: WorkersInMemory) -> AsyncGenerator[Relight]:
    """A client with the keys; workers send by it, too."""
    async with site.another_client(CODEC) as client:
        site.client = client
        yield client


def unacknowledged(site: WorkersInMemory) -> list[int]:
    """Sequences of the messages that the server would deliver again."""
    consumers = [site.server.consumer(kind, "default") for kind in ("start", "wake")]
    return [sequence for sequence in range(1, 300) if any(one.knows(sequence) for one in consumers)]


@pytest.mark.parametrize("size", [10, LARGE])
async def test_a_child_of_a_shredded_parent_that_has_ended_is_let_go_and_retired(
    site: WorkersInMemory, client: Relight, size: int
) -> None:
    await site.add(leaves_a_child, child, codecs=(CODEC,))
    run = await site.result(client.start(leaves_a_child, size))
    await site.result(run.result())
    await site.result(run.shred())

    await site.pass_time(3600 + 600)

    assert unacknowledged(site) == []
    assert await site.result(client.get_run("child", type=str).result()) == "x" * size
    await site.result(retire(client.door, client.subjects, "child"))


@pytest.mark.parametrize("size", [10, LARGE])
async def test_a_child_of_a_shredded_parent_that_waits_for_it_is_retired(
    site: WorkersInMemory, client: Relight, size: int
) -> None:
    await site.add(awaits_a_child, child, codecs=(CODEC,))
    run = await site.result(client.start(awaits_a_child, size))
    await site.pass_time(60)
    await site.result(run.shred())

    await site.pass_time(3600 + 600)

    await site.result(retire(client.door, client.subjects, "child"))
    assert site.records("child") == []


async def test_a_parent_of_a_shredded_child_is_let_go_and_retired(site: WorkersInMemory, client: Relight) -> None:
    await site.add(starts_a_child, child, codecs=(CODEC,))
    run = await site.result(client.start(starts_a_child))
    await site.pass_time(60)
    await site.result(client.get_run("child").shred())
    await site.pass_time(REMEMBERED_S)

    await site.result(run.signal("go", "on"))
    assert await site.result(run.result()) == "on"
    await site.pass_time(60)

    await site.result(retire(client.door, client.subjects, run.id))
    assert site.records(run.id) == []


async def test_a_parent_whose_key_was_deleted_as_from_any_bucket_is_retired(
    site: WorkersInMemory, client: Relight
) -> None:
    await site.add(starts_a_child, child, codecs=(CODEC,))
    run = await site.result(client.start(starts_a_child))
    await site.result(run.signal("go", "on"))
    assert await site.result(run.result()) == "on"
    (key,) = site.server.stream.subjects(client.subjects.key(run.id, "*"), limit=2)
    site.server.stream.publish(key, b"", fence=None, fence_subject=None)
    await site.pass_time(REMEMBERED_S)

    await site.result(retire(client.door, client.subjects, run.id))

    assert site.records(run.id) == []
    assert site.server.stream.subjects(client.subjects.key(run.id, "*"), limit=2) == []


async def test_who_sends_a_shredded_run_a_signal_is_told(site: WorkersInMemory, client: Relight) -> None:
    await site.add(waits, codecs=(CODEC,))
    run = await site.result(client.start(waits))
    await site.pass_time(60)
    await site.result(run.shred())
    await site.pass_time(REMEMBERED_S)

    with pytest.raises(SealedError, match="was destroyed"):
        await site.result(run.signal("go", "on"))


@pytest.mark.parametrize("codecs", [(), (Zstd(),)], ids=["plain", "compressed"])
async def test_what_has_no_data_key_can_not_be_shredded(site: WorkersInMemory, codecs: tuple[Codec, ...]) -> None:
    await site.add(gives_back, codecs=codecs)
    async with site.another_client(*codecs) as client:
        run = await site.result(client.start(gives_back, "text"))
        await site.result(run.result())

        with pytest.raises(RefusedError, match="was not encrypted"):
            await site.result(run.shred())
        with pytest.raises(RunNotFoundError):
            await site.result(client.get_run("another").shred())


async def test_to_shred_needs_no_key_and_may_be_repeated(site: WorkersInMemory, client: Relight) -> None:
    run = await site.result(client.start(waits))
    for codecs in ((Encryption(Away()),), (), (CODEC,)):
        async with site.another_client(*codecs) as another:
            await site.result(another.get_run(run.id).shred())

            assert site.server.stream.subjects(client.subjects.key(run.id, "*"), limit=10) == []


async def test_a_shredded_run_that_works_stands_still_within_five_minutes(
    site: WorkersInMemory, client: Relight
) -> None:
    began_s: list[float] = []
    clock = site.server.clock

    @step
    async def slow(number: int) -> int:
        began_s.append(clock.elapsed_s())
        ended = asyncio.Event()
        clock.call_later(100, ended.set)
        await ended.wait()
        return number

    @workflow
    async def works(ctx: WorkflowContext) -> int:
        return sum([await slow(number) for number in range(40)])

    await site.add(works, codecs=(CODEC,))
    run = await site.result(client.start(works))
    await site.pass_time(450)

    shredded_s = clock.elapsed_s()
    await site.result(run.shred())
    await site.pass_time(4000)

    assert [one for one in began_s if one > shredded_s + REMEMBERED_S] == []
    assert site.records(run.id, r.Parked) == []
