"""Everything is bounded: the mailbox of one run, and the runs that one worker advances."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from msgspec import Raw
from tests.crash.apps import collects, gated
from tests.crash.apps_fleet import Fleet

from relight import MailboxFullError
from relight.config.limits import LIMITS
from relight.config.server import EmbeddedServer
from relight.subjects.codec import encode
from relight.subjects.messages import Signal


async def test_a_mailbox_with_10000_unread_signals_refuses_the_next_until_they_are_read(
    shared_server: EmbeddedServer, namespace: str, tmp_path: Path
) -> None:
    async with Fleet(shared_server, namespace, tmp_path) as fleet:
        run = await fleet.relight.start(collects, fleet.text, LIMITS.mailbox_messages_max + 1)
        mailbox = fleet.relight.subjects.wake("default", run.id)
        message = encode(Signal(name="number", data=Raw(b"1")))
        for _ in range(LIMITS.mailbox_messages_max // 1_000):
            await asyncio.gather(*(fleet.relight.door.publish(mailbox, message) for _ in range(1_000)))

        with pytest.raises(MailboxFullError, match="10000"):
            await run.signal("number", 1)

        await fleet.worker("collects")
        async with asyncio.timeout(20):
            while True:
                try:
                    await run.signal("number", 1)
                    break
                except MailboxFullError:
                    await asyncio.sleep(0.05)
        assert len(await run.result(timeout=60)) == LIMITS.mailbox_messages_max + 1
        await fleet.no_lease_left()


async def test_a_worker_advances_no_more_runs_than_its_concurrency(
    shared_server: EmbeddedServer, namespace: str, tmp_path: Path
) -> None:
    async with Fleet(shared_server, namespace, tmp_path) as fleet:
        await fleet.worker("gated", concurrency=3)
        runs = [await fleet.relight.start(gated, fleet.text) for _ in range(10)]
        await fleet.soon("gate", 3)

        await runs[-1].signal("anything")
        await asyncio.sleep(0.5)  # What is proven is that no fourth one begins in this time.
        began = len(fleet.executions("gate"))
        pending = (await fleet.consumer("start")).num_ack_pending
        fleet.open_the_gate()

        assert began == 3
        assert pending == 3
        assert [await run.result(timeout=20) for run in runs] == ["open"] * 10
        await fleet.no_lease_left()
