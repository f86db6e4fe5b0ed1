"""Real worker processes, killed with -9 at random moments of real runs. `RELIGHT_TEST_FULL` kills a hundred."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from base64 import b64encode
from collections import Counter
from pathlib import Path
from random import Random

import pytest
from tests.crash.test_every_point_on_jetstream import ended, quick_outcomes
from tests.crash.workflows import SCENARIOS

from relight import Relight
from relight.actors.journal import read_history, read_tail
from relight.config.server import EmbeddedServer
from relight.subjects.codec import decode_turn
from relight.subjects.turn import Turn

KILLS = 100 if "RELIGHT_TEST_FULL" in os.environ else 10
SEED = int(os.environ.get("RELIGHT_TEST_SEED", "1"))
RUNS_AT_ONCE = 6


@pytest.mark.parametrize("keys", [None, "2026:" + b64encode(bytes(range(32))).decode()], ids=["plain", "encrypted"])
async def test_runs_end_alike_whichever_worker_is_killed_when(
    server: EmbeddedServer, namespace: str, tmp_path: Path, keys: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    random = Random(SEED)
    if keys is not None:
        monkeypatch.setenv("RELIGHT_ENCRYPTION_KEYS", keys)  # Of the workers too, which inherit it.
    executions = tmp_path / "executions"
    executions.touch()
    expected = await quick_outcomes()
    fleet = [await worker_process(server, namespace, executions) for _ in range(2)]
    kills: Counter[str] = Counter()
    try:
        async with Relight(server.url, namespace=namespace) as relight:
            for number in range(KILLS):
                names = {f"{name}-{number}": name for name in random.choices(sorted(expected), k=RUNS_AT_ONCE)}
                runs = {id: asyncio.create_task(ended(relight, SCENARIOS[name], id)) for id, name in names.items()}
                await asyncio.sleep(random.uniform(0, 0.03))  # The moment is what is random here.
                replacing = asyncio.create_task(worker_process(server, namespace, executions))
                victim = fleet.pop(random.randrange(2))
                os.kill(victim.pid, signal.SIGKILL)
                await victim.wait()

                for id, run in runs.items():
                    assert await run == expected[names[id]], f"seed {SEED}, run {id}"
                    kills[id] = 1
                    await check_chain(relight, id)
                    await check_sealed(server, namespace, id, is_sealed=keys is not None)
                fleet.append(await replacing)
    finally:
        for worker in fleet:
            worker.kill()
            await worker.wait()
    for line, count in Counter(executions.read_text().splitlines()).items():
        of = line.split(":")[0].split("-child-")[0]
        assert count <= 1 + kills[of], f"seed {SEED}: {line} was executed {count} times"


async def check_chain(relight: Relight, run: str) -> None:
    tail = await read_tail(relight.door, relight.subjects.log(run))
    assert tail is not None
    await read_history(relight.door, relight.subjects.log(run), tail[0])


async def check_sealed(server: EmbeddedServer, namespace: str, run: str, *, is_sealed: bool) -> None:
    async with Relight(server.url, namespace=namespace, codecs=()) as stranger:
        stored = await stranger.door.read(stranger.subjects.log(run), after=0, limit=1000)
    turns = [turn for one in stored if isinstance(turn := decode_turn(one.data), Turn)]
    assert turns
    assert all(bool(one.sealed) is is_sealed for one in turns)


async def worker_process(server: EmbeddedServer, namespace: str, executions: Path) -> asyncio.subprocess.Process:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.crash.kill_app", server.url, namespace, str(executions),
        env={**os.environ, "RELIGHT_SYSTEM_URL": server.system_url}, stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )  # fmt: skip
    assert process.stdout is not None
    while (line := await process.stdout.readline()) and b"ready" not in line:
        pass
    drain = asyncio.create_task(process.stdout.read())
    drain.add_done_callback(lambda _: None)
    _drains.add(drain)
    return process


_drains: set[asyncio.Task[bytes]] = set()
