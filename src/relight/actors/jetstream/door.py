"""The door to a real server: one connection for everything but leases, which a keeper holds on its own."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, Literal, Protocol, Self, final

import structlog

from relight.actors.door import JUST_NOW, Answers, Clock, Delivery, Silent, Stored
from relight.actors.jetstream.api import Api, check_jetstream
from relight.actors.jetstream.client import Access
from relight.actors.jetstream.clock import ServerClock
from relight.actors.jetstream.connection import Connection, Listening
from relight.actors.jetstream.everyone import Everyone
from relight.actors.jetstream.hearing import is_heard
from relight.actors.jetstream.mux import Mux, NoResponders
from relight.actors.jetstream.publisher import Publisher, fence_headers
from relight.actors.jetstream.pull import Consuming
from relight.actors.jetstream.reader import Reader
from relight.actors.jetstream.streams import consumer_name
from relight.actors.jetstream.topology import Topology, is_apart
from relight.actors.jetstream.uptime import NO_OUTAGE, Outage, uptime
from relight.config.limits import LIMITS, Limits
from relight.errors import UnavailableError
from relight.subjects.grammar import EVERY_WORKER, Subjects
from relight.subjects.ids import WorkerId

__all__ = ("DoorOptions", "JetStreamDoor", "LeaseKeeper")

_PAUSED = 1.5
"""How many of its time-outs a question takes only if this worker's loop stood still meanwhile."""

_FENCE_BYTES_MAX = len(fence_headers(2**63, None))

_log = structlog.stdlib.get_logger("relight.door")


class LeaseKeeper(Protocol):
    """What the door hands leases to: `Keeper`, which lives in a thread of its own."""

    def hold(self, run: str, delivery: Delivery) -> None: ...
    def release(self, delivery: Delivery) -> None: ...
    async def serve(self, consumers: Sequence[str], *, outage: Outage = NO_OUTAGE) -> None: ...
    def watch_gaps(self, back: Callable[[], None]) -> None: ...
    async def answer(self, worker: WorkerId, reply: Callable[[bytes], bytes | None]) -> None: ...


@dataclass(frozen=True, kw_only=True)
class DoorOptions:
    """What a door needs to know.

    Attributes:
        namespace: Whose streams and subjects.
        access: The servers, and as whom to connect.
        name: Of the connection, as operators see it.
        shards: Over how many streams the slots are spread; None: as found, or one.
        replicas: Of each stream, at least.
        limits: Bounds and periods.
    """

    namespace: str
    access: Access
    name: str
    shards: int | None = None
    replicas: int = 1
    limits: Limits = LIMITS


@final
class JetStreamDoor:
    """Implements `Door` on a NATS server. Open it with `async with await JetStreamDoor.open(options):`."""

    seal = None

    def __init__(
        self, connection: Connection, topology: Topology, mux: Mux, options: DoorOptions, keeper: LeaseKeeper | None
    ) -> None:
        self._clock = ServerClock()
        self.clock: Clock = self._clock
        self._connection = connection
        self._topology = topology
        self._mux = mux
        self.api = Api(mux)
        self._publisher = Publisher(connection, mux)
        self._reader = Reader(connection, self.api, topology, options.limits)
        self._subjects = Subjects(options.namespace)
        self._keeper = keeper
        self._everyone = Everyone(connection, self._subjects.owner(EVERY_WORKER), name=options.name)
        self._anchor_s = options.limits.anchor_s
        self._anchoring: asyncio.Task[None] | None = None
        # For so long after a reconnect silence of others says nothing; nor to who begins, after the server has begun.
        self._return_s = options.limits.return_s
        self._restored_at_s = float("-inf")
        self._restored_at_ms = sys.maxsize
        self._consuming: list[Consuming] = []

    @property
    def is_spread(self) -> bool:
        """See `Door.is_spread`."""
        return self._connection.is_spread

    @property
    def payload_bytes_max(self) -> int:
        """See `Door.payload_bytes_max`."""
        return self._connection.max_payload - _FENCE_BYTES_MAX

    @classmethod
    async def open(cls, options: DoorOptions, *, keeper: LeaseKeeper | None = None) -> JetStreamDoor:
        """Connect, and find or make the streams.

        Raises:
            UnavailableError: Nobody answered in time.
            UnsuitableServerError: The server is too old or has no JetStream.
            IncompatibleStreamError: A stream exists with settings that Relight can't work with. It was left as it is.
        """
        connection = await Connection.open(options.access, name=options.name)
        try:
            mux = Mux(connection, options.limits)
            await check_jetstream(mux)
            topology = await Topology.open(
                Api(mux), options.namespace, shards=options.shards, replicas=options.replicas, limits=options.limits
            )
            door = cls(connection, topology, mux, options, keeper)
            await door._clock.anchor(door.api, topology.streams[0])
            door._keep_anchored(door._anchor_later())
            if keeper is not None:
                await door._look_for_a_restart()
        except BaseException:
            await connection.close()
            raise
        connection.on_restored.append(door._anchor_again)
        return door

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Stop all pulls, send what was written, and disconnect. Repeatable."""
        for consuming in self._consuming:
            await consuming.close()
        self._consuming.clear()
        if self._anchoring is not None:
            self._anchoring.cancel()
        await self._connection.close()

    @property
    def shards(self) -> int:
        """Over how many streams the slots are spread."""
        return self._topology.shards

    # Writing.

    def publish(
        self, subject: str, data: bytes, *, fence: int | None = None, fence_subject: str | None = None
    ) -> Coroutine[Any, Any, int]:
        """See `Door.publish`."""
        return self._publisher.publish(subject, data, fence_headers(fence, fence_subject))

    async def schedule(self, subject: str, data: bytes, *, target: str, due_ms: int) -> None:
        """See `Door.schedule`."""
        headers = f"NATS/1.0\r\nNats-Schedule:@at {_rfc3339(due_ms)}\r\nNats-Schedule-Target:{target}\r\n\r\n"
        await self._publisher.publish(subject, data, headers)

    async def entomb(
        self, subject: str, data: bytes, *, fence: int, ttl_s: int, fence_subject: str | None = None
    ) -> int:
        """See `Door.entomb`."""
        # A roll-up costs the server more than a message, and where nothing is stored there is nothing to roll up.
        rollup = "Nats-Rollup:sub\r\n" if fence and fence_subject is None else ""
        headers = f"{fence_headers(fence, fence_subject)[:-2]}{rollup}Nats-TTL:{ttl_s}s\r\n\r\n"
        return await self._publisher.publish(subject, data, headers)

    async def purge(self, subject: str, *, below: int | None = None) -> None:
        """See `Door.purge`."""
        request: dict[str, object] = {"filter": subject}
        if below is not None:
            request["seq"] = below
        for stream in self._topology.streams_of(subject):
            await self.api.need(f"STREAM.PURGE.{stream}", object, request)

    async def remove(self, subject: str, sequence: int) -> None:
        """See `Door.remove`."""
        call = f"STREAM.MSG.DELETE.{self._topology.stream_of(subject)}"
        refused = await self.api.do(call, {"seq": sequence, "no_erase": True})
        if refused is not None and not refused.says_gone:
            raise UnavailableError(str(refused))

    # Reading.

    async def last(self, subject: str) -> Stored | None:
        """See `Door.last`. Whoever stores, reads or removes a large value looks here first, so its stream is made."""
        if is_apart(subject):
            await self._topology.ensure_apart(subject)
        return await self._reader.last(subject)

    async def last_of_each(self, subjects: Sequence[str]) -> list[Stored | None]:
        """See `Door.last_of_each`."""
        return await self._reader.last_of_each(subjects)

    async def next(self, subject: str, *, after: int) -> Stored | None:
        """See `Door.next`."""
        return await self._reader.next(subject, after=after)

    async def read(self, subject: str, *, after: int, limit: int) -> list[Stored]:
        """See `Door.read`."""
        return await self._reader.read(subject, after=after, limit=limit)

    async def latest(self, filters: Sequence[str]) -> list[Stored]:
        """See `Door.latest`."""
        return await self._reader.latest(filters)

    async def count(self, subject: str) -> int:
        """See `Door.count`."""
        return await self._reader.count(subject)

    async def newest(self, filter: str, *, limit: int) -> list[Stored]:
        """See `Door.newest`."""
        return await self._reader.newest(filter, limit=limit)

    async def subjects(self, filter: str, *, limit: int) -> list[str]:
        """See `Door.subjects`."""
        if is_apart(filter):
            await self._topology.ensure_apart(filter)
        return await self._reader.subjects(filter, limit=limit)

    # Notices.

    def notify(self, subject: str, data: bytes = b"") -> None:
        """See `Door.notify`."""
        self._connection.send(subject, data)

    async def watch(self, subject: str, receive: Callable[[str, bytes], None]) -> Listening:
        """See `Door.watch`. It outlives reconnects. Raises `UnavailableError` if the server can't be told now."""
        listening = self._connection.listen(
            subject, lambda subject, _reply, data, _headers: receive(subject.decode(), data)
        )
        try:
            await self._connection.confirm()
        except BaseException:
            await listening.close()
            raise
        return listening

    def watch_reconnects(self, back: Callable[[], None]) -> None:
        """See `Door.watch_reconnects`."""
        self._connection.on_restored.append(back)

    # Deliveries.

    async def consume(
        self, kind: Literal["start", "wake"], queue: str, receive: Callable[[Delivery], None], *, places: int
    ) -> Consuming:
        """See `Door.consume`. Raises `UnavailableError` and `IncompatibleStreamError`."""
        returning_s = self._returning_s(0)
        # Before now: what is stored from here on reaches this worker as that of a server that knows what it delivers.
        before_ms = min(self._restored_at_ms, self._clock.now_ms())
        outage = Outage(before_ms, returning_s) if returning_s > 0 else NO_OUTAGE
        # Whoever is on the way back may have what the server that has begun does not know to be delivered.
        consuming = Consuming(self._connection, self._topology, kind, queue, receive, forgotten_ms=outage.before_ms)
        if self._keeper is not None:
            served = [f"{stream}.{consumer_name(kind, queue)}" for stream in self._topology.streams]
            await self._keeper.serve(served, outage=outage)
        await consuming.open(places)
        self._consuming.append(consuming)
        return consuming

    def ack(self, delivery: Delivery) -> None:
        """See `Door.ack`."""
        # The keeper first: a renewal that follows an ack would be for nothing.
        if self._keeper is not None:
            self._keeper.release(delivery)
        self._connection.send(delivery.token, b"+ACK")

    def nak(self, delivery: Delivery, *, delay_s: float = 0.0) -> None:
        """See `Door.nak`."""
        # The keeper first: a renewal that follows a nak would take the message back from whoever has it now.
        if self._keeper is not None:
            self._keeper.release(delivery)
        delay = b' {"delay": %d}' % round(delay_s * 1_000_000_000) if delay_s > 0 else b""
        self._connection.send(delivery.token, b"-NAK" + delay)

    def hold(self, run: str, delivery: Delivery) -> None:
        """See `Door.hold`."""
        self._lease_keeper().hold(run, delivery)

    def release(self, delivery: Delivery) -> None:
        """See `Door.release`."""
        self._lease_keeper().release(delivery)

    def watch_gaps(self, back: Callable[[], None]) -> None:
        """See `Door.watch_gaps`."""
        loop = asyncio.get_running_loop()

        def tell() -> None:
            if not loop.is_closed():
                loop.call_soon_threadsafe(back)

        self._lease_keeper().watch_gaps(tell)

    # Questions to owners.

    async def ask(
        self, worker: WorkerId, question: bytes, *, timeout_s: float, seen_ms: int = JUST_NOW
    ) -> bytes | None:
        """See `Door.ask`."""
        loop = asyncio.get_running_loop()
        asked_s = loop.time()
        answer = asyncio.ensure_future(self._mux.ask(self._subjects.owner(worker), question))
        try:
            if not await is_heard(answer, timeout_s=timeout_s):
                if loop.time() - asked_s > _PAUSED * timeout_s:
                    # The question may have left too late to be answered: an old one is not.
                    raise UnavailableError(f"this worker stood still while it asked {worker}")
                raise Silent(f"{worker} has not answered within {timeout_s:g} s")
            return answer.result()
        except NoResponders as error:
            if self._returning_s(seen_ms, asked_s) > 0:
                raise UnavailableError(f"{worker} may be on its way back, as this worker was a moment ago") from error
            return None
        finally:
            answer.cancel()

    async def ask_every_worker(self, question: bytes, *, timeout_s: float, seen_ms: int | None = None) -> Answers:
        """See `Door.ask_every_worker`."""
        # Again after each pause: this worker may have reconnected meanwhile.
        while seen_ms is not None and (pause_s := self._returning_s(seen_ms)) > 0:  # noqa: ASYNC110
            await asyncio.sleep(pause_s)
        return await self._everyone.ask(question, timeout_s=timeout_s)

    async def answer_every_worker(self, reply: Callable[[bytes], bytes]) -> None:
        """See `Door.answer_every_worker`. Raises `UnavailableError` if the server can't be told now."""
        await self._everyone.answer(reply)

    async def answer(self, worker: WorkerId, reply: Callable[[bytes], bytes | None]) -> None:
        """See `Door.answer`."""
        await self._lease_keeper().answer(worker, reply)

    def _lease_keeper(self) -> LeaseKeeper:
        assert self._keeper is not None, "a client's door holds no leases"
        return self._keeper

    def _returning_s(self, seen_ms: int, asked_s: float | None = None) -> float:
        """How much longer those may be on their way back who were connected at `seen_ms`; not above 0: no longer."""
        if seen_ms >= self._restored_at_ms:
            return 0.0
        now_s = asyncio.get_running_loop().time() if asked_s is None else asked_s
        return max(0.0, self._restored_at_s + self._return_s - now_s)

    async def _look_for_a_restart(self) -> None:
        """Who begins after the server has can't have been cut off from it, but others may have been."""
        up = await uptime(self._connection, enough_s=self._return_s)
        if up is not None:
            self._restored_at_s = asyncio.get_running_loop().time() - up.seconds
            self._restored_at_ms = up.since_ms

    def _anchor_again(self) -> None:
        self._restored_at_s = asyncio.get_running_loop().time()
        self._restored_at_ms = sys.maxsize  # Whenever they were connected: with this worker they were cut off.
        self._keep_anchored(self._anchor_now_and_later())

    def _keep_anchored(self, anchoring: Coroutine[Any, Any, None]) -> None:
        if self._anchoring is not None:
            self._anchoring.cancel()
        self._anchoring = asyncio.get_running_loop().create_task(anchoring)

    async def _anchor_now_and_later(self) -> None:
        await self._anchor()
        await self._anchor_later()

    async def _anchor_later(self) -> None:
        while True:
            await asyncio.sleep(self._anchor_s)
            await self._anchor()

    async def _anchor(self) -> None:
        try:
            await self._clock.anchor(self.api, self._topology.streams[0])
        except UnavailableError as error:
            _log.warning("clock_not_anchored", error=str(error))


def _rfc3339(time_ms: int) -> str:
    seconds, milliseconds = divmod(min(time_ms, LIMITS.due_ms_max), 1000)
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{milliseconds:03d}Z"
