"""Large values and data keys on three nodes survive the kill of the node that leads them."""

from __future__ import annotations

import pytest
from tests.cluster_of_three import ClusterOfThree
from tests.runs import suspended

from relight import (
    AlreadyAnsweredError,
    Encryption,
    Keys,
    Relight,
    Run,
    UnavailableError,
    Worker,
    WorkflowContext,
    step,
    workflow,
)

LARGE = 600_000


@step
async def made(size: int) -> str:
    return "x" * size


@workflow
async def carries(ctx: WorkflowContext, text: str) -> str:
    result = await made(LARGE)
    return result + text + await ctx.suspend("more", type=str)


async def answered(run: Run[str], text: str) -> None:
    """Answer until it is durable: an election takes some seconds."""
    while True:
        try:
            return await run.resume("more", text)
        except AlreadyAnsweredError:
            return
        except UnavailableError:
            continue


async def test_a_sealed_run_with_large_values_goes_on_without_the_leader_of_its_values_and_keys(
    cluster: ClusterOfThree, namespace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RELIGHT_REPLICAS", "3")
    codecs = [Encryption(Keys({"first": bytes(range(32))}))]
    async with Relight(cluster.urls, namespace=namespace, codecs=codecs) as client:
        async with Worker(client, [carries]):
            run = await client.start(carries, "a" * LARGE)
            await suspended(run, "more")
        async with Worker(client, [carries]):  # Another one, which reads what was recorded.
            leader = await cluster.leader_of(f"OBJ_RELIGHT_{namespace}")
            leader.kill()
            await answered(run, "m" * LARGE)
            assert await run.result(timeout=60) == "x" * LARGE + "a" * LARGE + "m" * LARGE
        leader.start()
        await cluster.formed()
