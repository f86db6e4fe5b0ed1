"""What is sent to a run before its first turn is stored goes to whoever asks for it, finds no journal, and is rung off.

Whoever drives the start has to look for it.
"""

from __future__ import annotations

import asyncio
from typing import Literal

import pytest
from tests.crash.workers_in_memory import WorkersInMemory

from relight import RunCancelled, WorkflowContext, step, workflow
from relight.subjects.codec import encode
from relight.subjects.messages import Cancel
from relight.testing.memory import MemoryDoor, Operation


@step
async def forever() -> None:
    await asyncio.Event().wait()


@workflow
async def works(ctx: WorkflowContext) -> None:
    await forever()


async def test_a_cancel_that_came_before_the_first_turn_is_heeded_while_the_first_step_runs(
    site: WorkersInMemory,
) -> None:
    rung_off_by: list[str] = []

    def hook(door: MemoryDoor, operation: Operation, now: Literal["before", "after"]) -> None:
        subject = operation.subject
        if now == "after" and operation.name == "publish" and ".start." in subject:
            mailbox = site.client.subjects.wake("default", subject.rsplit(".", 1)[1])
            site.server.stream.publish(mailbox, encode(Cancel(reason="early")), fence=None, fence_subject=None)
        if now == "after" and operation.name == "ack" and ".wake." in subject:
            rung_off_by.append(operation.by)

    # It takes no starts, and is the first to be given a wake.
    bystander = await site.add(works, concurrency=0)
    await site.add(works)
    site.server.on_operation = hook

    run = await site.result(site.client.start(works))
    with pytest.raises(RunCancelled):
        await site.result(run.result(timeout=5))

    assert rung_off_by == [bystander.host.worker]
