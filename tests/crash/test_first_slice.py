"""The reason why Relight exists: a worker is killed in the middle of a step, and another one goes on there."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from pathlib import Path

from tests.crash.slice_app import slice_of_life
from tests.processes import eventually

from relight import Relight
from relight.config.server import EmbeddedServer


async def test_a_killed_workers_run_goes_on_at_the_step_where_it_died(server: EmbeddedServer, tmp_path: Path) -> None:
    executions = tmp_path / "executions"
    executions.touch()
    workers = [await worker_process(server), await worker_process(server)]
    try:
        async with Relight(server.url, namespace="slice") as relight:
            run = await relight.start(slice_of_life, str(tmp_path))
            await asyncio.to_thread(eventually, lambda: "second" in executions.read_text())
            victim = int(executions.read_text().splitlines()[-1].split()[1])

            os.kill(victim, signal.SIGKILL)
            await asyncio.to_thread(eventually, lambda: executions.read_text().count("second") == 2)
            (tmp_path / "go").touch()

            assert await run.result(timeout=20) == "one two"
    finally:
        for worker in workers:
            if worker.returncode is None:
                worker.terminate()
            await worker.wait()
    lines = [line.split() for line in executions.read_text().splitlines()]
    assert [name for name, _ in lines] == ["first", "second", "second"]
    assert int(lines[2][1]) != victim


async def worker_process(server: EmbeddedServer) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "tests.crash.slice_app",
        server.url,
        "slice",
        env={**os.environ, "RELIGHT_SYSTEM_URL": server.system_url},
    )
