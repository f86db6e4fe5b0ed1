"""The sweep: what the server has handed out, and nobody living holds, is freed.

The server's own account of a consumer is compared with what the living say that they hold. A lease of the living that
is freed by mistake costs a delivery and a question; so does one whose redelivery was to wait.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from time import monotonic
from typing import NamedTuple, final

import msgspec
from nats.aio.client import Client
from nats.aio.msg import Msg

from relight.actors.jetstream.announced import rank
from relight.actors.jetstream.announcements import EVERY_CONSUMER, LeaseName, token_of
from relight.actors.jetstream.announcer import Announcer
from relight.actors.jetstream.everyone import Reach
from relight.actors.jetstream.keeper_connection import worker_of
from relight.actors.jetstream.keeper_contact import publish_all
from relight.actors.jetstream.keeper_leases import Leases
from relight.actors.jetstream.uptime import NO_OUTAGE, Outage
from relight.subjects.ids import WorkerId

__all__ = ("Infos", "Sweep", "unclaimed")

_LOOK_S = 0.005
_LOOKS = 50
"""So often those that live are waited for to say what they hold: counted, because who stands still hears nobody."""

_LOOKS_AT_THE_UNKNOWN = 200
"""So often those of whom nothing is known: they may have just begun, too."""

_MEET_S = 0.050
"""How long those have to be heard of that begin together with this worker, and are not connected yet."""

_SETTLE_S = 0.020
"""Between the server's account and that question: what is under way to the living arrives, and is held."""

_SWEPT_MAX = 5_000
"""How far back in one consumer a death is swept after: what is older was announced, and freed by name."""

_LEFT_MAX = 100_000
"""How far back a worker that begins sweeps: nobody may have heard of what was held for long. Takes about a second."""

_NAK = b"-NAK"


class _Place(msgspec.Struct):
    stream_seq: int
    consumer_seq: int


class _ConsumerInfo(msgspec.Struct):
    ack_floor: _Place
    delivered: _Place
    num_ack_pending: int


class _Message(msgspec.Struct):
    time: datetime


class _Found(msgspec.Struct):
    message: _Message


_info = msgspec.json.Decoder(_ConsumerInfo)
_found = msgspec.json.Decoder(_Found)

Infos = Mapping[str, _ConsumerInfo]
"""The server's account of consumers, by their names."""


def unclaimed(
    *, ack_floor: int, delivered: int, pending: int, held: set[int], spared: set[int], far_back: int
) -> Sequence[int]:
    """Return the sequences of a consumer that may be pending and that nobody living holds, without the `spared` ones.

    Of the last `far_back` that were delivered; none, if the living hold as many as are pending. What is spared is no
    reason to think so: it was announced some time ago, and may have been acknowledged since.
    """
    if sum(ack_floor < sequence <= delivered for sequence in held) >= pending:
        return ()
    between = range(max(ack_floor, delivered - far_back) + 1, delivered + 1)
    return [sequence for sequence in between if sequence not in held and sequence not in spared]


class _Asked(NamedTuple):
    """When the living were asked what they hold, and who they are: the connected, and those heard of shortly before."""

    at: float
    living: frozenset[str]


def _workers(reach: Reach) -> set[str]:
    return {named[0] for one in reach.names if (named := worker_of(one)) is not None}


@final
class Sweep:
    """Frees what nobody living holds; one sweep at a time."""

    def __init__(self, client: Client, *, worker: WorkerId, announcer: Announcer, leases: Leases) -> None:
        self._client = client
        self._worker = worker
        self._announcer = announcer
        self._leases = leases
        self._turn = asyncio.Lock()

    async def before(self, served: Iterable[str], *, outage: Outage = NO_OUTAGE) -> int:
        """Free what was left in consumers that this worker is about to serve, and return how much that was.

        Whoever died while nobody lived to see it has left it; or whoever lives, and is on the way back after an
        `outage`: that is waited for, if something may be left from before it.
        """
        async with self._turn:
            if outage.returning_s > 0 and await self._has_left_before(outage.before_ms, served):
                await asyncio.sleep(outage.returning_s)
            began_at = monotonic()
            infos = await self._pending(served)
            if not infos:
                return 0
            await asyncio.sleep(_SETTLE_S)
            # Not only those that are known must be waited for: who begins may not have heard of anybody yet.
            asked, _ = await asyncio.gather(self._ask_the_living(tuple(infos)), asyncio.sleep(_MEET_S))
            if asked is None:
                return 0
            # Of workers that begin together one sweeps. Whoever lives does not, and others may serve other queues.
            own = {one: info for one, info in infos.items() if not self._is_left_to_another(one, since=began_at)}
            return await self._free_unclaimed(own, {}, asked, far_back=_LEFT_MAX)

    async def after(
        self, dead: str, served: Iterable[str], freed: Mapping[str, set[int]], *, is_moot: Callable[[], bool]
    ) -> int:
        """Free what `dead` has left in these consumers besides `freed`, and return how much that was.

        Unless by the time that the living have been asked it `is_moot`.
        """
        async with self._turn:
            # The server's account first: what it hands out to the living from now on is not in it, and not at risk.
            infos = await self._pending(served)
            await asyncio.sleep(_SETTLE_S)
            if not infos:
                return 0
            asked = await self._ask_the_living((EVERY_CONSUMER,))
            if asked is None:
                return 0
            if is_moot():
                return 0
            # What it said last may have come only after the news of its death.
            self._announcer.neighbours.let_go(dead)
            return await self._free_unclaimed(infos, freed, asked, far_back=_SWEPT_MAX)

    async def free(self, leases: Sequence[LeaseName], infos: Infos) -> None:
        """Have the server deliver these again, at once."""
        tokens = [
            token_of(lease, delivery=infos[lease.consumer].delivered.consumer_seq if lease.consumer in infos else 1)
            for lease in leases
        ]
        await publish_all(self._client, tokens, _NAK)

    async def infos(self, consumers: Iterable[str]) -> Infos:
        """Return the server's account of those that exist."""
        return {one: info for one in sorted(consumers) if (info := await self._info(one))}

    def _is_left_to_another(self, consumer: str, *, since: float) -> bool:
        return rank(self._worker, dead="", others=self._announcer.neighbours.sweeping(consumer, since=since)) > 0

    async def _pending(self, consumers: Iterable[str]) -> Infos:
        return {one: info for one, info in (await self.infos(consumers)).items() if info.num_ack_pending}

    async def _has_left_before(self, time_ms: int, consumers: Iterable[str]) -> bool:
        """Whether something may be pending that was stored before `time_ms`; nobody can have got the rest before."""
        pending = await self._pending(consumers)
        return any([await self._stored_after_floor_ms(one, pending[one]) < time_ms for one in pending])

    async def _stored_after_floor_ms(self, consumer: str, info: _ConsumerInfo) -> int:
        """When the first message behind the floor of a consumer, of whatever subject, was stored; 0: not known."""
        stream, _, _ = consumer.partition(".")
        first = b'{"seq":%d,"next_by_subj":">"}' % (info.ack_floor.stream_seq + 1)
        answer = await self._client.request(f"$JS.API.STREAM.MSG.GET.{stream}", first, timeout=1.0)
        try:
            return int(_found.decode(answer.data).message.time.timestamp() * 1000)
        except msgspec.MsgspecError:
            return 0

    async def _free_unclaimed(
        self, infos: Infos, freed: Mapping[str, set[int]], asked: _Asked, *, far_back: int
    ) -> int:
        lost = [
            LeaseName(consumer, sequence)
            for consumer, info in infos.items()
            for sequence in self._lost(consumer, info, freed.get(consumer, set()), asked, far_back)
        ]
        await self.free(lost, infos)
        return min(len(lost), sum(info.num_ack_pending for info in infos.values()))  # Some are acknowledged long since.

    async def _info(self, consumer: str) -> _ConsumerInfo | None:
        stream, _, name = consumer.partition(".")
        if "." in name:
            return None  # In another domain: its account of itself is not ours to ask for.
        answer = await self._client.request(f"$JS.API.CONSUMER.INFO.{stream}.{name}", b"", timeout=1.0)
        try:
            return _info.decode(answer.data)
        except msgspec.MsgspecError:
            return None

    async def _ask_the_living(self, consumers: tuple[str, ...]) -> _Asked | None:
        """Return who was asked, and when; not all of them need have answered.

        None if one of whom nothing is known is connected, and has not: he may only stand still for a moment, and all
        that he holds would be freed.
        """
        neighbours, reach, asked_at = self._announcer.neighbours, Reach(), monotonic()
        heard_lately = set(neighbours.living(asked_at))

        async def note(trace: Msg) -> None:
            reach.note(trace.data)

        inbox = self._client.new_inbox()
        tracing = await self._client.subscribe(inbox, cb=note)  # pyright: ignore[reportUnknownMemberType]  # nats-py's
        try:
            await self._announcer.ask(consumers, trace=inbox)
            for look in range(_LOOKS_AT_THE_UNKNOWN):
                connected = _workers(reach) - {self._worker}
                living = heard_lately.union(connected)
                is_over = look >= _LOOKS or neighbours.have_answered(living, since=asked_at)
                if is_over and reach.is_known and connected <= neighbours.known():
                    return _Asked(asked_at, frozenset(living))
                await asyncio.sleep(_LOOK_S)
        finally:
            await tracing.unsubscribe()
        return None

    def _lost(self, consumer: str, info: _ConsumerInfo, freed: set[int], asked: _Asked, far_back: int) -> Sequence[int]:
        own = self._leases.whole().get(consumer, ())
        said, remembered = self._announcer.neighbours.held_of(consumer, asked.living, since=asked.at)
        return unclaimed(
            ack_floor=info.ack_floor.stream_seq,
            delivered=info.delivered.stream_seq,
            pending=info.num_ack_pending,
            held=said.union(own),
            spared=remembered | freed,
            far_back=far_back,
        )
