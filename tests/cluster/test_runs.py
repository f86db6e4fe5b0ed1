"""Runs on three nodes: an append with unknown outcome, and leaders that are killed."""

from __future__ import annotations

import asyncio
import signal
import time
from collections import Counter
from pathlib import Path

from tests.cluster_of_three import ClusterOfThree
from tests.crash.apps import gated, quick, waits
from tests.crash.apps_fleet import Fleet
from tests.crash.apps_proxy import Proxy

from relight.subjects.codec import decode_worker_says, encode
from relight.subjects.messages import AskEveryWorker

_BEHIND_S_MAX = 8.0
"""How much later than the server itself new runs may go on, which have to be stored first: a start is tried again up to
two seconds later, some were begun two seconds after that, and a lost request is given up after five. 1 to 4 seconds
were seen. The server itself takes 4 to 10, now more, now less."""

_TOLD_BEHIND_S_MAX = 3.0
"""The same where nothing but deliveries stood still: the workers are told that they go on; 0.1 seconds were seen."""


async def serves_again(cluster: ClusterOfThree, namespace: str) -> float:
    """Return the time at which the stream and both its consumers have a leader that runs, as a bare client sees it.

    Each of the three elects its own, seconds apart: another consumer beside them would go on before, or after, them.
    """
    stream = f"RELIGHT_{namespace}_RUN_0"
    await asyncio.gather(*(cluster.leader_of(stream, one) for one in ("", "start-default", "wake-default")))
    return time.monotonic()


async def test_an_append_with_unknown_outcome_is_written_once_and_its_owner_goes_on(
    cluster: ClusterOfThree, namespace: str, tmp_path: Path
) -> None:
    async with Fleet(cluster, namespace, tmp_path, replicas=3) as fleet:
        async with Proxy(cluster.urls[0]) as proxy:
            owner = await fleet.worker("gated", url=proxy.url)
            run = await fleet.relight.start(gated, fleet.text)
            await fleet.soon("gate")
            await fleet.turned(run.id, 1)
            await fleet.worker("gated")
            main = proxy.part("main")

            main.hold_after(b".log.", "server")
            fleet.open_the_gate()
            await asyncio.wait_for(main.was_triggered.wait(), 20)
            main.cut()

            assert await run.result(timeout=30) == "open"
            await fleet.no_lease_left()
            turns = await fleet.journal(run.id)
            assert {(turn.owner, turn.epoch) for turn in turns} == {(owner.id, 1)}
            assert [one.step for one in fleet.executions()] == ["one", "gate", "two"]


async def test_runs_go_on_when_the_leader_of_stream_and_consumers_is_killed(
    cluster: ClusterOfThree, namespace: str, tmp_path: Path
) -> None:
    async with Fleet(cluster, namespace, tmp_path, sees_deaths=True, replicas=3) as fleet:
        await asyncio.gather(fleet.worker("quick", "gated"), fleet.worker("quick", "gated"))
        held = [await fleet.relight.start(gated, fleet.text) for _ in range(5)]
        await fleet.soon("gate", 5)
        for run in held:
            await fleet.turned(run.id, 1)
        leader = await cluster.leader_of(f"RELIGHT_{namespace}_RUN_0")

        leader.kill()
        serving = asyncio.create_task(serves_again(cluster, namespace))
        started = [asyncio.create_task(fleet.relight.start(quick, fleet.text)) for _ in range(20)]
        fresh = [await one for one in started]
        results = await asyncio.gather(*(run.result(timeout=60) for run in fresh))
        behind_s = time.monotonic() - await serving
        fleet.open_the_gate()

        assert results == [6] * 20
        assert behind_s < _BEHIND_S_MAX
        assert [await run.result(timeout=60) for run in held] == ["open"] * 5
        leader.start()
        await cluster.formed()
        for id in [*(run.id for run in held), *(run.id for run in fresh)]:
            await fleet.journal(id)
            assert [one.step for one in fleet.executions(run=id)] in (["one", "gate", "two"], ["one", "two", "three"])
        await fleet.no_lease_left()


async def test_deliveries_go_on_when_the_leader_of_their_consumers_is_killed_and_that_of_the_stream_lives(
    cluster: ClusterOfThree, namespace: str, tmp_path: Path
) -> None:
    async with Fleet(cluster, namespace, tmp_path, replicas=3) as fleet:
        stream = f"RELIGHT_{namespace}_RUN_0"
        # At the node that stays: what the workers hear of the change is what the server tells them.
        stays = (await cluster.leader_of(stream)).url
        workers = await asyncio.gather(fleet.worker("waits", url=stays), fleet.worker("waits", url=stays))
        waiting = [await fleet.relight.start(waits, fleet.text) for _ in range(10)]
        for run in waiting:
            await fleet.status(run.id, "waiting")
        leader = await cluster.part_leaders(stream, "start-default")

        leader.kill()
        serving = asyncio.create_task(serves_again(cluster, namespace))
        more = [await fleet.relight.start(waits, fleet.text) for _ in range(10)]
        for run in (*waiting, *more):
            await fleet.status(run.id, "waiting")
            await run.resume("answer", "gone")
        results = await asyncio.gather(*(run.result(timeout=60) for run in (*waiting, *more)))
        behind_s = time.monotonic() - await serving

        assert results == ["gone"] * 20
        assert behind_s < _TOLD_BEHIND_S_MAX
        # Told by the server: whoever heeds only its silence goes on after more than ten seconds.
        assert not any("missed heartbeats" in worker.log.read_text() for worker in workers)
        for run in (*waiting, *more):
            assert Counter(one.step for one in fleet.executions(run=run.id)) == {"one": 1, "two": 1}
            await fleet.journal(run.id)
        await fleet.no_lease_left()


async def test_the_workers_at_every_node_are_asked_and_known_not_to_answer(
    cluster: ClusterOfThree, namespace: str, tmp_path: Path
) -> None:
    async with Fleet(cluster, namespace, tmp_path, replicas=3) as fleet:
        workers = await asyncio.gather(*(fleet.worker("quick", url=url) for url in cluster.urls))

        async def ask() -> tuple[set[str], bool]:
            answers = await fleet.relight.door.ask_every_worker(encode(AskEveryWorker("client")), timeout_s=2.0)
            return {decode_worker_says(one).worker for one in answers.said}, answers.is_complete

        assert await ask() == ({one.id for one in workers}, True)
        for stopped in workers:
            stopped.signal(signal.SIGSTOP)
            assert await ask() == ({one.id for one in workers if one is not stopped}, False)
            stopped.signal(signal.SIGCONT)
        await workers[0].kill()
        async with asyncio.timeout(20):
            while await ask() != ({one.id for one in workers[1:]}, True):
                continue  # Its node has not noticed yet that it is gone.
