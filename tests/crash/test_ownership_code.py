"""What code does to a worker: unknown to it, other than recorded, deadly, or blocking its loop."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from pathlib import Path

from tests.crash.apps import blocks, kills, quick, waits
from tests.crash.apps_fleet import Fleet

from relight.actors.watchdog import EXIT_LOOP_BLOCKED
from relight.config.limits import LIMITS
from relight.config.server import EmbeddedServer
from relight.errors import RefusedError


async def test_a_workflow_unknown_to_a_worker_is_given_back_and_run_by_one_that_has_it(
    shared_server: EmbeddedServer, namespace: str, tmp_path: Path
) -> None:
    async with Fleet(shared_server, namespace, tmp_path) as fleet:
        other = await fleet.worker("gated")
        run = await fleet.relight.start(quick, fleet.text)
        await asyncio.sleep(1.5)  # What is proven is that it does not loop: one, two, four seconds apart.
        assert (await fleet.consumer("start")).delivered.consumer_seq <= 2

        able = await fleet.worker("quick")
        await other.kill()

        assert await run.result(timeout=20) == 6
        await fleet.no_lease_left()
        assert other.log.read_text().count("workflow_unknown") >= 1
        assert {one.process for one in fleet.executions()} == {able.pid}
        await fleet.journal(run.id)


async def test_a_run_that_the_code_cannot_follow_is_stuck_until_a_worker_with_the_old_code_comes(
    shared_server: EmbeddedServer, namespace: str, tmp_path: Path
) -> None:
    async with Fleet(shared_server, namespace, tmp_path) as fleet:
        old = await fleet.worker("waits")
        run = await fleet.relight.start(waits, fleet.text)
        await fleet.status(run.id, "waiting")
        await old.kill()
        new = await fleet.worker("waits", variant="tests.crash.apps_other_code")

        await run.resume("answer", "yes")
        description = await fleet.status(run.id, "parked")

        assert description.parked == "stuck"
        assert "one#1" in str(description.last_error)
        assert "zero#1" in str(description.last_error)
        await new.kill()
        await fleet.worker("waits")  # It announces its code by itself.
        assert await run.result(timeout=20) == "yes"
        assert [one.step for one in fleet.executions()] == ["one", "two"]
        await fleet.journal(run.id)


async def test_a_stuck_run_goes_on_by_retry(shared_server: EmbeddedServer, namespace: str, tmp_path: Path) -> None:
    async with Fleet(shared_server, namespace, tmp_path) as fleet:
        old = await fleet.worker("waits")
        run = await fleet.relight.start(waits, fleet.text)
        await fleet.status(run.id, "waiting")
        await old.kill()
        new = await fleet.worker("waits", variant="tests.crash.apps_other_code")
        await run.resume("answer", "yes")
        await fleet.status(run.id, "parked")
        again = await fleet.worker("waits")
        await new.kill()

        with suppress(RefusedError):  # The worker that began may have offered its code by now.
            await run.retry()

        assert await run.result(timeout=20) == "yes"
        assert {one.process for one in fleet.executions("two")} == {again.pid}
        await fleet.journal(run.id)


async def test_a_run_that_kills_its_worker_three_times_is_quarantined_and_takes_no_waiting_run_along(
    server: EmbeddedServer, namespace: str, tmp_path: Path
) -> None:
    async with Fleet(server, namespace, tmp_path, sees_deaths=True) as fleet:
        await asyncio.gather(*(fleet.worker("kills", "waits") for _ in range(4)))
        others = [await fleet.relight.start(waits, fleet.text) for _ in range(8)]
        for run in others:
            await fleet.status(run.id, "waiting")

        deadly = await fleet.relight.start(kills, fleet.text)
        description = await fleet.status(deadly.id, "parked")

        assert description.parked == "quarantined"
        assert len(fleet.executions("kill_the_worker")) == LIMITS.deaths_max
        for run in others:
            await run.resume("answer", "yes")
        assert [await run.result(timeout=20) for run in others] == ["yes"] * 8
        for id in [deadly.id, *(run.id for run in others)]:
            await fleet.journal(id)


async def test_a_worker_whose_loop_is_blocked_keeps_its_leases_and_names_the_frame(
    shared_server: EmbeddedServer, namespace: str, tmp_path: Path
) -> None:
    async with Fleet(shared_server, namespace, tmp_path) as fleet:
        blocked = await fleet.worker("blocks")
        run = await fleet.relight.start(blocks, fleet.text)
        await fleet.soon("blocked")
        await fleet.worker("blocks")

        await asyncio.sleep(LIMITS.ack_wait_s + LIMITS.renew_s)  # What is proven is that the lease does not lapse.
        log = blocked.log.read_text()
        fleet.open_the_gate()

        assert await run.result(timeout=20) == 1
        assert len(fleet.executions("blocked")) == 1
        assert "loop_blocked" in log
        assert "apps.py" in log
        assert "blocked" in log
        await fleet.no_lease_left()
        assert {turn.owner for turn in await fleet.journal(run.id)} == {blocked.id}


async def test_a_worker_whose_loop_stays_blocked_is_ended_and_its_runs_go_on_elsewhere(
    server: EmbeddedServer, namespace: str, tmp_path: Path
) -> None:
    async with Fleet(server, namespace, tmp_path, sees_deaths=True, limits={"loop_blocked_end_s": 2.5}) as fleet:
        blocked = await fleet.worker("blocks")
        run = await fleet.relight.start(blocks, fleet.text)
        await fleet.soon("blocked")

        await fleet.worker("blocks")
        assert await asyncio.wait_for(blocked.process.wait(), 20) == EXIT_LOOP_BLOCKED
        fleet.open_the_gate()

        assert await run.result(timeout=30) == 1
        assert "loop_blocked_end" in blocked.log.read_text()
        await fleet.journal(run.id)
