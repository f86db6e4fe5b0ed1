"""Concurrent workflows whose steps end in any order, live, ask for the same in every replay."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st

from relight import Retry, StepFailed, Workflow, WorkflowContext, step, workflow
from relight.testing.replaying import replay_history
from relight.testing.schedule import Schedule, Weather
from relight.testing.stage import Stage, stage_here


@step
async def work(number: int) -> int:
    """Takes as long as chance says; one in five fails."""
    stage, chance = stage_here(), step.deps(Random)
    assert stage is not None
    await stage.sleep(chance.choice([0, 0.001, 0.001, 1, 5]))
    if chance.random() < 0.2:
        raise ArithmeticError(str(number))
    return number


unrepeated = work.options(name="unrepeated", retry=Retry(attempts=1))


@workflow
async def entangled(ctx: WorkflowContext, width: int) -> list[str]:
    said: list[str] = []
    queue: asyncio.Queue[int] = asyncio.Queue()

    async def worker(number: int) -> None:
        try:
            async with asyncio.timeout(3):
                await queue.put(await unrepeated(number))
        except StepFailed:
            said.append(f"failed {number}")
        except TimeoutError:
            said.append(f"late {number}")
        said.append(str(ctx.random.random()))

    async with asyncio.TaskGroup() as group:
        for number in range(width):
            group.create_task(worker(number))
    waiting = [asyncio.ensure_future(unrepeated(100 + number)) for number in range(width)]
    done, pending = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
    for one in pending:
        one.cancel()
    said += [str(queue.get_nowait()) for _ in range(queue.qsize())]
    said += [repr(one.exception() or one.result()) for one in done]
    return [*said, str(ctx.now()), str(ctx.uuid4())]


@given(seed=st.integers(0, 2**32), width=st.integers(1, 5))
@settings(max_examples=60, deadline=None)
def test_a_live_history_replays_whatever_the_order_of_completions(seed: int, width: int) -> None:
    asyncio.run(played_and_replayed(entangled, width, seed))


@workflow
async def winding(ctx: WorkflowContext, seed: int) -> list[str]:
    """Steps in a row, side by side, with time-outs, and in tasks that are awaited later: as chance says."""
    chance, said, numbers = Random(seed), list[str](), iter(range(1_000))

    async def row(length: int) -> None:
        for _ in range(length):
            try:
                said.append(str(await unrepeated(next(numbers))))
            except StepFailed:
                said.append("failed")

    async def piece(depth: int) -> None:
        match chance.choice(["row", "row", "gather", "group", "timeout", "later", "race"] if depth else ["row"]):
            case "gather":
                await asyncio.gather(*(piece(depth - 1) for _ in range(chance.randint(1, 3))))
            case "group":
                async with asyncio.TaskGroup() as group:
                    for _ in range(chance.randint(1, 3)):
                        group.create_task(piece(depth - 1))
            case "timeout":
                with suppress(TimeoutError):
                    async with asyncio.timeout(chance.choice([0, 0.5, 3])):
                        await piece(depth - 1)
            case "later":
                task = asyncio.ensure_future(row(2))
                await piece(depth - 1)
                await asyncio.shield(task)
            case "race":
                racing = [asyncio.ensure_future(row(chance.randint(1, 2))) for _ in range(3)]
                _, pending = await asyncio.wait(racing, return_when=asyncio.FIRST_COMPLETED)
                for one in pending:
                    one.cancel()
            case _:
                await row(chance.randint(1, 3))
        said.append(str(ctx.now()))

    for _ in range(3):
        await piece(2)
    return said


@given(seed=st.integers(0, 2**32))
@settings(max_examples=40, deadline=None)
def test_whatever_a_workflow_is_made_of_its_history_replays(seed: int) -> None:
    asyncio.run(played_and_replayed(winding, seed, seed))


async def played_and_replayed(played: Workflow[[int], list[str]], number: int, seed: int) -> None:
    schedule = Schedule(seed, Weather(reordered=0.75))
    async with Stage([played], deps=Random(seed), schedule=schedule) as stage:
        await stage.open_worker()
        run = await stage.client.start(played, number)
        await run.result()

        replay_history([played], run.id, stage.observer.turns(run.id))
