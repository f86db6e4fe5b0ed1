"""The server is away, or can't store: all wait with back-off and go on without a restart; nothing accepted is lost."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from time import monotonic
from typing import TypeVar

import pytest
from tests.crash.apps import brisk, gated, quick
from tests.crash.apps_fleet import Fleet
from tests.crash.apps_proxy import Proxy

from relight import Relight, Run, UnavailableError, Worker, WorkflowContext, workflow
from relight.config.server import EmbeddedServer

T = TypeVar("T")

_RUNS = 300


@workflow
async def doubles(ctx: WorkflowContext) -> None:
    async for request in ctx.requests("double", type=int):
        await request.reply(2 * request.data)
        return


@pytest.mark.parametrize("way", ["stop", "kill"])
async def test_a_server_that_is_restarted_under_load_loses_nothing_and_no_living_workers_step_runs_twice(
    server: EmbeddedServer, namespace: str, tmp_path: Path, way: str
) -> None:
    async with Fleet(server, namespace, tmp_path, sees_deaths=True) as fleet:
        # Before there are workers, and those have few places: most are still to be delivered when the server goes.
        held = [await fleet.relight.start(gated, fleet.text) for _ in range(10)]
        starting = [asyncio.create_task(fleet.relight.start(brisk, fleet.text)) for _ in range(_RUNS)]
        await asyncio.wait(starting)
        workers = await asyncio.gather(*(fleet.worker("brisk", "gated", concurrency=50) for _ in range(2)))
        await asyncio.gather(fleet.soon("gate", 10), fleet.soon("two", 50))

        await asyncio.to_thread(server.stop if way == "stop" else server.kill)
        starting += [asyncio.create_task(fleet.relight.start(brisk, fleet.text)) for _ in range(20)]
        await asyncio.sleep(1.0)  # So long it is away.
        restarted = time.time()
        await asyncio.to_thread(server.start)
        fresh = [await one for one in starting]
        results = await asyncio.gather(*(result_of(run) for run in fresh))
        fleet.open_the_gate()

        assert results == [3] * (_RUNS + 20)
        assert [await run.result(timeout=40) for run in held] == ["open"] * 10
        await fleet.no_lease_left()
        await nothing_ran_twice(fleet, [*(run.id for run in held), *(run.id for run in fresh)])
        after = [one for one in fleet.executions("two") if one.at > restarted]
        assert len(after) > _RUNS / 2, f"the server went too late: {len(after)}"
        # How many each gets is not said: who finds its way back first has the others' places to fill meanwhile.
        assert {one.process for one in after} == {worker.pid for worker in workers}


async def test_leases_outlive_an_outage_that_is_longer_than_they_last(
    server: EmbeddedServer, namespace: str, tmp_path: Path
) -> None:
    async with Proxy(server.url) as proxy, Fleet(server, namespace, tmp_path, sees_deaths=True) as fleet:
        late = await fleet.worker("gated", url=proxy.url)
        await asyncio.gather(fleet.worker("gated"), fleet.worker("gated"))
        held = [await fleet.relight.start(gated, fleet.text) for _ in range(20)]
        gates = await fleet.soon("gate", 20)
        assert late.pid in {one.process for one in gates}
        for run in held:
            await fleet.turned(run.id, 1)

        proxy.is_refusing = True
        await asyncio.to_thread(server.kill)
        await asyncio.sleep(11.0)  # All leases have lapsed when the server comes back.
        await asyncio.to_thread(server.start)
        await asyncio.sleep(1.0)  # One worker finds its way back later than the others.
        proxy.is_refusing = False
        await asyncio.sleep(3.0)  # In which the server delivers all leases again.
        fleet.open_the_gate()

        assert [await run.result(timeout=40) for run in held] == ["open"] * 20
        await fleet.no_lease_left()
        await nothing_ran_twice(fleet, [run.id for run in held])


@pytest.mark.parametrize("what", ["write", "read", "list"])
async def test_whoever_tries_again_at_once_does_not_keep_the_connection_from_coming_back(
    server: EmbeddedServer, namespace: str, what: str
) -> None:
    async with Relight(server.url, namespace=namespace) as client:
        door, mailbox = client.door, client.subjects.log("unknown")
        acts: dict[str, Callable[[], Awaitable[object]]] = {
            "write": lambda: door.publish(mailbox, b""),
            "read": lambda: door.last(mailbox),
            "list": lambda: door.read(mailbox, after=0, limit=10),
        }
        await asyncio.to_thread(server.stop)
        restarting = asyncio.create_task(asyncio.to_thread(server.start))

        deadline = monotonic() + 15  # By no timer of the loop: that is what would stand still.
        while True:
            try:
                await acts[what]()
            except UnavailableError:
                assert monotonic() < deadline
                continue
            break
        await restarting


async def test_a_full_disk_that_is_freed_loses_nothing_and_no_step_runs_twice(namespace: str, tmp_path: Path) -> None:
    with EmbeddedServer(tmp_path / "server") as server:
        async with Fleet(server, namespace, tmp_path, sees_deaths=True) as fleet:
            await asyncio.gather(fleet.worker("quick", "gated"), fleet.worker("quick", "gated"))
            held = [await fleet.relight.start(gated, fleet.text) for _ in range(10)]
            await fleet.soon("gate", 10)
            for run in held:
                await fleet.turned(run.id, 1)
            fresh: list[Run[int]] = []

            allow_bytes(server, 200_000)
            starting = asyncio.create_task(fleet.relight.start(quick, fleet.text))
            while (await asyncio.wait((starting,), timeout=2))[0]:  # One that can't be stored waits, with back-off.
                fresh.append(starting.result())
                starting = asyncio.create_task(fleet.relight.start(quick, fleet.text))
            fleet.open_the_gate()
            await asyncio.sleep(1.0)  # Workers whose steps have ended can't record it.
            assert len(fleet.executions("two")) < len(fresh) + 10
            allow_bytes(server, 100_000_000)
            fresh.append(await starting)

            assert [await run.result(timeout=40) for run in held] == ["open"] * 10
            assert [await run.result(timeout=40) for run in fresh] == [6] * len(fresh)
            await fleet.no_lease_left()
            await nothing_ran_twice(fleet, [*(run.id for run in held), *(run.id for run in fresh)])


async def result_of(run: Run[T]) -> T:
    """The result, asked for again while the server is away: that is what the caller is told."""
    while True:
        try:
            return await run.result(timeout=40)
        except UnavailableError:
            await asyncio.sleep(0.1)


def allow_bytes(server: EmbeddedServer, count: int) -> None:
    """Let the account's streams use so much disk, as if that were smaller or larger."""
    config = server.directory / "server.conf"
    limits = f"jetstream: {{ max_mem: 100000000, max_file: {count} }}"
    config.write_text(re.sub(r"jetstream: (enabled|\{[^}]*\})", limits, config.read_text(), count=1))
    os.kill(server.process_id, signal.SIGHUP)


async def nothing_ran_twice(fleet: Fleet, runs: list[str]) -> None:
    for run in runs:
        await fleet.journal(run)
        steps = [one.step for one in fleet.executions(run=run)]
        assert len(set(steps)) == len(steps), (run, steps)


async def test_a_request_that_is_made_while_the_server_is_away_is_sent_when_it_is_back(server: EmbeddedServer) -> None:
    async with Relight(server.url) as client:
        run = await client.start(doubles)
        await asyncio.to_thread(server.stop)
        asking = asyncio.create_task(run.request("double", 2, type=int))
        await asyncio.wait((asking,), timeout=1)
        await asyncio.to_thread(server.start)

        async with Relight(server.url) as other, Worker(other, [doubles]):
            assert await asking == 4


async def test_who_follows_a_history_goes_on_when_the_server_is_back(server: EmbeddedServer) -> None:
    begun = asyncio.Event()
    followed: list[str] = []

    async def follow(run: Run[None]) -> None:
        async for record in run.history(follow=True):
            followed.append(record.kind)
            begun.set()

    async with Relight(server.url) as client, Relight(server.url) as other, Worker(other, [doubles]):
        run = await client.start(doubles)
        following = asyncio.create_task(follow(run))
        await asyncio.wait_for(begun.wait(), 10)

        await asyncio.to_thread(server.stop)
        await asyncio.wait((following,), timeout=1)
        await asyncio.to_thread(server.start)

        assert await run.request("double", 2, type=int) == 4
        await asyncio.wait_for(following, 20)
        assert followed[-1] == "RunCompleted"
