"""Real worker processes, a hundred of which are killed with -9 at random moments of real runs."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from base64 import b64encode
from collections.abc import Mapping
from pathlib import Path
from random import Random
from typing import Self, final

import pytest
from tests.crash.apps_fleet import no_lease_left
from tests.crash.attempts import Attempt, needless_executions
from tests.crash.test_every_point_on_jetstream import ended, quick_outcomes
from tests.crash.workflows import SCENARIOS

from relight import Relight
from relight.actors.journal import read_history, read_tail
from relight.config.server import EmbeddedServer
from relight.subjects.codec import decode_turn
from relight.subjects.turn import Turn

KILLS = 50
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
    victims: dict[str, str] = {}
    async with Nursery(server, namespace, executions) as nursery, Relight(server.url, namespace=namespace) as relight:
        fleet = [await nursery.worker() for _ in range(2)]
        for number in range(KILLS):
            names = {f"{name}-{number}": name for name in random.choices(sorted(expected), k=RUNS_AT_ONCE)}
            runs = {id: asyncio.create_task(ended(relight, SCENARIOS[name], id)) for id, name in names.items()}
            await asyncio.sleep(random.uniform(0, 0.03))  # The moment is what is random here.
            victim = fleet.pop(random.randrange(2))
            os.kill(victim, signal.SIGKILL)
            victims |= dict.fromkeys(names, nursery.names[victim])
            replacing = asyncio.create_task(nursery.worker())

            for id, run in runs.items():
                assert await run == expected[names[id]], f"seed {SEED}, run {id}"
                await check_chain(relight, id)
                await check_sealed(server, namespace, id, is_sealed=keys is not None)
            fleet.append(await replacing)

        await no_lease_left([server.url], namespace)
        executors = executors_in(executions.read_text(), nursery.names)
        problems = await needless_executions(relight, executors, victims)
    assert not problems, f"seed {SEED}: {problems}"
    again = [attempt for attempt, ran in executors.items() if len(ran) > 1]
    assert len(again) >= KILLS / 10, "too few kills met a step"


def executors_in(executions: str, names: Mapping[int, str]) -> dict[Attempt, list[str]]:
    """The workers that executed each attempt, in order."""
    found: dict[Attempt, list[str]] = {}
    for line in executions.splitlines():
        key, number, process = line.split()
        run, _, step = key.partition(":")
        found.setdefault((run, step, int(number)), []).append(names[int(process)])
    return found


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


@final
class Nursery:
    """Has workers forked, one after the other, which end with it. `names` are what they call themselves, by process."""

    def __init__(self, server: EmbeddedServer, namespace: str, executions: Path) -> None:
        self._arguments = (server.url, namespace, str(executions))
        self._environment = {**os.environ, "RELIGHT_SYSTEM_URL": server.system_url}
        self._process: asyncio.subprocess.Process
        self.names: dict[int, str] = {}

    async def worker(self) -> int:
        """Return the process id of a new worker when it works."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(b"\n")
        process, name = (await self._process.stdout.readline()).decode().split()
        self.names[int(process)] = name
        return int(process)

    async def __aenter__(self) -> Self:
        self._process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "tests.crash.kill_app", *self._arguments, env=self._environment,
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL,
        )  # fmt: skip
        return self

    async def __aexit__(self, *error: object) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        await self._process.communicate()
