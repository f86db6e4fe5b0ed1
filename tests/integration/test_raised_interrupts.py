"""A KeyboardInterrupt that code raises: in a worker nobody has pressed Ctrl-C, in a test somebody may have."""

from __future__ import annotations

import asyncio
import re
import signal
from pathlib import Path

import pytest
from tests.integration import interrupted_app as app
from tests.integration.cli_process import background
from tests.runs import until

from relight import Relight, Workflow
from relight.config.server import EmbeddedServer
from relight.testing import TestEnvironment


@pytest.mark.parametrize("code", [app.interrupts, app.interrupts_at_once], ids=lambda one: one.name)
async def test_code_that_raises_keyboardinterrupt_parks_its_run_and_no_other_one(
    shared_server: EmbeddedServer, namespace: str, tmp_path: Path, code: Workflow[[], int]
) -> None:
    variables = {"RELIGHT_URL": shared_server.url, "RELIGHT_NAMESPACE": namespace}
    async with Relight(shared_server.url, namespace=namespace) as relight:
        with background("worker", str(Path(app.__file__)), directory=tmp_path, variables=variables) as process:
            other = await relight.start(app.does_not)
            await until(other, lambda described: described.status == "waiting")
            run = await relight.start(code)
            described = await until(run, lambda described: described.parked == "stuck")
            await other.resume("go")

            assert await other.result() == 1
            assert re.search(r"raised KeyboardInterrupt at integration/interrupted_app\.py:\d+", str(described))
            process.send_signal(signal.SIGINT)
            assert await asyncio.to_thread(process.wait, 30) == 0


async def test_where_no_worker_takes_sigint_it_ends_what_runs_the_code() -> None:
    async def play() -> None:
        async with TestEnvironment([app.interrupts]) as environment:
            await (await environment.client.start(app.interrupts)).result()

    with pytest.raises(KeyboardInterrupt):
        await asyncio.to_thread(asyncio.run, play())
