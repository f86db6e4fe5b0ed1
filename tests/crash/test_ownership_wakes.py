"""Wakes: for a waiting run, at two workers at once, and for a run that a living worker holds."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from msgspec import Raw
from nats.aio.msg import Msg
from tests.crash.apps import blocks, collects, gated, hears_while_it_works
from tests.crash.apps_fleet import Fleet, WorkerProcess
from tests.processes import eventually
from tests.raw_nats import connected

from relight import RunCancelled
from relight.config.limits import LIMITS
from relight.config.server import EmbeddedServer
from relight.subjects.codec import encode
from relight.subjects.messages import MINE, Signal


async def test_of_two_wakes_at_two_workers_one_claim_wins_and_both_messages_are_consumed_in_order(
    shared_server: EmbeddedServer, namespace: str, tmp_path: Path
) -> None:
    async with Fleet(shared_server, namespace, tmp_path) as fleet:
        first = await fleet.worker("collects")
        runs = [await fleet.relight.start(collects, fleet.text, 2) for _ in range(20)]
        for run in runs:
            await fleet.status(run.id, "waiting")
        await first.kill()
        others = await asyncio.gather(fleet.worker("collects"), fleet.worker("collects"))

        for run in runs:
            mailbox = fleet.relight.subjects.wake("default", run.id)
            both = (encode(Signal(name="number", data=Raw(b"%d" % number))) for number in (1, 2))
            await asyncio.gather(*(fleet.relight.door.publish(mailbox, one) for one in both))
        results = await asyncio.gather(*(run.result(timeout=20) for run in runs))

        assert results == [[1, 2]] * 20
        await fleet.no_lease_left()
        for run in runs:
            assert [one.step for one in fleet.executions(run=run.id)] == ["one", "two"]
            assert {turn.epoch for turn in await fleet.journal(run.id)} == {1, 2}
        # Both have begun to take over the same runs, or nothing was proven.
        one, other = (begun_by(worker) for worker in others)
        assert one & other


def begun_by(worker: WorkerProcess) -> set[str]:
    """The runs that it has begun to replay."""
    lines = [one for one in worker.log.read_text().splitlines() if "activation_begins" in one]
    return {one.rpartition("run=")[2] for one in lines}


async def test_a_wake_reaches_the_living_worker_that_holds_the_run_at_once(
    shared_server: EmbeddedServer, namespace: str, tmp_path: Path
) -> None:
    async with Fleet(shared_server, namespace, tmp_path) as fleet:
        await asyncio.gather(*(fleet.worker("gated") for _ in range(3)))
        runs = [await fleet.relight.start(gated, fleet.text) for _ in range(10)]
        await fleet.soon("gate", 10)

        for run in runs:
            began = time.monotonic()
            await run.cancel()
            with pytest.raises(RunCancelled):
                await run.result(timeout=5)
            # Far below every time after which somebody would look by himself.
            assert time.monotonic() - began < 0.9

        await fleet.no_lease_left()
        for run in runs:
            assert [one.step for one in fleet.executions(run=run.id)] == ["one", "gate"]
            assert len({turn.owner for turn in await fleet.journal(run.id)}) == 1


async def test_a_wake_is_consumed_although_the_worker_that_took_it_dies_before_it_consumes_it(
    server: EmbeddedServer, namespace: str, tmp_path: Path
) -> None:
    async with Fleet(server, namespace, tmp_path, sees_deaths=True) as fleet:
        owner = await fleet.worker("hears_while_it_works")
        other = await fleet.worker("hears_while_it_works")
        runs = [await fleet.relight.start(hears_while_it_works, fleet.text) for _ in range(10)]
        gates = await fleet.soon("gate", 10)
        held = {one.run for one in gates if one.process == owner.pid}
        assert held
        for run in runs:
            await fleet.turned(run.id, 1)

        owner.signal(signal.SIGSTOP)  # What is asked of it from now on it takes in, and never acts on.
        await asyncio.gather(*(run.signal("number", number) for number, run in enumerate(runs)))
        await owner.kill()
        await fleet.soon("gate", 10 + len(held))
        fleet.open_the_gate()

        assert [await run.result(timeout=20) for run in runs] == [("open", number) for number in range(10)]
        await fleet.no_lease_left()
        for run in runs:
            turns = await fleet.journal(run.id)
            assert turns[-1].epoch == (2 if run.id in held else 1)
            assert {one.process for one in fleet.executions("gate", run=run.id)} >= {other.pid} - {owner.pid}


async def test_so_is_one_that_it_has_said_to_take_over_from_another(
    server: EmbeddedServer, namespace: str, tmp_path: Path
) -> None:
    async with Fleet(server, namespace, tmp_path, sees_deaths=True) as fleet:
        owner = await fleet.worker("hears_while_it_works", "blocks")
        runs = [await fleet.relight.start(hears_while_it_works, fleet.text) for _ in range(10)]
        await fleet.soon("gate", 10)
        for run in runs:
            await fleet.turned(run.id, 1)
        await fleet.relight.start(blocks, fleet.text)
        await fleet.soon("blocked")  # From now on only its keeper acts: it says that it takes what it is asked for.
        await fleet.worker("hears_while_it_works", "blocks")

        async with answers_of(fleet, owner) as answers:
            await asyncio.gather(*(run.signal("number", number) for number, run in enumerate(runs)))
            await asyncio.to_thread(eventually, lambda: len(answers) >= 10)
        pending = (await fleet.consumer("wake")).num_ack_pending
        await owner.kill()
        died = time.time()
        fleet.open_the_gate()

        assert (answers, pending) == ([MINE] * 10, 10)
        assert [await run.result(timeout=20) for run in runs] == [("open", number) for number in range(10)]
        await fleet.no_lease_left()
        # By what was freed, and not by what has lapsed.
        assert time.time() - died < LIMITS.ack_wait_s / 2
        assert len(fleet.executions("gate")) == 20


@asynccontextmanager
async def answers_of(fleet: Fleet, worker: WorkerProcess) -> AsyncGenerator[list[bytes]]:
    """What this worker answers when it is asked for its runs."""
    questions, answers = set[str](), list[bytes]()

    async def hear(message: Msg) -> None:
        if message.subject == fleet.relight.subjects.owner(worker.id):
            questions.add(message.reply)
        elif message.subject in questions:
            answers.append(message.data)

    async with connected(fleet.urls) as connection:
        await connection.subscribe(">", cb=hear)  # pyright: ignore[reportUnknownMemberType]
        await connection.flush()
        yield answers


async def test_a_thousand_wakes_of_one_run_cost_no_thousand_replays(
    shared_server: EmbeddedServer, namespace: str, tmp_path: Path
) -> None:
    async with Fleet(shared_server, namespace, tmp_path) as fleet:
        workers = await asyncio.gather(fleet.worker("collects"), fleet.worker("collects"))
        run = await fleet.relight.start(collects, fleet.text, 1_000)
        await fleet.status(run.id, "waiting")

        for start in range(0, 1_000, 50):
            await asyncio.gather(*(run.signal("number", number) for number in range(start, start + 50)))

        assert sorted(await run.result(timeout=20)) == list(range(1_000))
        await fleet.no_lease_left()
        turns = await fleet.journal(run.id)
        assert len({turn.owner for turn in turns}) == 1
        replays = sum(worker.log.read_text().count("activation_begins") for worker in workers)
        assert replays <= 5
