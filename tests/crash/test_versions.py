"""Two versions of one workflow at work at once: a pinned run stays with workers of the version that began it."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path

import pytest
from tests.crash.apps_fleet import Fleet
from tests.crash.apps_pinned import stays
from tests.crash.workers_in_memory import workers_in_memory
from tests.integration.cli_process import Terminal

from relight import RefusedError, RunTerminated, Worker, WorkflowContext, workflow
from relight.config.server import EmbeddedServer
from relight.subjects import records as r
from relight.testing.memory import MemoryDoor, Operation

OLDER, NEWER = "tests.crash.apps_pinned", "tests.crash.apps_pinned_newer"


@workflow(pin="version")
async def stays_in_memory(ctx: WorkflowContext) -> None:
    await ctx.suspend("answer")


async def test_runs_of_two_versions_each_end_on_their_own_also_when_a_worker_is_killed(
    shared_server: EmbeddedServer, namespace: str, tmp_path: Path
) -> None:
    async with Fleet(shared_server, namespace, tmp_path, sees_deaths=True) as fleet:
        first = await fleet.worker("stays", variant=OLDER, version="1")
        older = await fleet.relight.start(stays, fleet.text, id="older")
        await fleet.status("older", "waiting")
        newer_worker = await fleet.worker("stays", variant=NEWER, version="2")

        await older.resume("answer")
        await fleet.soon("gate", run="older")
        second = await fleet.worker("stays", variant=OLDER, version="1")
        await first.kill()
        await fleet.soon("gate", 2, run="older")
        fleet.open_the_gate()

        assert await older.result(timeout=30) == "older"
        assert {one.process for one in fleet.executions("gate")} == {first.pid, second.pid}
        assert newer_worker.pid not in {one.process for one in fleet.executions(run="older")}
        started = (await fleet.journal("older"))[0].records[0]
        assert isinstance(started, r.RunStarted)
        assert started.version == "1"
        await fleet.no_lease_left()


async def test_what_comes_for_a_run_of_another_version_is_given_back_later_each_time() -> None:
    async with workers_in_memory() as site:
        older = await site.add(stays_in_memory, version="1")
        run = await site.result(site.client.start(stays_in_memory))
        await site.until(lambda: bool(site.records(run.id, r.Suspended)))
        await site.pass_time(5)
        older.kill()
        await site.add(stays_in_memory, version="2")
        given_back = list[int]()

        def on_operation(door: MemoryDoor, operation: Operation, moment: str) -> None:
            if operation.name == "nak" and moment == "after":
                given_back.append(site.server.clock.now_ms())

        site.server.on_operation = on_operation
        await site.result(run.resume("answer"))
        await site.pass_time(300)

        pauses = [later - earlier for earlier, later in pairwise(given_back)]
        assert len(pauses) > 3
        assert pauses == sorted(pauses)
        assert pauses[-1] >= 10 * pauses[0]


async def test_a_run_waits_for_its_version_until_a_worker_adopts_it(
    shared_server: EmbeddedServer, namespace: str, tmp_path: Path
) -> None:
    terminal = Terminal(tmp_path, {"RELIGHT_URL": shared_server.url, "RELIGHT_NAMESPACE": namespace})
    async with Fleet(shared_server, namespace, tmp_path, sees_deaths=True) as fleet:
        older_worker = await fleet.worker("stays", variant=OLDER, version="1")
        run = await fleet.relight.start(stays, fleet.text, id="left-behind")
        doomed = await fleet.relight.start(stays, fleet.text, id="doomed")
        await fleet.status(run.id, "waiting")
        await fleet.status(doomed.id, "waiting")
        await older_worker.kill()
        newer_worker = await fleet.worker("stays", variant=NEWER, version="2")
        fresh = await fleet.relight.start(stays, fleet.text, id="fresh")
        await fleet.status(fresh.id, "waiting")
        await doomed.terminate()
        with pytest.raises(RunTerminated):
            await doomed.result(timeout=20)
        await run.resume("answer")
        await fresh.resume("answer")

        result = await fresh.result(timeout=20)
        waiting = await run.describe()
        left = await terminal.run("versions", "--json")
        people = await terminal.run("versions")
        shown = await terminal.run("show", run.id)
        adopting = await fleet.worker("stays", variant=OLDER, version="3", adopts=("1",))
        fleet.open_the_gate()

        assert result == "newer"
        assert (waiting.status, waiting.parked) == ("waiting", None)
        documents = {one["version"]: one for one in map(json.loads, left.out.splitlines())}
        assert (documents["1"]["unfinished"], documents["1"]["safe_to_stop"]) == (1, False)
        assert (documents["2"]["unfinished"], documents["2"]["safe_to_stop"]) == (0, True)
        assert documents[None]["unfinished"] == 0
        assert people.out.splitlines()[1].split() == ["1", "1", "no", "1", "stays"]
        assert "queue default, stays with version 1" in shown.out
        assert "unread; a worker of queue 'default' with version '1', or one that adopts it, reads it" in shown.out
        assert await run.result(timeout=30) == "older"
        assert newer_worker.pid not in {one.process for one in fleet.executions(run=run.id)}
        assert adopting.pid in {one.process for one in fleet.executions(run=run.id)}
        assert (await terminal.run("versions")).out.splitlines()[1].split() == ["1", "0", "yes"]


async def test_a_worker_without_a_version_can_not_have_a_pinned_workflow(
    shared_server: EmbeddedServer, namespace: str, tmp_path: Path
) -> None:
    async with Fleet(shared_server, namespace, tmp_path) as fleet:
        with pytest.raises(RefusedError, match="RELIGHT_VERSION"):
            Worker(fleet.relight, [stays])
