"""Waiting for the end of a run, when notices are lost."""

from __future__ import annotations

import asyncio

from tests.crash.apps_proxy import Proxy

from relight import Relight, Worker, WorkflowContext, workflow
from relight.config.server import EmbeddedServer


@workflow
async def waits_for_go(ctx: WorkflowContext) -> str:
    return await ctx.wait_for_signal("go", type=str)


async def test_an_end_is_heard_although_its_notice_was_lost_with_the_connection(server: EmbeddedServer) -> None:
    async with Proxy(server.url) as proxy, Relight(proxy.url) as waiting, Relight(server.url) as other:
        run = await waiting.start(waits_for_go, id="run")
        result = asyncio.create_task(run.result(timeout=30))
        await proxy.connected("relight-client")
        proxy.connections[0].hold("server")

        async with Worker(other, [waits_for_go]):
            await other.get_run("run").signal("go", "done")
            assert await other.get_run("run", type=str).result(timeout=30) == "done"
        proxy.cut()

        assert await result == "done"


async def test_the_end_is_looked_for_once_more_before_it_is_said_that_a_run_goes_on(client: Relight) -> None:
    async with Worker(client, [waits_for_go]):
        run = await client.start(waits_for_go)
        await run.signal("go", "done")
        await run.result(timeout=10)

    assert await client.get_run(run.id).result(timeout=0) == "done"
