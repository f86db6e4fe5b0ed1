"""An id that somebody starts while a fork is copied under it, or when its copy was given up: the start decides."""

from __future__ import annotations

import asyncio
from typing import Literal

import msgspec
import pytest
from tests.crash.workers_in_memory import WorkersInMemory

from relight import ConflictError, Relight, Run, WorkflowContext, step, workflow
from relight.config.limits import LIMITS
from relight.subjects import records as r
from relight.subjects.codec import encode
from relight.subjects.messages import ParentOver, Start
from relight.testing.memory import MemoryDoor, Operation

_ALL = 10_000
"""More turns than the copy has."""


class _Ran:
    """Two workflows, and which of their steps were executed."""

    def __init__(self) -> None:
        self.steps = steps = list[str]()

        @step
        async def count(number: int) -> int:
            steps.append(f"count {number}")
            return number + 1

        @step
        async def greet(name: str) -> str:
            steps.append(f"greet {name}")
            return f"hello {name}"

        @workflow
        async def counts(ctx: WorkflowContext) -> int:
            number = 0
            for _ in range(4):
                number = await count(number)
                await ctx.sleep(1)
            return number

        @workflow
        async def greets(ctx: WorkflowContext, name: str) -> str:
            return await greet(name)

        self.counts, self.greets = counts, greets


def _stop_when_copied(site: WorkersInMemory, client: Relight, turns: int) -> None:
    """Stop a client when it has stored so many turns of the copy, or all."""

    def look(door: MemoryDoor, operation: Operation, moment: Literal["before", "after"]) -> None:
        is_copied = operation.subject == site.client.subjects.log("fork") and operation.name == "publish"
        if is_copied and moment == "after" and (len(site.turns("fork")) == turns or _is_whole(site)):
            site.server.on_operation = None
            assert door is client.door
            door.stop()

    site.server.on_operation = look


def _is_whole(site: WorkersInMemory) -> bool:
    (started,) = site.records("fork", r.RunStarted)
    assert isinstance(started, r.RunStarted)
    return len(site.records("fork")) == started.origin_records


class _Unknown:
    """A codec that nobody else has."""

    name = "unknown"

    def encode(self, data: bytes, *, key: bytes, place: bytes) -> bytes:
        return data[::-1]

    def decode(self, data: bytes, *, key: bytes, place: bytes) -> bytes:
        return data[::-1]


async def _origin(site: WorkersInMemory, ran: _Ran) -> Run[int]:
    await site.add(ran.counts, ran.greets)
    run = await site.result(site.client.start(ran.counts, id="origin"))
    assert await site.result(run.result()) == 4
    await site.pass_time(5)
    ran.steps.clear()
    return run


def _fork(client: Relight) -> asyncio.Task[Run[object]]:
    return asyncio.ensure_future(client.get_run("origin").fork(after="count#3", id="fork"))


async def _copied(site: WorkersInMemory, client: Relight, turns: int = _ALL) -> asyncio.Task[Run[object]]:
    """Fork, and stop when so many turns are copied."""
    _stop_when_copied(site, client, turns)
    forking = _fork(client)
    await site.until(lambda: site.server.on_operation is None)
    assert {one.epoch for one in site.turns("fork")} == {0}
    assert turns == _ALL or (len(site.turns("fork")) == turns and not _is_whole(site))
    return forking


async def _abandoned(forking: asyncio.Task[Run[object]]) -> None:
    forking.cancel()
    await asyncio.wait({forking})


def _resumed(client: Relight) -> None:
    assert isinstance(client.door, MemoryDoor)
    client.door.resume()


@pytest.mark.parametrize("turns", [1, _ALL], ids=["of a part", "of all"])
@pytest.mark.parametrize("waits", [False, True], ids=["at once", "later"])
async def test_what_was_accepted_is_what_runs(site: WorkersInMemory, turns: int, waits: bool) -> None:
    ran = _Ran()
    await _origin(site, ran)
    async with site.another_client() as forker:
        await _abandoned(await _copied(site, forker, turns))
        _resumed(forker)
        if waits:
            site.workers[0].kill()

        run = await site.result(site.client.start(ran.greets, "you", id="fork"))
        if waits:
            await site.pass_time(LIMITS.ack_wait_s)
            await site.add(ran.counts, ran.greets)

        assert await site.result(run.result()) == "hello you"
        assert set(ran.steps) == {"greet you"}
        started = site.records("fork", r.RunStarted)
        assert [one.workflow for one in started if isinstance(one, r.RunStarted)] == ["greets"]
        with pytest.raises(ConflictError):
            await site.result(_fork(site.client))


@pytest.mark.parametrize("turns", [1, 2, _ALL])
async def test_whoever_copies_on_is_refused_and_mixes_nothing(site: WorkersInMemory, turns: int) -> None:
    ran = _Ran()
    await _origin(site, ran)
    async with site.another_client() as forker:
        forking = await _copied(site, forker, turns)
        run = await site.result(site.client.start(ran.greets, "you", id="fork"))
        assert await site.result(run.result()) == "hello you"
        before = site.turns("fork")

        _resumed(forker)
        with pytest.raises(ConflictError):
            await site.result(forking)

        assert site.turns("fork") == before


@pytest.mark.parametrize("turns", [1, 2, _ALL])
async def test_so_is_one_whose_copy_was_removed_and_nothing_recorded_since(site: WorkersInMemory, turns: int) -> None:
    ran = _Ran()
    await _origin(site, ran)
    async with site.another_client() as forker:
        forking = await _copied(site, forker, turns)
        site.workers[0].kill()
        await site.result(site.client.start(ran.greets, "you", id="fork"))
        await site.add(ran.counts)  # Removes what was copied, and has not got the code.
        await site.until(lambda: not site.turns("fork"))

        _resumed(forker)
        with pytest.raises(ConflictError):
            await site.result(forking)

        assert not site.turns("fork")
        await site.add(ran.greets)
        assert await site.result(site.client.get_run("fork", type=str).result()) == "hello you"


async def test_a_message_alone_does_not_run_what_was_copied(site: WorkersInMemory) -> None:
    ran = _Ran()
    await _origin(site, ran)
    async with site.another_client() as forker:
        forking = await _copied(site, forker)
        turns = site.turns("fork")

        mailbox = site.client.subjects.wake("default", "fork")
        await site.result(site.server.door("somebody").publish(mailbox, encode(ParentOver(parent="nobody"))))
        await site.pass_time(LIMITS.ack_wait_s * 10)

        assert site.turns("fork") == turns
        assert site.server.stream.last(mailbox) is None
        _resumed(forker)
        assert await site.result((await site.result(forking)).result()) == 4


async def test_nor_does_the_start_of_another_fork(site: WorkersInMemory) -> None:
    ran = _Ran()
    await _origin(site, ran)
    async with site.another_client() as forker:
        await _abandoned(await _copied(site, forker))
        _resumed(forker)
        (started,) = site.records("fork", r.RunStarted)
        assert isinstance(started, r.RunStarted)
        other = msgspec.structs.replace(started, origin_hash="0" * 32)

        start = site.client.subjects.start("default", "fork")
        await site.result(site.server.door("somebody").publish(start, encode(Start(v=1, run=other)), fence=0))
        await site.until(lambda: len(site.records("fork")) == 1)

        (parked,) = site.records("fork")
        assert isinstance(parked, r.Parked)
        assert parked.reason == "corrupt"
        assert ran.steps == []


async def test_a_copy_that_nobody_here_can_open_holds_nothing_up(site: WorkersInMemory) -> None:
    ran = _Ran()
    await _origin(site, ran)

    async with site.another_client(_Unknown()) as forker:
        forking = _fork(forker)
        await site.until(lambda: bool(site.turns("fork")))
        await _abandoned(forking)
        assert site.turns("fork")[-1].sealed

        run = await site.result(site.client.start(ran.greets, "you", id="fork"))

        assert await site.result(run.result()) == "hello you"
