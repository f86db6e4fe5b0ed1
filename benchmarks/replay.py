"""From a wake to a live run again: the tail from the leader, the history, what it amounts to, and the code's replay.

Measured in one process on the functions that a worker calls, because its own time for it shows nowhere.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator

from benchmarks.event_loop import run
from benchmarks.row import Goal, Row, median
from benchmarks.system import System, system, wait_until_at_rest
from benchmarks.workflows import WORKFLOWS, steps_then_wait
from relight import Relight
from relight.actors.reading import read
from relight.actors.run.draft import Draft
from relight.sdk._execution import Launcher
from relight.sdk._programs import WorkflowPrograms
from relight.sdk._worker import patient_collector

__all__ = ("rows",)

_GOALS = {1_000: Goal(reach=25, aim=12, is_ratio=False), 5_000: Goal(reach=110, aim=55, is_ratio=False)}


def rows(*, is_quick: bool) -> Iterator[Row]:
    with system() as ours:
        for steps, goal in _GOALS.items():
            took_ms = run(_replay_ms(ours, steps, 3 if is_quick else 9))
            yield Row(name=f"replay_{steps}", value=took_ms, unit="ms", goal=goal)


async def _replay_ms(ours: System, steps: int, repeat: int) -> float:
    async with ours.client() as client:
        one = await client.start(steps_then_wait, steps)
        await wait_until_at_rest(client, [one.id])
        launcher = Launcher(threads=1, interceptors=(), sender=client)
        programs = WorkflowPrograms(WORKFLOWS, launcher, code="")
        with patient_collector():  # As in a worker's process.
            times = [await _once(client, programs, one.id) for _ in range(repeat)]
    read, replayed = (median(part) for part in zip(*times, strict=True))
    print(f"  {steps} steps: read {read:.1f} ms, replayed {replayed:.1f} ms", file=sys.stderr)
    return median(sum(one) for one in times)


async def _once(client: Relight, programs: WorkflowPrograms, run_id: str) -> tuple[float, float]:
    """Return the milliseconds of reading and of replaying."""
    began = time.perf_counter()
    log = client.subjects.log(run_id)
    last = await client.door.last(log)
    assert last is not None, "the run has a journal"
    history = await read(client.door, log, last)
    have_read = time.perf_counter()
    assert history.turns is not None, "few enough to be kept"
    assert not history.may_refer, "nothing has to be fetched"
    draft = Draft(programs.create(run_id, history.started), code="")
    draft.replay(history.turns, history.state)
    replayed = time.perf_counter()
    assert not draft.is_diverged, "the code that made it replays it"
    assert draft.state.status == history.state.status == "waiting", "as it was left"
    draft.program.close()
    return (have_read - began) * 1e3, (replayed - have_read) * 1e3
