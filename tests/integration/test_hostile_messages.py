"""What others publish into the streams becomes no command on a worker's connection."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from msgspec import Raw
from nats.aio.client import Client
from nats.aio.msg import Msg
from tests.crash.apps import quick
from tests.crash.apps_fleet import Fleet
from tests.processes import eventually
from tests.raw_nats import connected, publish_raw, store

from relight import RunTimedOut
from relight.config.server import EmbeddedServer
from relight.subjects.codec import encode
from relight.subjects.grammar import EVERY_WORKER, Subjects
from relight.subjects.messages import NOT_MINE, AskEveryWorker, AskOwner, Start
from relight.subjects.records import RunStarted
from relight.subjects.turn import VERSION

COMMAND = "x 0\r\n\r\nPUB elsewhere 2\r\nhi\r\nPUB y"
"""In place of one token of a subject: whole frames, so that the server has nothing to complain of."""


async def heard_at(connection: Client, subject: str) -> list[Msg]:
    """Return a list to which what comes there is added."""
    heard: list[Msg] = []

    async def hear(message: Msg) -> None:
        heard.append(message)

    await connection.subscribe(subject, cb=hear)  # pyright: ignore[reportUnknownMemberType]
    await connection.flush()
    return heard


def question(subjects: Subjects, *, run: str = "nobody", of: str = "nobody") -> bytes:
    token = f"$JS.ACK.RELIGHT_{subjects.namespace}_RUN_0.wake-default.1.7.7.1.0"
    return encode(AskOwner("another", run, subjects.wake("default", of), 7, token, 1, Raw(b"null")))


async def test_a_start_with_commands_in_an_id_is_not_run_and_sends_nothing_elsewhere(
    shared_server: EmbeddedServer, namespace: str, tmp_path: Path
) -> None:
    async with Fleet(shared_server, namespace, tmp_path) as fleet, connected(shared_server.url) as connection:
        heard = await heard_at(connection, "elsewhere")
        worker = await fleet.worker("quick")
        arguments = (Raw(encode(fleet.text)),)
        hostile = RunStarted("quick", "default", arguments, client=COMMAND)
        await store(connection, fleet.relight.subjects.start("default", "hostile"), encode(Start(VERSION, hostile)))
        await asyncio.to_thread(eventually, lambda: "delivery_postponed" in worker.log.read_text())
        run = await fleet.relight.start(quick, fleet.text)

        assert await run.result(timeout=20) == 6
        assert fleet.executions(run="hostile") == []
        await connection.flush()
        assert heard == []


async def test_a_deadline_that_no_calendar_has_is_far_away_or_long_past(
    shared_server: EmbeddedServer, namespace: str, tmp_path: Path
) -> None:
    async with Fleet(shared_server, namespace, tmp_path) as fleet, connected(shared_server.url) as connection:
        past = RunStarted("quick", "default", (Raw(encode(fleet.text)),), deadline_ms=-(10**15))
        await store(connection, fleet.relight.subjects.start("default", "past"), encode(Start(VERSION, past)))
        far = RunStarted("quick", "default", (Raw(encode(fleet.text)),), deadline_ms=10**15)
        await store(connection, fleet.relight.subjects.start("default", "far"), encode(Start(VERSION, far)))
        await fleet.worker("quick")

        assert await fleet.relight.get_run("far", type=int).result(timeout=20) == 6
        with pytest.raises(RunTimedOut):
            await fleet.relight.get_run("past").result(timeout=20)


@pytest.mark.parametrize("asks_all", [False, True], ids=["one worker", "all"])
async def test_a_question_is_answered_nowhere_but_in_an_inbox(
    shared_server: EmbeddedServer, namespace: str, tmp_path: Path, asks_all: bool
) -> None:
    async with Fleet(shared_server, namespace, tmp_path) as fleet, connected(shared_server.url) as connection:
        worker = await fleet.worker("quick")
        subjects = fleet.relight.subjects
        subject = subjects.owner(EVERY_WORKER if asks_all else worker.id)
        asked = encode(AskEveryWorker("another", ("nobody",))) if asks_all else question(subjects)
        elsewhere, inbox = await heard_at(connection, "elsewhere.>"), await heard_at(connection, "_INBOX.hostile.>")

        await connection.publish(subject, asked, reply="elsewhere.purge")
        await connection.publish(subject, asked, reply="_INBOX.hostile.purge")

        await asyncio.to_thread(eventually, lambda: len(inbox) > 0)
        assert elsewhere == []


async def test_a_question_about_one_run_with_the_delivery_of_another_is_not_answered(
    shared_server: EmbeddedServer, namespace: str, tmp_path: Path
) -> None:
    async with Fleet(shared_server, namespace, tmp_path) as fleet, connected(shared_server.url) as connection:
        worker = await fleet.worker("quick")
        subjects = fleet.relight.subjects
        other = Subjects("other")
        inbox = await heard_at(connection, "_INBOX.hostile.>")

        await connection.publish(
            subjects.owner(worker.id), question(subjects, of="another"), reply="_INBOX.hostile.first"
        )
        await connection.publish(subjects.owner(worker.id), question(other), reply="_INBOX.hostile.second")
        await connection.publish(subjects.owner(worker.id), question(subjects), reply="_INBOX.hostile.third")

        await asyncio.to_thread(eventually, lambda: len(inbox) > 0)
        assert [(one.subject, one.data) for one in inbox] == [("_INBOX.hostile.third", NOT_MINE)]


async def test_malformed_headers_do_not_make_a_worker_deaf(
    shared_server: EmbeddedServer, namespace: str, tmp_path: Path
) -> None:
    async with Fleet(shared_server, namespace, tmp_path) as fleet, connected(shared_server.url) as connection:
        worker = await fleet.worker("quick")
        subjects = fleet.relight.subjects
        inbox = await heard_at(connection, "_INBOX.hostile.>")

        for headers in (b"NATS", b"NATS/1.0 \xff\r\n\r\n", b"NATS/1.0\n\n"):
            await publish_raw(shared_server.url, subjects.announcements(), headers)
            await publish_raw(shared_server.url, subjects.owner(worker.id), headers)
        await connection.publish(subjects.owner(worker.id), question(subjects), reply="_INBOX.hostile.answer")

        await asyncio.to_thread(eventually, lambda: len(inbox) > 0)
        assert await (await fleet.relight.start(quick, fleet.text)).result(timeout=20) == 6
