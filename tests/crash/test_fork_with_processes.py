"""Forks on a real server, whose workers are processes that die."""

from __future__ import annotations

import asyncio
from datetime import datetime
from pathlib import Path

from tests.crash.apps import gated, quick, tells_time
from tests.crash.apps_fleet import Fleet

from relight.config.server import EmbeddedServer


async def test_a_fork_executes_only_what_comes_after_its_copy(
    shared_server: EmbeddedServer, namespace: str, tmp_path: Path
) -> None:
    async with Fleet(shared_server, namespace, tmp_path) as fleet:
        await asyncio.gather(fleet.worker("quick"), fleet.worker("quick"))
        run = await fleet.relight.start(quick, fleet.text)
        assert await run.result(timeout=20) == 6
        before = await fleet.journal(run.id)

        fork = await run.fork(after="one#1", replace={"one#1": 10})
        again = await run.restart_from("three#1")

        assert [await one.result(timeout=20) for one in (fork, again)] == [15, 6]
        await fleet.no_lease_left()
        assert [one.step for one in fleet.executions(run=fork.id)] == ["two", "three"]
        assert [one.step for one in fleet.executions(run=again.id)] == ["three"]
        copied = (await fleet.journal(fork.id))[0]
        assert (copied.epoch, copied.owner) == (0, "")
        assert (await fork.describe()).origin == run.id
        assert await fleet.journal(run.id) == before


async def test_a_fork_goes_on_after_its_worker_was_killed_and_the_origin_too(
    shared_server: EmbeddedServer, namespace: str, tmp_path: Path
) -> None:
    async with Fleet(shared_server, namespace, tmp_path, sees_deaths=True) as fleet:
        first = await fleet.worker("gated")
        run = await fleet.relight.start(gated, fleet.text)
        await fleet.soon("gate", run=run.id)
        await fleet.turned(run.id, 1)

        fork = await run.fork(after="one#1", id="fork")
        await fleet.soon("gate", run="fork")
        await first.kill()
        await fleet.worker("gated")
        fleet.open_the_gate()
        results = await asyncio.gather(run.result(timeout=30), fork.result(timeout=30))

        await fleet.no_lease_left()
        assert set(results) == {"open"}
        assert fleet.executions("one", run="fork") == []
        assert len(fleet.executions("two", run="fork")) == 1
        assert {turn.epoch for turn in await fleet.journal("fork")} == {0, 1, 2}


async def test_a_fork_that_is_made_while_no_worker_runs_is_found_and_takes_its_mail(
    shared_server: EmbeddedServer, namespace: str, tmp_path: Path
) -> None:
    async with Fleet(shared_server, namespace, tmp_path) as fleet:
        worker = await fleet.worker("gated")
        fleet.open_the_gate()
        run = await fleet.relight.start(gated, fleet.text)
        await run.result(timeout=20)
        await worker.kill()

        fork = await run.fork(after="gate#1", replace={"gate#1": "ajar"}, id="fork")
        waiting = await fork.describe()
        await fork.signal("nobody-listens", 1)
        await fleet.worker("gated")

        assert await fork.result(timeout=20) == "ajar"
        assert (waiting.origin, waiting.worker) == (run.id, None)
        await fleet.no_lease_left()


async def test_a_fork_sees_the_time_at_which_a_worker_goes_on_with_it_wherever_that_dies(
    shared_server: EmbeddedServer, namespace: str, tmp_path: Path
) -> None:
    async with Fleet(shared_server, namespace, tmp_path, sees_deaths=True) as fleet:
        first = await fleet.worker("tells_time")
        fleet.open_the_gate()
        run = await fleet.relight.start(tells_time, fleet.text)
        begun, ended, _ = await run.result(timeout=20)
        (fleet.directory / "go").unlink()

        fork = await run.fork(after="one#1")
        anew = await run.restart_from("one#1")
        for one in (fork, anew):
            await fleet.soon("gate", run=one.id)
        await first.kill()
        await fleet.worker("tells_time")
        fleet.open_the_gate()

        (copied, gone_on, _), (begun_anew, *_) = [await one.result(timeout=30) for one in (fork, anew)]
        assert copied == begun
        assert min(_at(gone_on), _at(begun_anew)) > _at(ended)


def _at(text: str) -> datetime:
    return datetime.fromisoformat(text)
