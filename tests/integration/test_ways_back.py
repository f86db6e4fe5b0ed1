"""After an outage nobody is taken for gone who may be on the way back: whoever is back first, or begins, waits."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack

import pytest
from tests.integration.door_on_server import Inbox, bare, options, quick_limits
from tests.long_pause import LONG_S, at_a_long_pause

from relight.actors.door import Answers, Delivery
from relight.actors.jetstream.door import DoorOptions, JetStreamDoor
from relight.actors.jetstream.keeper_connection import connection_name
from relight.actors.jetstream.uptime import NO_OUTAGE, Outage, uptime
from relight.config.limits import Limits
from relight.config.server import EmbeddedServer
from relight.errors import UnavailableError
from relight.subjects.grammar import Subjects
from relight.subjects.ids import WorkerId

ADA = WorkerId("ada")


class NoLeases:
    """Stands where a worker's keeper does."""

    def __init__(self) -> None:
        self.outages: list[Outage] = []

    def hold(self, run: str, delivery: Delivery) -> None: ...
    def release(self, delivery: Delivery) -> None: ...
    def watch_gaps(self, back: Callable[[], None]) -> None: ...
    async def answer(self, worker: WorkerId, reply: Callable[[bytes], bytes | None]) -> None: ...
    async def serve(self, consumers: Sequence[str], *, outage: Outage = NO_OUTAGE) -> None:
        self.outages.append(outage)


PATIENT = quick_limits(return_s=LONG_S)
"""However long a test takes, others may still be on their way back."""


async def begun(
    server: EmbeddedServer, namespace: str, keeper: NoLeases | None = None, *, limits: Limits = PATIENT
) -> JetStreamDoor:
    """The door of a worker that begins."""
    return await JetStreamDoor.open(options(server, namespace, limits=limits), keeper=keeper or NoLeases())


async def stored(server: EmbeddedServer, namespace: str, run: str) -> int:
    """Store a start, and return when that was."""
    subject = Subjects(namespace).start("q", run)
    async with await JetStreamDoor.open(options(server, namespace)) as client:
        await client.publish(subject, b"start")
        last = await client.last(subject)
    assert last is not None, "it was just stored"
    return last.stored_at_ms


async def restart(server: EmbeddedServer) -> None:
    await asyncio.to_thread(server.kill)
    await asyncio.to_thread(server.start)


async def test_who_is_back_asks_all_workers_when_the_others_have_had_the_time_to_come_back(
    shared_server: EmbeddedServer, namespace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with AsyncExitStack() as doors:
        patient = options(shared_server, namespace, limits=PATIENT)
        ben = await doors.enter_async_context(await JetStreamDoor.open(patient))

        async def ada_comes_back() -> None:
            named = _named(shared_server, namespace, ADA)
            ada = await doors.enter_async_context(await JetStreamDoor.open(named))
            await ada.answer_every_worker(lambda question: b"mine")
            ben._restored_at_s = float("-inf")  # pyright: ignore[reportPrivateUsage]

        at_a_long_pause(monkeypatch, ada_comes_back)
        ben._restored_at_s = asyncio.get_running_loop().time()  # pyright: ignore[reportPrivateUsage]

        assert await ben.ask_every_worker(b"?", timeout_s=5, seen_ms=1) == Answers((b"mine",), is_complete=True)


async def test_who_begins_after_a_restart_takes_nobody_for_gone_who_was_there_before_it(
    server: EmbeddedServer, namespace: str
) -> None:
    before_ms = await stored(server, namespace, "before")
    await restart(server)
    async with await begun(server, namespace) as ben:
        since_ms = await stored(server, namespace, "since")

        with pytest.raises(UnavailableError, match="on its way back"):
            await ben.ask(ADA, b"yours?", timeout_s=5, seen_ms=before_ms)
        assert await ben.ask(ADA, b"yours?", timeout_s=5, seen_ms=since_ms) is None


async def test_nor_does_it_take_for_undelivered_what_was_stored_before(server: EmbeddedServer, namespace: str) -> None:
    before_ms = await stored(server, namespace, "before")
    await restart(server)
    inbox, keeper = Inbox(), NoLeases()
    async with await begun(server, namespace, keeper) as ben:
        since_ms = await stored(server, namespace, "since")

        await ben.consume("start", "q", inbox.receive, places=2)
        deliveries = await inbox.wait_for(2)

    assert {one.subject.rsplit(".", 1)[1]: one.delivered for one in deliveries} == {"before": 2, "since": 1}
    assert before_ms < keeper.outages[0].before_ms <= since_ms
    assert keeper.outages[0].returning_s > LONG_S / 2


async def test_who_begins_at_a_server_that_runs_for_long_waits_for_nobody(
    shared_server: EmbeddedServer, namespace: str
) -> None:
    await stored(shared_server, namespace, "waits")
    inbox, keeper = Inbox(), NoLeases()
    async with await begun(shared_server, namespace, keeper, limits=quick_limits(return_s=0.0)) as ben:
        await ben.consume("start", "q", inbox.receive, places=2)
        (delivery,) = await inbox.wait_for(1)

        assert delivery.delivered == 1
        assert keeper.outages == [NO_OUTAGE]
        assert await ben.ask(ADA, b"yours?", timeout_s=5) is None


async def test_a_connection_that_has_ended_shows_that_a_server_has_been_up(server: EmbeddedServer) -> None:
    """Who restarts the only worker need not wait."""
    async with bare(server) as (one, _):
        first = await uptime(one, enough_s=0.0)
    async with bare(server) as (one, _):
        second = await uptime(one, enough_s=0.0)

    assert first is not None
    assert second is not None
    assert first.since_ms == second.since_ms
    assert first.seconds < second.seconds


def _named(server: EmbeddedServer, namespace: str, worker: WorkerId) -> DoorOptions:
    given = options(server, namespace)
    return DoorOptions(namespace=given.namespace, access=given.access, name=connection_name(worker, "main"))
