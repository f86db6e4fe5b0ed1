"""What others publish into the streams becomes no command on a worker's connection."""

from __future__ import annotations

import asyncio
from pathlib import Path

from msgspec import Raw
from nats.aio.msg import Msg
from tests.crash.apps import quick
from tests.crash.apps_fleet import Fleet
from tests.processes import eventually
from tests.raw_nats import connected, store

from relight.config.server import EmbeddedServer
from relight.subjects.codec import encode
from relight.subjects.messages import Start
from relight.subjects.records import RunStarted
from relight.subjects.turn import VERSION

COMMAND = "x 0\r\n\r\nPUB elsewhere 2\r\nhi\r\nPUB y"
"""In place of one token of a subject: whole frames, so that the server has nothing to complain of."""


async def test_a_start_with_commands_in_an_id_is_not_run_and_sends_nothing_elsewhere(
    shared_server: EmbeddedServer, namespace: str, tmp_path: Path
) -> None:
    async with Fleet(shared_server, namespace, tmp_path) as fleet, connected(shared_server.url) as connection:
        heard: list[Msg] = []

        async def hear(message: Msg) -> None:
            heard.append(message)

        await connection.subscribe("elsewhere", cb=hear)  # pyright: ignore[reportUnknownMemberType]
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
