"""Who leaves a worker or a client, however it is left, leaves nothing that goes on, and nobody who waits for ever."""

from __future__ import annotations

import asyncio
import threading
from contextlib import suppress

import pytest

from relight import RefusedError, Relight, RelightError, Worker, WorkflowContext, step, workflow
from relight.config.server import EmbeddedServer

began, ended = asyncio.Event(), asyncio.Event()


@step
async def goes_on() -> None:
    began.set()
    try:
        await asyncio.Event().wait()
    finally:
        ended.set()


@workflow
async def goes_on_for_ever(ctx: WorkflowContext) -> None:
    await goes_on()


@workflow
async def suspends(ctx: WorkflowContext) -> None:
    await ctx.suspend("never")


async def works(client: Relight) -> None:
    async with Worker(client, [goes_on_for_ever]):
        await asyncio.Event().wait()


async def passes() -> None:
    """Let everybody come to what they wait for; none of it needs the server."""
    for _ in range(10):
        await asyncio.sleep(0)


async def test_a_worker_that_is_cancelled_while_it_drains_runs_no_step_any_more(
    shared_server: EmbeddedServer, namespace: str
) -> None:
    async with Relight(shared_server.url, namespace=namespace) as client:
        working = asyncio.ensure_future(works(client))
        await client.start(goes_on_for_ever)
        async with asyncio.timeout(20):
            await began.wait()
        working.cancel()
        await passes()  # It drains: for ten seconds, as long as its step goes on.
        assert not ended.is_set()
        working.cancel()
        with suppress(asyncio.CancelledError):
            await working

        await passes()
        assert ended.is_set()


async def test_entering_that_is_cancelled_leaves_no_thread(shared_server: EmbeddedServer, namespace: str) -> None:
    def keepers() -> set[threading.Thread]:
        return {one for one in threading.enumerate() if one.name == "relight-keeper"}

    others = keepers()
    async with Relight(shared_server.url, namespace=namespace) as client:
        entering = asyncio.ensure_future(works(client))
        while keepers() == others:
            await asyncio.sleep(0)
        entering.cancel()
        with suppress(asyncio.CancelledError):
            await entering

        assert keepers() == others


async def test_who_waits_for_a_result_hears_that_the_client_was_closed(
    shared_server: EmbeddedServer, namespace: str
) -> None:
    async with Relight(shared_server.url, namespace=namespace) as client:
        run = await client.start(suspends)
        waiting = asyncio.ensure_future(run.result())
        await passes()

    async with asyncio.timeout(20):
        with pytest.raises(RelightError, match="was closed while it waited"):
            await waiting
        with pytest.raises(RelightError, match="not open"):
            await run.result()


async def test_a_worker_that_works_is_not_entered_again(shared_server: EmbeddedServer, namespace: str) -> None:
    async with Relight(shared_server.url, namespace=namespace) as client, Worker(client, [suspends]) as worker:
        with pytest.raises(RefusedError, match="make another Worker"):
            async with worker:
                pass


async def test_each_life_of_a_worker_has_a_name_of_its_own(shared_server: EmbeddedServer, namespace: str) -> None:
    async with Relight(shared_server.url, namespace=namespace) as client:
        worker, names = Worker(client, [suspends]), set[str]()
        for _ in range(2):
            async with worker:
                names.add(worker.id)

    assert len(names) == 2
