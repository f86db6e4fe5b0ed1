"""Starting many runs at once."""

from __future__ import annotations

import pytest

from relight import ConflictError, Relight, Worker, WorkflowContext, workflow
from relight.config.limits import LIMITS
from relight.testing import TestEnvironment


@workflow
async def echoes(ctx: WorkflowContext, number: int) -> int:
    return number


async def test_many_runs_are_started_in_the_order_of_their_inputs(client: Relight) -> None:
    count = 2 * LIMITS.starts_at_once + 7

    async with Worker(client, [echoes]):
        runs = [run async for run in client.start_many(echoes, range(count))]

        assert [await run.result(timeout=30) for run in runs] == list(range(count))


async def test_repeating_it_attaches_to_what_was_started_before() -> None:
    async with TestEnvironment([echoes]) as env:
        first = [run.id async for run in env.client.start_many(echoes, [1, 2], id=lambda number: f"echo-{number}")]

        again = [run.id async for run in env.client.start_many(echoes, [1, 2, 3], id=lambda number: f"echo-{number}")]

        assert first == ["echo-1", "echo-2"]
        assert again == ["echo-1", "echo-2", "echo-3"]
        assert len([one async for one in env.client.runs()]) == 3


async def test_what_start_refuses_is_raised_at_its_place() -> None:
    async with TestEnvironment([echoes]) as env:
        await env.client.start(echoes, 5, id="taken")
        starting = env.client.start_many(echoes, [1, 2, 3], id=lambda n: "taken" if n == 2 else f"echo-{n}")

        assert (await anext(starting)).id == "echo-1"
        with pytest.raises(ConflictError):
            await anext(starting)
