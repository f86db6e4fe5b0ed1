"""The same calls give the same run: in one process after another, with other hash seeds and other addresses.

Run as a program, it prints the trace of a workflow that uses everything which iterates over sets.
"""

from __future__ import annotations

import asyncio
import os
import random
import subprocess
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import anyio

from relight.sdk._loop import RunLoop

SEED = 0x5EED
Trace = list[str]


class World:
    """The loop, what the outside will resolve, and the trace."""

    def __init__(self) -> None:
        self.trace: Trace = []
        self.loop = RunLoop(arm=self.arm, disarm=self.disarm, callbacks_max=100_000, seed=SEED)
        self.loop.set_time(1_000.0)
        self.open: dict[str, asyncio.Future[Any]] = {}

    def arm(self, number: int, due: float) -> None:
        self.trace.append(f"arm {number} {due}")

    def disarm(self, number: int) -> None:
        self.trace.append(f"disarm {number}")

    async def step(self, name: str) -> str:
        self.trace.append(f"step {name}")
        self.open[name] = future = self.loop.create_future()
        try:
            await future
        except BaseException as error:
            self.trace.append(f"{name} {type(error).__name__}")
            raise
        finally:
            self.open.pop(name, None)
        self.trace.append(f"done {name}")
        return name

    def resolve(self, name: str) -> None:
        self.trace.append(f"resolve {name}")
        self.open.pop(name).set_result(None)
        self.loop.run_until_blocked()


async def abort_a_task_group(world: World) -> None:
    async def fail() -> None:
        await world.step("fail")
        raise ValueError

    try:
        async with asyncio.TaskGroup() as group:
            for index in range(40):
                group.create_task(world.step(f"grouped{index}"))
            group.create_task(fail())
    except* ValueError:
        world.trace.append("aborted")


async def wait_for_the_first(world: World) -> None:
    tasks = [asyncio.create_task(world.step(f"raced{index}")) for index in range(20)]
    tasks.append(asyncio.create_task(world.step("first")))
    done, pending = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    world.trace.append(" ".join(task.get_name() for task in done))
    for task in pending:
        world.trace.append(task.get_name())
        task.cancel()
    await asyncio.gather(*pending, return_exceptions=True)


async def use_gather_and_as_completed(world: World) -> None:
    gathered = asyncio.gather(world.step("left"), world.step("right"))
    tasks = [asyncio.create_task(world.step(name)) for name in ("fast", "slow")]
    for one in asyncio.as_completed(tasks):
        world.trace.append(await one)
    world.trace.append(" ".join(await gathered))


async def use_locks(world: World) -> None:
    lock, semaphore, condition = asyncio.Lock(), asyncio.Semaphore(2), asyncio.Condition()
    barrier, event, queue = asyncio.Barrier(3), asyncio.Event(), asyncio.Queue[int](2)

    async def visit(index: int) -> None:
        async with semaphore, lock:
            world.trace.append(f"in {index}")
            await asyncio.sleep(0)
        await barrier.wait()
        async with condition:
            condition.notify()
        await event.wait()
        await queue.put(index)

    async with asyncio.TaskGroup() as group:
        for index in range(6):
            group.create_task(visit(index))
        async with condition:
            await condition.wait()
        await world.step("event")
        event.set()
        for _ in range(6):
            world.trace.append(f"got {await queue.get()}")


async def time_out(world: World) -> None:
    try:
        async with asyncio.timeout(5):
            await asyncio.gather(*(world.step(f"late{index}") for index in range(9)))
    except TimeoutError:
        world.trace.append("timed out")


async def use_anyio(world: World) -> None:
    async def clean_up(index: int) -> None:
        with anyio.CancelScope():
            try:
                await anyio.sleep_forever()
            finally:
                with anyio.CancelScope(shield=index % 3 == 0):
                    await world.step(f"clean{index}")

    with anyio.move_on_after(7) as scope:
        async with anyio.create_task_group() as group:
            for index in range(30):
                group.start_soon(clean_up, index)
    world.trace.append(f"moved on {scope.cancelled_caught}")
    try:
        with anyio.fail_after(9):
            await world.step("failing")
    except TimeoutError:
        world.trace.append("failed")


PARTS: list[Callable[[World], Awaitable[None]]] = [
    abort_a_task_group,
    wait_for_the_first,
    use_gather_and_as_completed,
    use_locks,
    time_out,
    use_anyio,
]

CLEAN_UPS = [f"clean{index}" for index in range(27, -1, -3)]
OUTSIDE: list[str | int] = ["fail", "first", "slow", "fast", "right", "left", "event", 1, 2, *CLEAN_UPS, 3]


def play() -> Trace:
    world = World()

    async def workflow() -> None:
        for part in PARTS:
            # In a task of its own: before Python 3.11.4 a task group that has aborted leaves its task cancelled.
            await world.loop.create_task(part(world))
        world.trace.append("end")

    world.loop.create_task(workflow())
    world.loop.run_until_blocked()
    for what in OUTSIDE:
        if isinstance(what, int):
            world.loop.fire(what)
            world.loop.run_until_blocked()
        else:
            world.resolve(what)
    world.loop.close()
    return world.trace


def scatter(amount: int) -> list[object]:
    """Make holes of all sizes in the heap, so that whatever is made next gets other addresses."""
    junk: list[object] = [[None] * random.randrange(1, 60) for _ in range(amount)]
    random.shuffle(junk)
    return junk[::3]


def trace_in_another_process(hash_seed: int, junk: int) -> str:
    environment = os.environ | {"PYTHONHASHSEED": str(hash_seed)}
    command = [sys.executable, str(Path(__file__)), str(junk)]
    return subprocess.run(command, env=environment, check=True, capture_output=True, text=True).stdout


def test_two_processes_with_other_hash_seeds_and_heaps_have_the_same_trace() -> None:
    traces = {trace_in_another_process(seed, junk) for seed, junk in [(1, 0), (2, 30_000), (3, 77_777)]}

    assert len(traces) == 1
    assert traces.pop().endswith("end\n")


def test_many_runs_in_one_heap_have_the_same_trace() -> None:
    kept: list[object] = []
    traces: set[tuple[str, ...]] = set()

    for _ in range(20):
        kept.append(scatter(200))
        traces.add(tuple(play()))

    assert len(traces) == 1


def test_tasks_of_many_runs_do_not_meet_in_asyncio_s_dictionaries() -> None:
    loops = [RunLoop(arm=print, disarm=print, callbacks_max=9, seed=seed) for seed in range(100)]

    hashes = {hash(loop.create_future()) for loop in loops for _ in range(3)}

    assert len(hashes) == 300


if __name__ == "__main__":
    held = scatter(int(sys.argv[1]))
    print("\n".join(play()))
