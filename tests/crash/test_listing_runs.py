"""A list of runs has an end, however many there are: it gives the newest."""

from __future__ import annotations

from tests.crash.workers_in_memory import workers_in_memory

from relight.config.limits import LIMITS
from relight.subjects.codec import encode
from relight.subjects.messages import Start
from relight.subjects.records import RunStarted
from relight.subjects.turn import VERSION


async def test_the_newest_thousand_runs_are_listed_the_newest_first() -> None:
    async with workers_in_memory() as site:
        door, subjects = site.server.door("starter"), site.client.subjects
        start = encode(Start(v=VERSION, run=RunStarted("w", "default")))
        ids = [f"run-{number}" for number in range(LIMITS.runs_listed_max + 3)]
        for id in ids:
            await door.publish(subjects.start("default", id), start)

        listed = [run.id async for run in site.client.runs()]

        assert LIMITS.runs_listed_max == 1_000
        assert listed == ids[: -LIMITS.runs_listed_max - 1 : -1]
