"""Concurrent workflows whose steps end in any order, live, ask for the same in every replay."""

from __future__ import annotations

import asyncio
from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st

from relight import Retry, StepFailed, WorkflowContext, step, workflow
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
    async def play() -> None:
        schedule = Schedule(seed, Weather(reordered=0.75))
        async with Stage([entangled], deps=Random(seed), schedule=schedule) as stage:
            await stage.open_worker()
            run = await stage.client.start(entangled, width)
            await run.result()

            replay_history([entangled], run.id, stage.observer.turns(run.id))

    asyncio.run(play())
