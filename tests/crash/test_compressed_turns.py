"""Turns that compression makes small, and that would be too large for whoever opens them."""

from __future__ import annotations

import asyncio

from tests.crash.workers_in_memory import WorkersInMemory

from relight import WorkflowContext, Zstd, step, workflow

STEPS, CHARACTERS = 200, 60_000
"""Together 12 MB, and some kilobytes when they are compressed."""


async def test_a_turn_is_cut_that_nobody_would_decompress_as_one(site: WorkersInMemory) -> None:
    are_let_go = asyncio.Event()

    @step
    async def made(number: int) -> str:
        await are_let_go.wait()
        return "x" * CHARACTERS

    @workflow
    async def makes_many(ctx: WorkflowContext) -> int:
        return sum(len(one) for one in await asyncio.gather(*(made(number) for number in range(STEPS))))

    async with site.another_client(Zstd()) as client:
        await site.add(makes_many, codecs=(Zstd(),))
        run = await site.result(client.start(makes_many))
        await site.pass_time(5)

        are_let_go.set()

        assert await site.result(run.result()) == STEPS * CHARACTERS
