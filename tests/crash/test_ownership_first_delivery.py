"""First delivery of a start, and messages that come before it: one owner, nothing lost, no step twice, no hot loop."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from relight import Relight, RunCancelled, RunNotFoundError
from relight.config.server import EmbeddedServer
from relight.subjects.codec import encode
from relight.subjects.messages import Signal
from relight.subjects.records import Raw
from tests.crash.apps import collects, gated, quick
from tests.crash.apps_fleet import Fleet, consumer, executions, journal, no_lease_left, soon
from tests.raw_nats import connected


async def test_the_first_delivery_of_a_start_has_one_owner_and_no_step_runs_twice(
    shared_server: EmbeddedServer, namespace: str, tmp_path: Path
) -> None:
    async with fleet_and_client(shared_server, namespace, tmp_path) as (fleet, relight):
        await asyncio.gather(fleet.worker("quick"), fleet.worker("quick"))

        runs = [await relight.start(quick, str(tmp_path)) for _ in range(20)]
        results = await asyncio.gather(*(run.result(timeout=20) for run in runs))

        await no_lease_left(shared_server.url, namespace)
        assert results == [6] * 20
        for run in runs:
            assert [one.step for one in executions(tmp_path, run=run.id)] == ["one", "two", "three"]
            assert len({turn.owner for turn in await journal(relight, run.id)}) == 1
