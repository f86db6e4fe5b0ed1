"""A mailbox that nobody reads is full one day: then it takes no more signals, but the run can be ended."""

from __future__ import annotations

import asyncio

import pytest
from msgspec import Raw
from tests.crash.workers_in_memory import WorkersInMemory

from relight import AlreadyAnsweredError, MailboxFullError, Run, RunCancelled, RunTerminated, WorkflowContext, workflow
from relight.config.limits import LIMITS
from relight.subjects import records as r
from relight.subjects.codec import encode
from relight.subjects.messages import Signal


@workflow
async def waits(ctx: WorkflowContext) -> None:
    await ctx.suspend("never")


async def fill_mailbox(site: WorkersInMemory, run: Run[None]) -> None:
    mailbox, message = site.client.subjects.wake("default", run.id), encode(Signal(name="unread", data=Raw(b"1")))
    for _ in range(LIMITS.mailbox_messages_max // 1_000):
        await site.result(asyncio.gather(*(site.client.door.publish(mailbox, message) for _ in range(1_000))))


@pytest.mark.parametrize(("way", "ended"), [("cancel", RunCancelled), ("terminate", RunTerminated)])
async def test_a_run_with_a_full_mailbox_can_be_ended(site: WorkersInMemory, way: str, ended: type[Exception]) -> None:
    run = await site.result(site.client.start(waits))
    await fill_mailbox(site, run)
    with pytest.raises(MailboxFullError):
        await site.result(run.signal("unread", 1))

    await site.result(getattr(run, way)())

    await site.add(waits)
    with pytest.raises(ended):
        await site.result(run.result())


async def test_a_full_mailbox_takes_no_answers(site: WorkersInMemory) -> None:
    run = await site.result(site.client.start(waits))
    await site.result(run.resume("early"))
    await fill_mailbox(site, run)

    with pytest.raises(MailboxFullError):
        await site.result(run.resume("never"))
    with pytest.raises(AlreadyAnsweredError):
        await site.result(run.resume("early"))

    await site.add(waits)
    await site.until(lambda: len(site.records(run.id, r.SignalReceived)) == LIMITS.mailbox_messages_max)
    await site.result(run.resume("never"))
    await site.result(run.result())


async def test_what_a_person_decides_a_full_mailbox_takes(site: WorkersInMemory) -> None:
    run = await site.result(site.client.start(waits))
    await site.result(run.pause())
    await fill_mailbox(site, run)

    await site.result(run.unpause())

    await site.add(waits)
    await site.until(lambda: bool(site.records(run.id, r.Unpaused)))


@workflow
async def listens(ctx: WorkflowContext) -> int:
    return await ctx.wait_for_signal("go", type=int) + await ctx.wait_for_signal("go", type=int)


async def test_messages_that_change_nothing_do_not_fill_the_mailbox_of_a_run_that_reads_them(
    site: WorkersInMemory,
) -> None:
    await site.add(listens)
    run = await site.result(site.client.start(listens))
    await site.result(run.signal("go", 1, id="same"))
    for _ in range(LIMITS.mailbox_messages_max // 1_000 + 1):
        await site.result(asyncio.gather(*(run.signal("go", 1, id="same") for _ in range(1_000))))

    await site.result(run.signal("go", 2, id="other"))

    assert await site.result(run.result()) == 3
    turns = site.turns(run.id)
    assert len(turns) < 20
    assert {one.deaths for turn in turns for one in turn.records if isinstance(one, r.Claimed)} == {0}


async def test_a_message_that_changed_nothing_is_not_said_to_be_unread(site: WorkersInMemory) -> None:
    await site.add(listens)
    run = await site.result(site.client.start(listens))
    for _ in range(2):
        await site.result(run.signal("go", 1, id="same"))
    await site.until(lambda: bool(site.records(run.id, r.SignalReceived)))
    await site.passes()

    waits = (await site.result(run.describe())).waits_for

    assert [one.partition(" since")[0] for one in waits] == ["signal 'go'"]


async def test_what_waits_for_a_worker_is_said_to_be_unread(site: WorkersInMemory) -> None:
    worker = await site.add(listens)
    run = await site.result(site.client.start(listens))
    await site.until(lambda: bool(site.records(run.id, r.SignalAwaited)))
    worker.kill()
    for id in ("one", "one", "two"):
        await site.result(run.signal("go", 1, id=id))

    waits = (await site.result(run.describe())).waits_for

    assert waits[-1] == "2 messages in its mailbox are unread; a worker of its queue reads them"
