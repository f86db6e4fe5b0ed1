"""A worker that needs a while to open a start: nobody else begins the run meanwhile."""

from __future__ import annotations

import asyncio

import pytest
from tests.crash.workers_in_memory import workers_in_memory

from relight import Encryption, Keys, RunCancelled, WorkflowContext, step, workflow
from relight.actors.codecs import WrappedKey

KEYS = Keys({"first": bytes(range(32))})

executed: list[str] = []


class SlowKeys:
    """As one that asks another machine: unwraps when the test lets it."""

    def __init__(self) -> None:
        self.is_asked = False
        self.answers = asyncio.Event()

    async def wrap(self, data_key: bytes, *, run: str) -> WrappedKey:
        return await KEYS.wrap(data_key, run=run)

    async def unwrap(self, wrapped: WrappedKey, *, run: str) -> bytes:
        self.is_asked = True
        await self.answers.wait()
        return await KEYS.unwrap(wrapped, run=run)


@step
async def noted(text: str) -> str:
    executed.append(text)
    return text


@workflow
async def notes(ctx: WorkflowContext, text: str) -> str:
    return await noted(text)


async def test_a_start_that_comes_again_while_it_is_being_opened_is_begun_once() -> None:
    executed.clear()
    slow = SlowKeys()
    async with workers_in_memory() as site, site.another_client(Encryption(KEYS)) as client:
        owner = await site.add(notes, codecs=(Encryption(slow),))
        run = await site.result(client.start(notes, "text"))
        await site.until(lambda: slow.is_asked)
        await site.add(notes, codecs=(Encryption(KEYS),))
        start = site.server.stream.last(site.client.subjects.start_any_queue(run.id))
        assert start is not None
        for _ in range(3):
            site.server.consumer("start", "default").nak(start.sequence, owner.door, 0.0)
            await site.pass_time(1)

        slow.answers.set()

        assert await site.result(run.result()) == "text"
        await site.pass_time(1)
        assert executed == ["text"]


async def test_a_cancel_that_came_while_a_start_was_being_opened_comes_before_its_first_step() -> None:
    executed.clear()
    slow = SlowKeys()
    async with workers_in_memory() as site, site.another_client(Encryption(KEYS)) as client:
        await site.add(notes, codecs=(Encryption(slow),))
        run = await site.result(client.start(notes, "text"))
        await site.until(lambda: slow.is_asked)
        await site.result(run.cancel())

        slow.answers.set()

        with pytest.raises(RunCancelled):
            await site.result(run.result())
        assert executed == []
