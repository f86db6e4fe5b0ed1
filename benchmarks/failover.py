"""From `kill -9` of a worker to the beginning of its run's step on a survivor, with the system account."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import final

from benchmarks.event_loop import run
from benchmarks.failover_worker import held
from benchmarks.row import Goal, Row, median
from benchmarks.system import NAMESPACE, System, system
from relight import Relight
from relight.config.server import EmbeddedServer

__all__ = ("rows",)

_KILLS = 50
_KILLS_QUICK = 10
_SLOW_MS = 250.0
_BEFORE_THE_KILL_S = 0.05
"""A lease that is a few milliseconds old is announced to the others by then, as nearly all are that a kill meets."""


def rows(*, is_quick: bool) -> Iterator[Row]:
    with system(workers=0) as ours:
        delays_ms = run(_measure(ours, _KILLS_QUICK if is_quick else _KILLS))
    slow = sum(one > _SLOW_MS for one in delays_ms)
    yield Row(name="failover_p50", value=median(delays_ms), unit="ms", goal=Goal(reach=20, aim=8, is_ratio=False))
    yield Row(name="failover_max", value=max(delays_ms), unit="ms")
    yield Row(name="failovers_above_250_ms", value=slow, unit="", goal=Goal(reach=1, aim=0, is_ratio=False))


async def _measure(ours: System, kills: int) -> list[float]:
    workers = _Workers(ours.server)
    listener = _Listener()
    try:
        await listener.open()
        workers.start()
        workers.start()
        async with ours.client() as client:
            return [await _kill_one(client, listener, workers) for _ in range(kills)]
    finally:
        workers.end()
        await listener.close()


async def _kill_one(client: Relight, listener: _Listener, workers: _Workers) -> float:
    one = await client.start(held, listener.port)
    victim, _ = await listener.heard.get()
    await asyncio.sleep(_BEFORE_THE_KILL_S)

    killed = time.monotonic_ns()
    os.kill(victim, signal.SIGKILL)
    _, began = await listener.heard.get()

    listener.let_go()
    await one.result()
    workers.replace(victim)
    return (began - killed) / 1e6


@final
class _Listener:
    """Hears of the steps that begin, and lets them end."""

    def __init__(self) -> None:
        self.heard: asyncio.Queue[tuple[int, int]] = asyncio.Queue()
        self._writers: list[asyncio.StreamWriter] = []

    async def open(self) -> None:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.port: int = self._server.sockets[0].getsockname()[1]

    async def close(self) -> None:
        self._server.close()
        self.let_go()

    def let_go(self) -> None:
        """Let all steps end that were heard of."""
        for writer in self._writers:
            writer.write(b"end\n")
            writer.close()
        self._writers.clear()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        process, began = (await reader.readline()).split()
        self._writers.append(writer)
        self.heard.put_nowait((int(process), int(began)))


@final
class _Workers:
    """Worker processes that are killed one by one."""

    def __init__(self, server: EmbeddedServer) -> None:
        self._environment = {
            **os.environ,
            "RELIGHT_URL": server.url,
            "RELIGHT_SYSTEM_URL": server.system_url,
            "RELIGHT_NAMESPACE": NAMESPACE,
        }
        self._running: dict[int, subprocess.Popen[str]] = {}

    def start(self) -> None:
        """Start a worker and return when it is ready."""
        command = [sys.executable, "-m", "benchmarks.failover_worker"]
        process = subprocess.Popen(command, env=self._environment, stdout=subprocess.PIPE, text=True)
        self._running[process.pid] = process
        assert process.stdout is not None, "a pipe, as asked for"
        if process.stdout.readline().strip() != "ready":
            raise RuntimeError("a worker did not become ready")

    def replace(self, dead: int) -> None:
        self._running.pop(dead).wait()
        self.start()

    def end(self) -> None:
        for process in self._running.values():
            process.terminate()
        for process in self._running.values():
            process.wait()
