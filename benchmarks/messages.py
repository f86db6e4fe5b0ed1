"""What a step and a one-step workflow send: counted by the server, on an otherwise idle system.

*Stored* is what the streams took: their last sequence and their bytes. *Sent* is every message that any client sent to
the server in that time (`in_msgs`), so it has the notices, the acknowledgements and the reads too, and whatever the
workers say by themselves; the latter is counted without any run, and subtracted.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Iterator
from typing import NamedTuple

import nats

from benchmarks.event_loop import run
from benchmarks.row import Goal, Row
from benchmarks.system import NAMESPACE, System, system
from benchmarks.workflows import moments_of_steps, one_step
from relight import Relight

__all__ = ("rows",)

_RUNS = 100
_STEPS = 100


class _Counts(NamedTuple):
    stored: float
    stored_bytes: float
    sent: float
    sent_bytes: float
    at_s: float

    def since(self, before: _Counts) -> _Counts:
        return _Counts(*(second - first for first, second in zip(before, self, strict=True)))

    def without(self, idle: _Counts) -> _Counts:
        """What is left without that which an idle system does in the same time."""
        share = self.at_s / idle.at_s
        return self._replace(sent=self.sent - share * idle.sent, sent_bytes=self.sent_bytes - share * idle.sent_bytes)


def rows(*, is_quick: bool) -> Iterator[Row]:
    with system() as ours:
        runs, steps = run(_count(ours, 3.0 if is_quick else 10.0))
    yield Row(name="step_publishes", value=steps.stored, unit="messages", goal=Goal(reach=1, aim=1, is_ratio=False))
    yield Row(name="step_bytes", value=steps.stored_bytes, unit="bytes")
    yield Row(name="step_sent", value=steps.sent, unit="messages")
    goal = Goal(reach=3, aim=3, is_ratio=False)
    yield Row(name="one_step_workflow_publishes", value=runs.stored, unit="messages", goal=goal)
    yield Row(name="one_step_workflow_bytes", value=runs.stored_bytes, unit="bytes")
    yield Row(name="one_step_workflow_sent", value=runs.sent, unit="messages")
    yield Row(name="one_step_workflow_sent_bytes", value=runs.sent_bytes, unit="bytes")


async def _count(ours: System, idle_s: float) -> tuple[_Counts, _Counts]:
    """Return what one one-step workflow costs, and what one further step does."""
    async with ours.client() as client:
        await client.call(one_step)
        first = await _counts(ours)
        await asyncio.sleep(idle_s)
        second = await _counts(ours)
        await _one_after_the_other(client)
        third = await _counts(ours)
        await client.call(moments_of_steps, _STEPS)
        fourth = await _counts(ours)
        await client.call(moments_of_steps, 2 * _STEPS)
        fifth = await _counts(ours)
    idle = second.since(first)
    runs = third.since(second).without(idle)
    steps = fifth.since(fourth).without(idle).since(fourth.since(third).without(idle))
    return _Counts(*(one / _RUNS for one in runs)), _Counts(*(one / _STEPS for one in steps))


async def _one_after_the_other(client: Relight) -> None:
    for _ in range(_RUNS):
        await client.call(one_step)


async def _counts(ours: System) -> _Counts:
    # What follows a result (acknowledgements, notices) is under way for an instant; counting itself is a few messages.
    await asyncio.sleep(0.2)
    system_account = await nats.connect(ours.server.system_url)
    answer = await system_account.request("$SYS.REQ.SERVER.PING.VARZ", b"", timeout=5)
    server = json.loads(answer.data)["data"]
    await system_account.close()
    account = await nats.connect(ours.server.url)
    infos = await account.jetstream().streams_info()
    await account.close()
    streams = [one.state for one in infos if (one.config.name or "").startswith(f"RELIGHT_{NAMESPACE}")]
    return _Counts(
        sum(one.last_seq for one in streams),
        sum(one.bytes for one in streams),
        server["in_msgs"],
        server["in_bytes"],
        time.perf_counter(),
    )
