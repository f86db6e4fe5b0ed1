"""SIGTERM: no new work, running steps get their time, leases are handed back; a second one stops at once; exit 0."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from functools import partial
from pathlib import Path

import pytest
from tests.crash.apps import Orders, brisk, gated, hears_while_it_works, quick, text_of
from tests.crash.apps_fleet import Fleet, WorkerProcess
from tests.processes import eventually

from relight.config.limits import LIMITS
from relight.config.server import EmbeddedServer
from relight.subjects import records as r


async def test_a_drained_worker_hands_its_leases_back_and_another_goes_on_within_200_ms(
    shared_server: EmbeddedServer, namespace: str, tmp_path: Path
) -> None:
    async with Fleet(shared_server, namespace, tmp_path) as fleet:
        first = await fleet.worker("gated")
        runs = [await fleet.relight.start(gated, fleet.text) for _ in range(5)]
        await fleet.soon("gate", 5)
        second = await fleet.worker("gated")

        first.signal(signal.SIGTERM)
        await asyncio.to_thread(eventually, lambda: "worker_draining" in first.log.read_text())
        # In its time for running steps it takes nothing new, and still owns what runs.
        late = await fleet.relight.start(gated, fleet.text)
        await runs[0].signal("anything")
        await fleet.soon("gate", 1, run=late.id)
        assert len(fleet.executions("gate")) == 6
        fleet.open_the_gate()
        code = await asyncio.wait_for(first.process.wait(), 20)

        assert code == 0
        assert [await run.result(timeout=20) for run in (*runs, late)] == ["open"] * 6
        await fleet.no_lease_left()
        for run in runs:
            steps = fleet.executions(run=run.id)
            assert [one.step for one in steps] == ["one", "gate", "two"]
            assert steps[2].process == second.pid
            turns = await fleet.journal(run.id)
            assert max(turn.epoch for turn in turns) == 2
            handed_over = max(turn.at_ms for turn in turns if turn.epoch == 1)
            assert steps[2].at * 1000 - handed_over < 200
            claims = [one for turn in turns for one in turn.records if isinstance(one, r.Claimed)]
            assert all(claim.deaths == 0 for claim in claims)
        assert {one.process for one in fleet.executions(run=late.id)} == {second.pid}


@pytest.mark.parametrize(("sent", "said"), [(signal.SIGTERM, "worker_left"), (signal.SIGKILL, "worker_died")])
async def test_a_worker_that_ends_in_order_is_not_called_dead(
    shared_server: EmbeddedServer, namespace: str, tmp_path: Path, sent: signal.Signals, said: str
) -> None:
    async with Fleet(shared_server, namespace, tmp_path, sees_deaths=True) as fleet:
        first, second = await asyncio.gather(fleet.worker("gated"), fleet.worker("gated"))

        first.signal(sent)
        await first.process.wait()

        await asyncio.to_thread(eventually, lambda: f"worker={first.id}" in second.log.read_text())
        line = next(one for one in second.log.read_text().splitlines() if f"worker={first.id}" in one)
        assert said in line


async def test_in_a_burst_no_step_runs_twice_and_nothing_is_left_to_lapse(
    server: EmbeddedServer, namespace: str, tmp_path: Path
) -> None:
    async with Fleet(server, namespace, tmp_path) as fleet:
        # Before there are workers: they have their hands full from the beginning to the end.
        runs = await asyncio.gather(*(fleet.relight.start(brisk, fleet.text) for _ in range(2_000)))
        first, second = await asyncio.gather(fleet.worker("brisk"), fleet.worker("brisk"))
        await asyncio.to_thread(told_in_the_middle, fleet, first)
        code = await asyncio.wait_for(first.process.wait(), 20)
        ended = time.time()
        results = await asyncio.gather(*(run.result(timeout=60) for run in runs))
        await fleet.no_lease_left()

        assert (code, results) == (0, [3] * 2_000)
        steps = fleet.executions()
        assert len(steps) == len({(one.run, one.step) for one in steps})
        last = {one.run for one in steps if one.process == first.pid}
        next_ = {one.run: one.at for one in reversed(steps) if one.process == second.pid}
        handed_over = last & next_.keys()
        assert handed_over
        # A lease that lapses does so 10 s after its last renewal.
        assert max(next_[run] for run in handed_over) - ended < LIMITS.ack_wait_s / 4
        claims = [
            one for run in handed_over for turn in await fleet.journal(run) for one in turn.records
            if isinstance(one, r.Claimed)
        ]  # fmt: skip
        assert all(claim.deaths == 0 for claim in claims)


def is_draining(worker: WorkerProcess) -> bool:
    return "worker_draining" in worker.log.read_text()


def told_in_the_middle(fleet: Fleet, worker: WorkerProcess) -> None:
    eventually(lambda: has_many_in_hand(fleet, worker.pid))
    worker.signal(signal.SIGTERM)


def has_many_in_hand(fleet: Fleet, worker: int) -> bool:
    """Whether it works on at least 100 runs at once, and not on the first ones that it got any more."""
    steps_of = Counter(one.run for one in fleet.executions() if one.process == worker)
    return len(steps_of) > 200 and sum(steps < 3 for steps in steps_of.values()) >= 100


async def test_a_wake_during_the_drain_is_consumed_once(
    shared_server: EmbeddedServer, namespace: str, tmp_path: Path
) -> None:
    async with Fleet(shared_server, namespace, tmp_path) as fleet:
        first = await fleet.worker("hears_while_it_works")
        run = await fleet.relight.start(hears_while_it_works, fleet.text)
        await fleet.soon("gate")
        await fleet.worker("hears_while_it_works")

        first.signal(signal.SIGTERM)
        await asyncio.to_thread(eventually, lambda: "worker_draining" in first.log.read_text())
        await run.signal("number", 7)
        await fleet.recorded(run.id, r.SignalReceived)
        fleet.open_the_gate()

        assert await run.result(timeout=20) == ("open", 7)
        assert len(fleet.executions("gate")) == 1
        await fleet.no_lease_left()
        await fleet.journal(run.id)
        assert await first.process.wait() == 0


async def test_a_second_sigterm_stops_at_once_and_the_run_goes_on_elsewhere(
    shared_server: EmbeddedServer, namespace: str, tmp_path: Path
) -> None:
    async with Fleet(shared_server, namespace, tmp_path) as fleet:
        first = await fleet.worker("gated")
        runs = [await fleet.relight.start(gated, fleet.text) for _ in range(20)]
        await fleet.soon("gate", 20)
        for run in runs:
            await fleet.turned(run.id, 1)
        await fleet.worker("gated")

        first.signal(signal.SIGTERM)
        await asyncio.to_thread(eventually, lambda: "worker_draining" in first.log.read_text())
        told = time.time()
        first.signal(signal.SIGTERM)
        code = await asyncio.wait_for(first.process.wait(), 20)

        assert code == 0
        assert time.time() - told < 1
        # Handed back, and not left to lapse.
        assert max(one.at for one in await fleet.soon("gate", 40)) - told < 1
        fleet.open_the_gate()
        assert [await run.result(timeout=20) for run in runs] == ["open"] * 20
        await fleet.no_lease_left()
        for run in runs:
            await fleet.journal(run.id)


async def test_the_only_worker_may_be_restarted_often_while_one_step_goes_on(
    server: EmbeddedServer, namespace: str, tmp_path: Path
) -> None:
    async with Fleet(server, namespace, tmp_path, sees_deaths=True) as fleet:
        run = await fleet.relight.start(gated, fleet.text)
        for number in range(1, LIMITS.deaths_max + 2):
            worker = await fleet.worker("gated")
            await fleet.soon("gate", number)
            await fleet.turned(run.id, 1)
            worker.signal(signal.SIGTERM)
            await asyncio.to_thread(eventually, partial(is_draining, worker))
            worker.signal(signal.SIGTERM)  # The step would outlast its time.
            assert await worker.process.wait() == 0

        fleet.open_the_gate()
        await fleet.worker("gated")

        assert await run.result(timeout=20) == "open"
        claims = [one for turn in await fleet.journal(run.id) for one in turn.records if isinstance(one, r.Claimed)]
        assert {(one.cause, one.deaths) for one in claims} == {("left", 0), ("handed_over", 0)}


async def test_a_worker_drains_as_process_1(server: EmbeddedServer, namespace: str, tmp_path: Path) -> None:
    unshare = await in_a_process_namespace()
    if unshare is None:
        pytest.skip("the kernel lets this user make no process namespace, not even in a user namespace")
    async with Fleet(server, namespace, tmp_path) as fleet:
        orders = Orders(url=server.url, namespace=namespace, workflows=("quick",))
        log = tmp_path / "process-1.log"
        with log.open("w") as errors:
            outside = await asyncio.create_subprocess_exec(
                *unshare, "--kill-child", sys.executable, "-m", "tests.crash.apps", text_of(orders),
                stdout=asyncio.subprocess.PIPE, stderr=errors,
            )  # fmt: skip
        run = await fleet.relight.start(quick, fleet.text)
        assert await run.result(timeout=20) == 6
        assert {one.process for one in fleet.executions()} == {1}

        inside = int(Path(f"/proc/{outside.pid}/task/{outside.pid}/children").read_text())
        os.kill(inside, signal.SIGTERM)

        assert await asyncio.wait_for(outside.wait(), 20) == 0, log.read_text()
        assert "worker_stopped" in log.read_text()


async def in_a_process_namespace() -> list[str] | None:
    """The command that has another one run as process 1, which in a user namespace needs no root; None if none may."""
    for namespaces in (["--pid"], ["--user", "--map-root-user", "--pid"]):
        command = ["unshare", *namespaces, "--fork"]
        attempt = await asyncio.create_subprocess_exec(*command, "true", stderr=subprocess.DEVNULL)
        if await attempt.wait() == 0:
            return command
    return None
