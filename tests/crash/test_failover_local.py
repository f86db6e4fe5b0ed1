"""`kill -9` where nobody has configured anything: `Relight.local()` has the system account, so deaths are seen."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
from pathlib import Path

from tests.crash.apps import gated
from tests.processes import eventually

from relight import Relight
from relight.config.limits import LIMITS

_WORKER = """
import asyncio, sys
from relight import Relight, Worker
from tests.crash.apps import gated

async def main():
    async with Relight.local(sys.argv[1]) as relight:
        await Worker(relight, [gated]).run()

asyncio.run(main())
"""


def _worker(directory: Path) -> subprocess.Popen[bytes]:
    """Return it when it works: when it has looked for what others have left, too."""
    log = directory / f"{time.monotonic_ns()}.log"
    with log.open("w") as lines:
        process = subprocess.Popen(
            (sys.executable, "-c", _WORKER, str(directory / "server")), stdout=lines, stderr=subprocess.STDOUT
        )
    eventually(lambda: "worker_started" in log.read_text() or process.poll() is not None)
    assert process.poll() is None, log.read_text()
    return process


def _begun(directory: Path) -> list[float]:
    """When the step began, each time."""
    path = directory / "executions"
    lines = path.read_text().split("\n")[:-1] if path.exists() else []
    return [at for step, _, _, at in map(json.loads, lines) if step == "gate"]


async def test_a_kill_is_noticed_at_once_by_workers_of_a_local_server(tmp_path: Path) -> None:
    async with Relight.local(tmp_path / "server") as relight:
        first = await asyncio.to_thread(_worker, tmp_path)
        run = await relight.start(gated, str(tmp_path))
        await asyncio.to_thread(eventually, lambda: len(_begun(tmp_path)) == 1)
        second = await asyncio.to_thread(_worker, tmp_path)
        try:
            died = time.time()
            first.kill()
            first.wait()
            await asyncio.to_thread(eventually, lambda: len(_begun(tmp_path)) == 2)
            (tmp_path / "go").touch()

            assert _begun(tmp_path)[1] - died < LIMITS.ack_wait_s / 4
            assert await run.result(timeout=20) == "open"
        finally:
            for worker in (first, second):
                worker.kill()
                worker.wait()
