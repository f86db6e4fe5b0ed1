"""What a survivor does when a worker has died: it frees the leases of the dead, so that others get them at once.

A freed lease is only delivered again; who owns the run is decided by asking and by the journal's fence. So a lease of
the living that is freed by mistake costs a delivery and a question, and nothing here needs to be exact.

Of several survivors one acts, chosen by rendezvous hash; each of the others waits its turn of 20 ms, and does nothing
when it has heard by then that it is done. First go the leases that the dead worker had announced. Those that it got in
its last milliseconds, or that were still in its socket, nobody knows: so afterwards the server's own account of each of
its consumers is compared with what the living hold, and the rest is freed too (the sweep).

Where nobody lived to see a death, the next worker that begins sweeps: whoever restarts the only worker need not wait
for its leases to lapse.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from time import monotonic
from typing import final

import msgspec
import structlog
from nats.aio.client import Client

from relight.actors.jetstream.announced import Neighbour, rank
from relight.actors.jetstream.announcements import LeaseName, token_of
from relight.actors.jetstream.announcer import Announcer
from relight.actors.jetstream.deaths import Deaths, event_of
from relight.actors.jetstream.keeper_connection import WORLD_ERRORS
from relight.actors.jetstream.keeper_contact import publish_all
from relight.actors.jetstream.keeper_leases import Leases
from relight.subjects.ids import WorkerId

__all__ = ("Survivor", "unclaimed")

_TURN_S = 0.020
"""After this long without a word from the first survivor the next one acts."""

_ASK_S = 0.050
"""How long the living have to say what they hold before a sweep."""

_SETTLE_S = 0.020
"""Between the server's account and that question: what is under way to the living arrives, and is held."""

_BEGIN_S = 0.1
"""A worker that has begun to serve no further consumer for so long serves all, and has heard from the others."""

_SWEPT_MAX = 5_000
"""Sequences of one consumer that one sweep frees; more in flight than any worker has places for."""

_NAK = b"-NAK"

_log = structlog.stdlib.get_logger("relight.keeper")


class _Place(msgspec.Struct):
    stream_seq: int
    consumer_seq: int


class _ConsumerInfo(msgspec.Struct):
    ack_floor: _Place
    delivered: _Place
    num_ack_pending: int


_info = msgspec.json.Decoder(_ConsumerInfo)


def unclaimed(*, ack_floor: int, delivered: int, pending: int, claimed: set[int]) -> Sequence[int]:
    """Return the sequences of a consumer that may be pending and that nobody living holds.

    None, if the living hold as many as are pending.
    """
    between = range(max(ack_floor, delivered - _SWEPT_MAX) + 1, delivered + 1)
    held = claimed.intersection(between)
    if len(held) >= pending:
        return ()
    return [sequence for sequence in between if sequence not in held]


@final
class Survivor:
    """Frees what the dead held. `tasks` runs what takes time; one sweep at a time."""

    def __init__(
        self, client: Client, *, worker: WorkerId, announcer: Announcer, leases: Leases, tasks: asyncio.TaskGroup
    ) -> None:
        self._client = client
        self._worker = worker
        self._announcer = announcer
        self._leases = leases
        self._tasks = tasks
        self._deaths = Deaths()
        self._sweeping = asyncio.Lock()

    def note(self, data: bytes) -> None:
        """Take in a connection event of the system account."""
        event = event_of(data)
        if event is not None and event.worker != self._worker and self._deaths.note(event):
            outliving = self._outlive(event.worker)
            try:
                self._tasks.create_task(outliving)
            except RuntimeError:
                outliving.close()  # This keeper is ending: the other survivors free them.

    async def begin(self) -> None:
        """Free, once, what those held who died while nobody lived to see it. Returns when that is done."""
        known = 0
        while not known or len(self._leases.consumers) > known:  # Another thread adds to them.
            known = len(self._leases.consumers)
            await asyncio.sleep(_BEGIN_S)
        # Of workers that begin together, and those that live, one sweeps; for those that live it changes nothing.
        if rank(self._worker, dead="", others=self._announcer.neighbours.living(monotonic())):
            return
        async with self._sweeping:
            swept = await self._sweep(list(self._leases.consumers), {}, is_moot=lambda: False)
        if swept:
            _log.info("leases_swept", dead="unknown", leases_freed=swept)

    async def _outlive(self, dead: WorkerId) -> None:
        turn = rank(self._worker, dead=dead, others=self._announcer.neighbours.freeing(monotonic()))
        if turn:
            await asyncio.sleep(turn * _TURN_S)
        # Taken out of the table before anything is awaited: neither a second event nor a later turn frees them again.
        estate = self._announcer.neighbours.let_go(dead)
        if estate is None or not self._deaths.is_gone(dead):
            return
        try:
            await self._free(dead, estate, turn)
        except WORLD_ERRORS as error:
            _log.warning("freeing_failed", dead=dead, error=repr(error))

    async def _free(self, dead: WorkerId, estate: Neighbour, turn: int) -> None:
        leases = estate.leases()
        await self._nak(leases, await self._infos(one for one, held in estate.held.items() if held))
        await self._announcer.report_freed(dead)
        _log.info("worker_died", dead=dead, leases_freed=len(leases), turn=turn)
        async with self._sweeping:
            # Of our own consumers too: one that died young has told nobody yet which it served.
            served = {*estate.held, *list(self._leases.consumers)}
            # A worker whose two connections had only blinked together has come back by then.
            swept = await self._sweep(served, estate.held, is_moot=lambda: not self._deaths.is_gone(dead))
        self._deaths.forget(dead)
        _log.info("leases_swept", dead=dead, leases_freed=swept)

    async def _sweep(self, served: Iterable[str], freed: Mapping[str, set[int]], *, is_moot: Callable[[], bool]) -> int:
        # The server's account first: what it hands out to the living from now on is not in it, and not at risk.
        infos = {one: info for one, info in (await self._infos(sorted(served))).items() if info.num_ack_pending}
        await asyncio.sleep(_SETTLE_S)
        if not infos or is_moot():
            return 0
        await self._ask_the_living(tuple(infos))
        lost = [lease for one, info in infos.items() for lease in self._lost(one, info, freed=freed.get(one, set()))]
        await self._nak(lost, infos)
        return len(lost)

    async def _infos(self, consumers: Iterable[str]) -> dict[str, _ConsumerInfo]:
        return {one: info for one in consumers if (info := await self._info(one))}

    async def _info(self, consumer: str) -> _ConsumerInfo | None:
        stream, _, name = consumer.partition(".")
        if "." in name:
            return None  # In another domain: its account of itself is not ours to ask for.
        answer = await self._client.request(f"$JS.API.CONSUMER.INFO.{stream}.{name}", b"", timeout=1.0)
        try:
            return _info.decode(answer.data)
        except msgspec.MsgspecError:
            return None

    async def _ask_the_living(self, consumers: tuple[str, ...]) -> None:
        asked_at = monotonic()
        await self._announcer.ask(consumers)
        while (now := monotonic()) < asked_at + _ASK_S:
            if all(one.answered_at >= asked_at for one in self._announcer.neighbours.living(now).values()):
                return
            await asyncio.sleep(0.005)

    def _lost(self, consumer: str, info: _ConsumerInfo, *, freed: set[int]) -> list[LeaseName]:
        own = self._leases.whole((consumer,))[consumer]
        claimed = self._announcer.neighbours.held_of(consumer, monotonic()).union(own, freed)
        sequences = unclaimed(
            ack_floor=info.ack_floor.stream_seq,
            delivered=info.delivered.stream_seq,
            pending=info.num_ack_pending,
            claimed=claimed,
        )
        return [LeaseName(consumer, sequence) for sequence in sequences]

    async def _nak(self, leases: list[LeaseName], infos: Mapping[str, _ConsumerInfo]) -> None:
        tokens = [
            token_of(lease, delivery=infos[lease.consumer].delivered.consumer_seq if lease.consumer in infos else 1)
            for lease in leases
        ]
        await publish_all(self._client, tokens, _NAK)
