"""Large values on a real server: objects that are checked when they are read, and removed with their run."""

from __future__ import annotations

from tests.runs import suspended, until

from relight import Relight, Run, Worker, WorkflowContext, step, workflow
from relight.actors.retire import retire

LARGE = 600_000


@step
async def made(size: int) -> str:
    return "x" * size


@workflow
async def carries(ctx: WorkflowContext, text: str) -> str:
    result = await made(LARGE)
    return result + text + await ctx.suspend("more", type=str)


async def chunks_of(client: Relight, run: Run[str]) -> list[str]:
    return await client.door.subjects(client.subjects.value_chunks(f"{run.id}.*.*"), limit=100)


async def test_values_are_objects_that_go_with_their_run(client: Relight) -> None:
    async with Worker(client, [carries]):
        run = await client.start(carries, "a" * LARGE)
        await suspended(run, "more")
    async with Worker(client, [carries]):  # Another one, which reads what was recorded.
        await run.resume("more", "m" * LARGE)
        result = await run.result(timeout=20)

    assert result == "x" * LARGE + "a" * LARGE + "m" * LARGE
    assert len(await chunks_of(client, run)) == 4
    assert (await run.describe()).history_bytes < 10_000

    await retire(client.door, client.subjects, run.id)

    assert await chunks_of(client, run) == []


async def test_a_value_that_is_damaged_where_it_is_stored_parks_the_run(client: Relight) -> None:
    async with Worker(client, [carries]):
        run = await client.start(carries, "a")
        await suspended(run, "more")
    (chunks,) = await chunks_of(client, run)
    first = await client.door.next(chunks, after=0)
    assert first is not None
    await client.door.remove(chunks, first.sequence)

    async with Worker(client, [carries]):
        await run.resume("more", "m")
        await until(run, lambda seen: seen.parked == "stuck")

    assert "damaged" in str(await run.describe())
