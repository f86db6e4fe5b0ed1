"""A worker that is told to stop twice ends, whatever its steps do."""

from __future__ import annotations

import asyncio
import signal
import time
from pathlib import Path

import pytest
from tests.integration import stubborn_app
from tests.integration.cli_process import background
from tests.processes import eventually

from relight import Relight, Workflow
from relight.config.server import EmbeddedServer

APP = str(Path(stubborn_app.__file__))


@pytest.mark.parametrize("stays", [stubborn_app.in_a_thread, stubborn_app.in_the_loop], ids=lambda one: one.name)
async def test_a_second_sigterm_ends_the_process_although_a_step_goes_on(
    shared_server: EmbeddedServer, namespace: str, tmp_path: Path, stays: Workflow[[str], None]
) -> None:
    variables = {"RELIGHT_URL": shared_server.url, "RELIGHT_NAMESPACE": namespace}
    begun = tmp_path / "begun"
    async with Relight(shared_server.url, namespace=namespace) as relight:
        await relight.start(stays, str(begun))
        with background("worker", APP, directory=tmp_path, variables=variables) as process:
            await asyncio.to_thread(eventually, begun.exists)
            process.send_signal(signal.SIGTERM)
            assert process.stdout is not None
            while "worker_draining" not in await asyncio.to_thread(process.stdout.readline):
                assert process.poll() is None
            told_s = time.monotonic()
            process.send_signal(signal.SIGTERM)

            assert await asyncio.to_thread(process.wait, 30) == 0
            assert time.monotonic() - told_s < stubborn_app.LONG_S / 3


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_nor_does_a_third_signal_hang_it(
    shared_server: EmbeddedServer, namespace: str, tmp_path: Path, number: signal.Signals
) -> None:
    variables = {"RELIGHT_URL": shared_server.url, "RELIGHT_NAMESPACE": namespace}
    begun = tmp_path / "begun"
    async with Relight(shared_server.url, namespace=namespace) as relight:
        await relight.start(stubborn_app.in_the_loop, str(begun))
        with background("worker", APP, directory=tmp_path, variables=variables) as process:
            await asyncio.to_thread(eventually, begun.exists)
            assert process.stdout is not None
            process.send_signal(number)
            for said in ("worker_draining", "worker_stopped"):
                while said not in await asyncio.to_thread(process.stdout.readline):
                    assert process.poll() is None
                process.send_signal(number)

            assert await asyncio.to_thread(process.wait, 20) == 0
