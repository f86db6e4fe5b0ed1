"""What goes wrong for one worker in memory, when a test wants it to."""

from __future__ import annotations

import asyncio
from typing import Literal

from tests.crash.workers_in_memory import MemoryWorker, WorkersInMemory

from relight.testing.memory import Faults, MemoryDoor, Operation

__all__ = ("kill_at", "lose_appends_of", "redeliver_start", "stop_after")


async def redeliver_start(site: WorkersInMemory, owner: MemoryWorker) -> None:
    """Have the first start delivered again several times, so that it comes to each worker."""
    for _ in range(4):
        site.server.consumer("start", "default").nak(1, owner.door, 0.0)
        await site.pass_time(1)


def lose_appends_of(site: WorkersInMemory, worker: MemoryWorker) -> None:
    """Let this worker, and no other, be unable to append, until there are other faults."""
    acting: list[MemoryDoor] = []

    def hook(door: MemoryDoor, operation: Operation, now: Literal["before", "after"]) -> None:
        acting[:] = [door]

    def outcome(operation: Operation) -> Literal["lost", "known"]:
        return "lost" if acting == [worker.door] and ".log." in operation.subject else "known"

    site.server.on_operation = hook
    site.server.faults = Faults(outcome=outcome)


def kill_at(
    site: WorkersInMemory, worker: MemoryWorker, name: str, part: str, moment: Literal["before", "after"]
) -> None:
    """Kill the worker at its next operation of this kind."""

    def hook(door: MemoryDoor, operation: Operation, now: Literal["before", "after"]) -> None:
        if door is worker.door and operation.name == name and part in operation.subject and now == moment:
            worker.door.kill()
            asyncio.get_running_loop().call_soon(worker.kill)

    site.server.on_operation = hook


def stop_after(site: WorkersInMemory, worker: MemoryWorker, name: str, part: str) -> None:
    """Stop the worker after the turn that holds the first step's result."""

    def hook(door: MemoryDoor, operation: Operation, now: Literal["before", "after"]) -> None:
        is_it = door is worker.door and operation.name == name and part in operation.subject and now == "after"
        if is_it and not worker.door.process.is_stopped:
            worker.door.stop()
            site.server.on_operation = None

    site.server.on_operation = hook
