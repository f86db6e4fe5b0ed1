"""From a wake to a live run again: the tail from the leader, the history, what it amounts to, and the code's replay.

Measured in one process on the functions that a worker calls, because its own time for it shows nowhere. The floor is
what bare nats-py takes to read the same messages.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator

from benchmarks.bare_reads import read_ms
from benchmarks.event_loop import runner
from benchmarks.row import Goal, Paired, Row, paired
from benchmarks.system import System, system, wait_until_at_rest
from benchmarks.workflows import WORKFLOWS, steps_then_wait
from relight import Relight
from relight.actors.arrival import Arrival
from relight.actors.program import Programs
from relight.sdk._execution import Launcher
from relight.sdk._programs import WorkflowPrograms
from relight.sdk._worker import patient_collector

__all__ = ("rows",)

_GOALS = {1_000: Goal(reach=25, aim=12, is_ratio=False), 5_000: Goal(reach=110, aim=55, is_ratio=False)}


def rows(*, is_quick: bool) -> Iterator[Row]:
    with system() as ours, runner() as loop:
        for steps, goal in _GOALS.items():
            figure = _measured(loop, ours, steps, 3 if is_quick else 9)
            yield Row(name=f"replay_{steps}", unit="ms", goal=goal, **figure._asdict())


def _measured(loop: asyncio.Runner, ours: System, steps: int, repeat: int) -> Paired:
    """Replay a run that has recorded as many steps, and waits. On one connection and one loop, as a worker has them."""
    client = ours.client()
    launcher = Launcher(threads=1, interceptors=(), sender=client)
    programs = WorkflowPrograms(WORKFLOWS, launcher, code="")
    loop.run(client.__aenter__())
    try:
        run_id = loop.run(_recorded(client, steps))
        with patient_collector():  # As in a worker's process.
            return paired(
                repeat,
                lambda: loop.run(read_ms(ours.server.url, client.subjects.log(run_id), steps)),
                lambda: loop.run(_replay_ms(client, programs, run_id)),
            )[0]
    finally:
        loop.run(client.__aexit__(None, None, None))


async def _recorded(client: Relight, steps: int) -> str:
    run = await client.start(steps_then_wait, steps)
    await wait_until_at_rest(client, [run.id])
    return run.id


async def _replay_ms(client: Relight, programs: Programs, run_id: str) -> float:
    began = time.perf_counter()
    last = await client.door.last(client.subjects.log(run_id))
    assert last is not None, "the run has a journal"
    with Arrival(client.door, client.subjects, programs, run_id) as arrival:
        await arrival.read(last)
        draft = await arrival.replayed()
        took_s = time.perf_counter() - began
        assert draft is not None, "it is the same history"
        assert not draft.is_behind, "the code that made it replays it"
        assert draft.state.status == "waiting", "as it was left"
    return took_s * 1e3
