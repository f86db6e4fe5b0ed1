"""The wall clock of one worker jumps by an hour: neither the run's time nor its timers follow it."""

from __future__ import annotations

import time
from itertools import pairwise
from pathlib import Path

import pytest
from tests.crash.apps_fleet import Fleet

from relight.config.server import EmbeddedServer

_VARIANT = "tests.crash.apps_clock_jump"


@pytest.mark.parametrize("seconds", [3600.0, -3600.0])
async def test_a_worker_whose_clock_jumps_by_an_hour_sleeps_as_long_as_it_was_told(
    seconds: float, shared_server: EmbeddedServer, namespace: str, tmp_path: Path
) -> None:
    async with Fleet(shared_server, namespace, tmp_path) as fleet:
        await fleet.worker("sleeps", variant=_VARIANT)
        began = time.monotonic()
        run = await fleet.relight.start("sleeps", fleet.text, seconds, type=list[float])

        result = await run.result(timeout=30)

        assert time.monotonic() - began >= 2
        assert all(1 <= took < 20 for took in result)
        assert [one.step for one in fleet.executions()] == ["jump", "look", "look"]


@pytest.mark.parametrize("seconds", [3600.0, -3600.0])
async def test_a_worker_with_another_clock_goes_on_at_the_same_time(
    seconds: float, server: EmbeddedServer, namespace: str, tmp_path: Path
) -> None:
    async with Fleet(server, namespace, tmp_path, sees_deaths=True) as fleet:
        first = await fleet.worker("sleeps", variant=_VARIANT)
        run = await fleet.relight.start("sleeps", fleet.text, seconds, type=list[float])
        await fleet.soon("look", run=run.id)
        await fleet.worker("sleeps", variant=_VARIANT)
        await first.kill()

        result = await run.result(timeout=30)

        assert all(1 <= took < 20 for took in result)
        turns = await fleet.journal(run.id)
        assert all(before.at_ms <= after.at_ms <= before.at_ms + 20_000 for before, after in pairwise(turns))
        assert [one.step for one in fleet.executions("jump")] == ["jump"]
