"""Short runs come, end and are retired, beside one run that never ends: what stays of them, as their number grows.

A tombstone stands for `limits.tombstone_s`, an hour. Here it stands for seconds, so that its end is measured too: all
tombstones are gone before each look at the sizes. What is left then belongs to the run that never ends, or has leaked.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, cast

import nats
from nats.js import JetStreamContext
from nats.js.api import ConsumerInfo, StreamState

from benchmarks.event_loop import run
from benchmarks.processes import disk_bytes, resident_bytes
from benchmarks.row import Row, median
from benchmarks.system import NAMESPACE, System, flow, system
from benchmarks.workflows import listener
from relight import Relight, Run
from relight.actors.door import Door
from relight.actors.retire import retire_each
from relight.config.limits import KIB, LIMITS, MIB

__all__ = ("rows",)

_STREAM = f"RELIGHT_{NAMESPACE}_RUN_0"
_COMPARED = 3
_LANES = 4
_BATCH = LIMITS.retirements_at_once
_TOMBSTONE_S = 2
_NEWS_EVERY = 8 * _BATCH
_SYNC = "2s"
"""With each fsync the server also rewrites half-empty files: with its own two minutes the disk swings by 30 MiB."""
_GONE_S_MAX = 60.0


@dataclass(frozen=True, kw_only=True)
class _Look:
    """The sizes after some share of the runs."""

    percent: int
    server_mib: float
    workers_mib: float
    disk_mib: float
    messages: int
    deleted: int
    unacknowledged: int
    behind: int

    def rows(self) -> Iterator[Row]:
        figures = (
            ("server_memory", self.server_mib, "MiB"),
            ("worker_memory", self.workers_mib, "MiB"),
            ("disk", self.disk_mib, "MiB"),
            ("stream_messages", self.messages, "messages"),
            ("stream_deleted", self.deleted, "messages"),
            ("consumers_unacknowledged", self.unacknowledged, "messages"),
            ("consumers_behind", self.behind, "messages"),
        )
        for name, value, unit in figures:
            yield Row(name=f"retention_{name}_at_{self.percent}_percent", value=value, unit=unit)


def rows(*, is_quick: bool) -> Iterator[Row]:
    count, times = (5_000, 5) if is_quick else (100_000, 10)
    looks: list[_Look] = []
    with system(sync=_SYNC) as ours:
        for number in range(times):
            percent = 100 * (number + 1) // times
            looks.append(run(_pass_through(ours, count // times, is_first=number == 0, percent=percent)))
            yield from looks[-1].rows()
    yield from _growth(looks, count * (times - _COMPARED) // times)


def _growth(looks: Sequence[_Look], count: int) -> Iterator[Row]:
    """From the first looks to the last ones, for each of the `count` runs that came and went between them.

    Of a few looks each the median, because a server in Go holds more or less according to when it last collected.
    """
    first, last = looks[:_COMPARED], looks[-_COMPARED:]
    figures: Sequence[tuple[str, Callable[[_Look], float]]] = (
        ("server_memory", lambda look: look.server_mib),
        ("worker_memory", lambda look: look.workers_mib),
        ("disk", lambda look: look.disk_mib),
    )
    for name, size in figures:
        grown_mib = median(map(size, last)) - median(map(size, first))
        yield Row(name=f"retention_{name}_growth", value=grown_mib * KIB / count, unit="KiB/run")


async def _pass_through(ours: System, count: int, *, is_first: bool, percent: int) -> _Look:
    async with ours.client() as client:
        endless = await client.start(listener, id="endless") if is_first else client.get_run("endless")
        door = cast("Door", _BriefTombstones(client.door))
        await asyncio.gather(*(_lane(client, door, endless, count // _LANES) for _ in range(_LANES)))
    return await _look(ours, percent)


async def _lane(client: Relight, door: Door, endless: Run[Any], count: int) -> None:
    for first in range(0, count, _BATCH):
        runs = await asyncio.gather(*(flow(client, number) for number in range(first, min(first + _BATCH, count))))
        left = await retire_each(door, client.subjects, runs)
        assert not left, left
        if first % _NEWS_EVERY == 0:
            await endless.signal("news", first)


class _BriefTombstones:
    """A door like the one behind it, but its tombstones are soon gone."""

    def __init__(self, door: Door) -> None:
        self._door = door

    def __getattr__(self, name: str) -> Any:
        return getattr(self._door, name)

    async def entomb(self, subject: str, data: bytes, *, ttl_s: int, **fences: Any) -> None:
        await self._door.entomb(subject, data, ttl_s=min(ttl_s, _TOMBSTONE_S), **fences)


async def _look(ours: System, percent: int) -> _Look:
    connection = await nats.connect(ours.server.url)
    try:
        manager = connection.jetstream()
        await _until_tombstones_are_gone(manager)
        state = await _state(manager)
        consumers = await manager.consumers_info(_STREAM)
    finally:
        await connection.close()
    return _Look(
        percent=percent,
        server_mib=resident_bytes(ours.server.process_id) / MIB,
        workers_mib=sum(resident_bytes(one) for one in ours.workers) / MIB,
        disk_mib=disk_bytes(ours.server.directory) / MIB,
        messages=state.messages,
        deleted=state.num_deleted or 0,
        unacknowledged=sum((one.num_ack_pending or 0) + (one.num_redelivered or 0) for one in consumers),
        behind=sum(_behind(one) for one in consumers),
    )


async def _until_tombstones_are_gone(manager: JetStreamContext) -> None:
    """Wait until the stream has got no shorter for longer than a tombstone stands. The server tells nobody of it."""
    shortest, since_s = -1, time.monotonic()
    async with asyncio.timeout(_GONE_S_MAX):
        while time.monotonic() - since_s < 1.25 * _TOMBSTONE_S:
            messages = (await _state(manager)).messages
            if messages != shortest:
                shortest, since_s = messages, time.monotonic()
            await asyncio.sleep(0.25)


async def _state(manager: JetStreamContext) -> StreamState:
    return (await manager.stream_info(_STREAM)).state


def _behind(consumer: ConsumerInfo) -> int:
    """How far what is acknowledged without a gap lags behind what was delivered: the server walks over it."""
    delivered, floor = consumer.delivered, consumer.ack_floor
    return delivered.stream_seq - floor.stream_seq if delivered is not None and floor is not None else 0
