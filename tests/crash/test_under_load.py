"""Real workers that have a lot to do, while deliveries come twice and out of order, and while workers are stopped.

Nobody dies here and nobody is stopped for long, so no step runs twice.
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections import Counter
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from random import Random

from tests.crash.apps import brisk, collects, quick
from tests.crash.apps_fleet import Fleet, WorkerProcess
from tests.raw_nats import connected

from relight import Run
from relight.actors.jetstream.announcements import LeaseName, token_of
from relight.config.server import EmbeddedServer

_WORKFLOWS = ("quick", "brisk", "collects")
_RUNS_OF_EACH = 40
_SIGNALS = 8
_REDELIVERED_MIN = 120
"""Starts that come again before it counts: how often they can be disturbed while they run is the machine's to say."""

_SEED = int(os.environ.get("RELIGHT_TEST_SEED", "1"))


async def test_deliveries_that_come_twice_and_out_of_order_change_nothing(
    server: EmbeddedServer, namespace: str, tmp_path: Path
) -> None:
    async with Fleet(server, namespace, tmp_path, sees_deaths=True) as fleet:
        await asyncio.gather(*(fleet.worker(*_WORKFLOWS) for _ in range(3)))

        async with meanwhile(partial(_redeliver, fleet, Random(_SEED))):
            runs = await load(fleet)
            while await starts_redelivered(fleet, len(runs)) <= _REDELIVERED_MIN:
                runs += await load(fleet)

        await all_is_once(fleet, runs)


async def test_workers_that_are_stopped_for_a_moment_change_nothing(
    server: EmbeddedServer, namespace: str, tmp_path: Path
) -> None:
    async with Fleet(server, namespace, tmp_path, sees_deaths=True) as fleet:
        workers = await asyncio.gather(*(fleet.worker(*_WORKFLOWS) for _ in range(3)))

        async with meanwhile(partial(_stop_one_for_a_moment, workers, Random(_SEED))):
            runs = [run for _ in range(5) for run in await load(fleet)]

        await all_is_once(fleet, runs)


async def load(fleet: Fleet) -> list[Run[int] | Run[list[int]]]:
    """Have many runs begin, hear signals, each sent twice, and end."""
    relight, text = fleet.relight, fleet.text
    short: list[Run[int]] = await asyncio.gather(
        *(relight.start(one, text) for one in (quick, brisk) for _ in range(_RUNS_OF_EACH))
    )
    hearing = await asyncio.gather(*(relight.start(collects, text, _SIGNALS) for _ in range(_RUNS_OF_EACH)))
    for number in range(_SIGNALS):
        twice = [run.signal("number", number, id=str(number)) for run in hearing for _ in range(2)]
        await asyncio.gather(*twice)

    assert {await run.result(timeout=60) for run in short} == {3, 6}
    for run in hearing:
        assert await run.result(timeout=60) == list(range(_SIGNALS))
    return [*short, *hearing]


async def starts_redelivered(fleet: Fleet, runs: int) -> int:
    """Of the wakes nobody knows how many there were: a signal that is sent twice may be stored twice."""
    return (await fleet.consumer("start")).delivered.consumer_seq - runs


async def all_is_once(fleet: Fleet, runs: list[Run[int] | Run[list[int]]]) -> None:
    await fleet.no_lease_left()
    executed = Counter((one.run, one.step) for one in fleet.executions())
    assert set(executed.values()) == {1}, executed.most_common(5)
    for run in runs:
        await fleet.journal(run.id)  # Whose chain is checked.


@asynccontextmanager
async def meanwhile(disturb: Callable[[], Awaitable[None]]) -> AsyncGenerator[None]:
    """Disturb, over and over, until the block ends."""
    is_over = False

    async def go_on() -> None:
        while not is_over:
            await disturb()

    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(go_on())
        yield
        is_over = True


async def _redeliver(fleet: Fleet, random: Random) -> None:
    """Have whatever is handed out delivered once more, at once or after others."""
    async with connected(fleet.urls) as connection:
        for kind in ("start", "wake"):
            consumer = await fleet.consumer(kind)
            name = f"RELIGHT_{fleet.namespace}_RUN_0.{kind}-default"
            for sequence in range(consumer.ack_floor.stream_seq + 1, consumer.delivered.stream_seq + 1):
                token = token_of(LeaseName(name, sequence), delivery=consumer.delivered.consumer_seq)
                delay = b"" if random.random() < 0.5 else b' {"delay": %d}' % random.randrange(200_000_000)
                await connection.publish(token, b"-NAK" + delay)
        await connection.flush()


async def _stop_one_for_a_moment(workers: list[WorkerProcess], random: Random) -> None:
    one = random.choice(workers)
    one.signal(signal.SIGSTOP)
    try:
        await asyncio.sleep(random.uniform(0.05, 0.8))  # The moments are what is random here.
    finally:
        one.signal(signal.SIGCONT)
    await asyncio.sleep(random.uniform(0.05, 0.3))
