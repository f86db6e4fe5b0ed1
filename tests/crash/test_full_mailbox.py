"""A mailbox that nobody reads is full one day: then it takes no more signals, but the run can be ended."""

from __future__ import annotations

import asyncio

import pytest
from msgspec import Raw
from tests.crash.workers_in_memory import WorkersInMemory

from relight import MailboxFullError, RunCancelled, RunTerminated, WorkflowContext, workflow
from relight.config.limits import LIMITS
from relight.subjects.codec import encode
from relight.subjects.messages import Signal


@workflow
async def waits(ctx: WorkflowContext) -> None:
    await ctx.suspend("never")


@pytest.mark.parametrize(("way", "ended"), [("cancel", RunCancelled), ("terminate", RunTerminated)])
async def test_a_run_with_a_full_mailbox_can_be_ended(site: WorkersInMemory, way: str, ended: type[Exception]) -> None:
    run = await site.result(site.client.start(waits))
    mailbox, message = site.client.subjects.wake("default", run.id), encode(Signal(name="unread", data=Raw(b"1")))
    for _ in range(LIMITS.mailbox_messages_max // 1_000):
        await site.result(asyncio.gather(*(site.client.door.publish(mailbox, message) for _ in range(1_000))))
    with pytest.raises(MailboxFullError):
        await site.result(run.signal("unread", 1))

    await site.result(getattr(run, way)())

    await site.add(waits)
    with pytest.raises(ended):
        await site.result(run.result())
