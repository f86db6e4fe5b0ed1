"""Paused runs whose workers are processes that die."""

from __future__ import annotations

from pathlib import Path

from tests.crash.apps import gated
from tests.crash.apps_fleet import Fleet
from tests.runs import recorded, until

from relight.config.server import EmbeddedServer
from relight.subjects import records as r


async def test_a_step_whose_worker_died_during_the_pause_is_launched_again_after_it(
    shared_server: EmbeddedServer, namespace: str, tmp_path: Path
) -> None:
    async with Fleet(shared_server, namespace, tmp_path, sees_deaths=True) as fleet:
        first = await fleet.worker("gated")
        run = await fleet.relight.start(gated, fleet.text)
        await fleet.soon("gate", run=run.id)
        await run.pause()
        await until(run, lambda described: described.status == "paused")

        await first.kill()
        await fleet.worker("gated")
        await fleet.no_lease_left()
        held = await run.describe()
        executed = len(fleet.executions("gate", run=run.id))
        await run.unpause()
        fleet.open_the_gate()

        assert await run.result(timeout=30) == "open"
        assert (held.status, executed) == ("paused", 1)
        assert len(fleet.executions("gate", run=run.id)) == 2
        assert len(await recorded(fleet.relight, run, r.StepCompleted)) == 3
