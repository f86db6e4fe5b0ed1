"""A run is retired while something for it is under way: it does not run again."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from tests.crash.apps import sleeps
from tests.crash.apps_fleet import Fleet

from relight import Run
from relight.actors.retire import retire
from relight.config.server import EmbeddedServer
from relight.errors import FencedError
from relight.subjects.codec import encode
from relight.subjects.messages import Relit, Signal, TimerDue, Wake
from relight.subjects.turn import Turn


@asynccontextmanager
async def retired_run(
    server: EmbeddedServer, namespace: str, directory: Path
) -> AsyncGenerator[tuple[Fleet, Run[int]]]:
    """A run that has ended and is retired; at the end nothing of it has run again, and nothing is left to deliver."""
    async with Fleet(server, namespace, directory) as fleet:
        await asyncio.gather(fleet.worker("sleeps"), fleet.worker("sleeps"))
        run = await fleet.relight.start(sleeps, fleet.text, 1.5)
        assert await run.result(timeout=20) == 2
        await fleet.no_lease_left()
        yield fleet, run
        await fleet.no_lease_left()
        assert [one.step for one in fleet.executions()] == ["one", "two"]
        assert await fleet.relight.door.count(fleet.relight.subjects.log(run.id)) == 1
        assert await fleet.relight.door.count(fleet.relight.subjects.wake("default", run.id)) == 0


@pytest.mark.parametrize(
    "late",
    [Signal(name="anything"), TimerDue(timer=1, due_ms=0), Relit(owner="a-zombie", epoch=7)],
    ids=["signal", "timer", "relit"],
)
async def test_a_wake_under_way_for_a_retired_run_does_not_make_it_run_again(
    shared_server: EmbeddedServer, namespace: str, tmp_path: Path, late: Wake
) -> None:
    async with retired_run(shared_server, namespace, tmp_path) as (fleet, run):
        await retire(fleet.relight.door, fleet.relight.subjects, run.id)

        await fleet.relight.door.publish(fleet.relight.subjects.wake("default", run.id), encode(late))


async def test_a_start_under_way_for_a_retired_run_is_refused(
    shared_server: EmbeddedServer, namespace: str, tmp_path: Path
) -> None:
    async with retired_run(shared_server, namespace, tmp_path) as (fleet, run):
        subjects = fleet.relight.subjects
        start = await fleet.relight.door.last(subjects.start_any_queue(run.id))
        assert start is not None
        await retire(fleet.relight.door, subjects, run.id)

        with pytest.raises(FencedError):
            await fleet.relight.door.publish(
                start.subject, start.data, fence=0, fence_subject=subjects.start_any_queue(run.id)
            )


async def test_a_timer_that_a_zombie_arms_for_a_retired_run_does_not_make_it_run_again(
    shared_server: EmbeddedServer, namespace: str, tmp_path: Path
) -> None:
    async with retired_run(shared_server, namespace, tmp_path) as (fleet, run):
        subjects = fleet.relight.subjects
        await retire(fleet.relight.door, subjects, run.id)
        before = (await fleet.consumer("wake")).delivered.consumer_seq

        message = encode(TimerDue(timer=1, due_ms=1))
        await fleet.relight.door.schedule(
            subjects.timer(run.id, "1"), message, target=subjects.wake("default", run.id), due_ms=1
        )

        async with asyncio.timeout(20):
            while (await fleet.consumer("wake")).delivered.consumer_seq == before:
                await asyncio.sleep(0.01)


async def test_a_zombies_append_to_a_retired_run_is_refused(
    shared_server: EmbeddedServer, namespace: str, tmp_path: Path
) -> None:
    async with retired_run(shared_server, namespace, tmp_path) as (fleet, run):
        subject = fleet.relight.subjects.log(run.id)
        turns = await fleet.journal(run.id)
        last = await fleet.relight.door.last(subject)
        assert last is not None
        await retire(fleet.relight.door, fleet.relight.subjects, run.id)

        late = Turn(1, turns[-1].number + 1, "zombie.1", "zombie", 1, 1, 0, "", turns[-1].records)
        for fence in (last.sequence, 0):
            with pytest.raises(FencedError):
                await fleet.relight.door.publish(subject, encode(late), fence=fence)
