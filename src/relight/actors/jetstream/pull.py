"""Long-lived pulls: deliveries come as they are stored, and never more than there are places for.

Ten times as fast as `fetch`, which waits for the rest of its batch. What can go wrong with an open pull is that it ends
and nobody says so: a leader change, a server that restarts, a consumer that was removed. So any status but a
heartbeat and the expiry of a request, silence at three looks in a row and each reconnect end the pull and begin a new
one, after a growing pause.

To end a pull means to know that nothing more comes from it, or else its places would be given out twice: unsubscribe,
wait for the server's answer to a ping behind it, and take meanwhile whatever is still under way.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from typing import final

import structlog
from msgspec.structs import replace

from relight.actors.door import Delivery, new_s
from relight.actors.jetstream.connection import Connection, Listening
from relight.actors.jetstream.places import Places
from relight.actors.jetstream.reader import fence_in
from relight.actors.jetstream.streams import Kind
from relight.actors.jetstream.topology import Topology
from relight.errors import RelightError, UnavailableError

__all__ = ("Consuming", "delivery_of")

_EXPIRES_S = 30.0
_EXPIRES_SEVERAL_STREAMS_S = 3.0
"""Places asked for at idle streams come back after this long and go where deliveries are."""

_EXPIRES_FEW_PLACES_S = 0.5
"""With fewer free places than streams each stream waits its turn this long."""

_LOOKS = 6
"""Per pull, whether anything was heard of it since the last one. At least as many heartbeats are asked for."""

_SILENT_LOOKS_MAX = 2
"""They are counted, not timed: after a pause of this worker what has come meanwhile is read before the next look. So a
pause makes one, and a heartbeat that comes a little later than the one before it makes another."""

_HEARTBEAT_S_MAX = 1.0
"""With each heartbeat the server moves an idle consumer on to the stream's end. From where it stands it counts what
the consumer has before it, in each roll-up: after 30 s without one this took a sixth of the server's time."""

_GATHER_S = 0.002
"""How long a few places wait for more before they are asked for."""

_RETRY_FIRST_S = 0.05
_RETRY_MAX_S = 2.0
_SECOND = 1_000_000_000
_PENDING = b"\r\nNats-Pending-Messages: "

_log = structlog.stdlib.get_logger("relight.pull")


@final
class Consuming:
    """Implements `Consumption`: the pulls of one queue and kind, one for each stream."""

    def __init__(
        self,
        connection: Connection,
        topology: Topology,
        kind: Kind,
        queue: str,
        receive: Callable[[Delivery], None],
        *,
        forgotten_ms: int = 0,
    ) -> None:
        self.forgotten_ms = forgotten_ms
        """What was stored before may have been delivered, and the server, which has begun since, forgotten it."""
        self._connection = connection
        self._topology = topology
        self._kind: Kind = kind
        self._queue = queue
        self._receive = receive
        self._loop = asyncio.get_running_loop()
        self._places = Places(topology.shards)
        self._timer: asyncio.Handle | None = None
        self._is_closed = False
        self._pulls = [_Pull(self, connection, stream, shard) for shard, stream in enumerate(topology.streams)]

    async def open(self, places: int) -> None:
        """Make the consumers that are missing and begin to pull.

        Raises:
            UnavailableError: No answer in time.
            IncompatibleStreamError: A consumer exists with settings that Relight can't work with.
        """
        for stream in self._topology.streams:
            await self._topology.ensure_consumer(stream, self._kind, self._queue)
        for pull in self._pulls:
            pull.begin()
        self.add_places(places)

    def add_places(self, count: int) -> None:
        """See `Consumption.add_places`."""
        self._places.give(count)
        self.ask_soon()

    async def close(self) -> None:
        """See `Consumption.close`."""
        self._is_closed = True
        if self._timer is not None:
            self._timer.cancel()
        for pull in self._pulls:
            await pull.close()

    # What the pulls of single streams need.

    @property
    def is_closed(self) -> bool:
        return self._is_closed

    @property
    def places(self) -> Places:
        return self._places

    def ask_soon(self) -> None:
        """Ask for the free places: at the end of this tick if they are many, else a little later."""
        if self._timer is not None or self._is_closed or self._places.free <= 0:
            return
        if self._places.is_worth_asking:
            self._timer = self._loop.call_soon(self._ask)
        else:
            self._timer = self._loop.call_later(_GATHER_S, self._ask)

    async def last_sequence(self, stream: str) -> int:
        return await self._topology.last_sequence(stream)

    async def ensure_consumer(self, stream: str) -> str:
        return await self._topology.ensure_consumer(stream, self._kind, self._queue)

    def deliver(self, delivery: Delivery, shard: int, *, has_more: bool, comes_again: bool) -> None:
        self._places.take(shard, has_more=has_more, comes_again=comes_again)
        self._receive(delivery)
        if self._places.free > 0:
            self.ask_soon()
        else:
            self.take_back_misplaced()

    def take_back_misplaced(self) -> None:
        """One stream at a time gives its places back; what it gives decides who is next.

        Not among several servers: what another one has sent would be dropped. There they come back when they expire.
        """
        if self._is_closed or self._connection.is_spread or any(pull.is_beginning for pull in self._pulls):
            return
        stream = self._places.misplaced()
        if stream is not None:
            self._pulls[stream].renew()

    def describe(self) -> str:
        return f"{self._kind}-{self._queue}"

    def _ask(self) -> None:
        self._timer = None
        shares = self._places.deal([pull.shard for pull in self._pulls if pull.is_open])
        for shard, count in shares:
            self._pulls[shard].ask(count, self._expires_s())
        self.take_back_misplaced()

    def _expires_s(self) -> float:
        if len(self._pulls) == 1:
            return _EXPIRES_S
        return _EXPIRES_FEW_PLACES_S if self._places.has_unserved else _EXPIRES_SEVERAL_STREAMS_S


@final
class _Pull:
    """The pull from one stream: open, or on its way to be open again."""

    def __init__(self, consuming: Consuming, connection: Connection, stream: str, shard: int) -> None:
        self.shard = shard
        self.is_open = False
        self._consuming = consuming
        self._connection = connection
        self._stream = stream
        self._loop = asyncio.get_running_loop()
        self._listening: Listening | None = None
        self._inbox = ""
        self._target = f"$JS.API.CONSUMER.MSG.NEXT.{stream}.{consuming.describe()}"
        self._number = 0
        self._looks_since_heard = 0
        self._known_up_to: int | None = None
        self._new_s = 0.0
        self._openings = 0
        self._looking: asyncio.Task[None] | None = None
        self._expires_s = _EXPIRES_S
        self._watch: asyncio.TimerHandle | None = None
        self._again: asyncio.Task[None] | None = None
        self._pause_s = _RETRY_FIRST_S

    def begin(self) -> None:
        """Listen for deliveries, now and after each reconnect."""
        self._connection.on_lost.append(self._on_lost)
        self._connection.on_restored.append(self._on_restored)
        if self._connection.is_open:
            self._listen()

    def ask(self, count: int, expires_s: float) -> None:
        """Ask for `count` more deliveries."""
        self._number += 1
        self._expires_s = expires_s
        self._looks_since_heard = 0
        expires, heartbeat = round(expires_s * _SECOND), round(min(expires_s / _LOOKS, _HEARTBEAT_S_MAX) * _SECOND)
        request = b'{"batch":%d,"expires":%d,"idle_heartbeat":%d}' % (count, expires, heartbeat)
        self._connection.send(self._target, request, reply=f"{self._inbox}{self._number}")
        if self._watch is None:
            self._watch = self._loop.call_later(expires_s / _LOOKS, self._check_heard)

    @property
    def is_beginning(self) -> bool:
        return self._again is not None

    def renew(self) -> None:
        """Give back the places that were asked for here, and go on with as many as are dealt out then."""
        if self.is_open and self._again is None:
            self._begin_anew(is_renewal=True)

    async def close(self) -> None:
        """Pull no more. What is under way when this begins is still delivered."""
        if self._on_lost in self._connection.on_lost:
            self._connection.on_lost.remove(self._on_lost)
            self._connection.on_restored.remove(self._on_restored)
        for task in (self._again, self._looking):
            if task is not None:
                task.cancel()
                await asyncio.wait((task,))
        self._stop_watching()
        self.is_open = False
        listening, self._listening = self._listening, None
        if listening is not None:
            await _drained(listening, self._connection)

    def _listen(self, *, is_renewal: bool = False) -> None:
        # A new inbox each time: requests of the one before may still be open at the server.
        self._inbox = self._connection.new_inbox() + "."
        self._listening = self._connection.listen(self._inbox + "*", self._on_message)
        self.is_open = True
        if not is_renewal:
            self._begin_to_count()
        self._consuming.ask_soon()

    def _begin_to_count(self) -> None:
        """Whatever was there before may have been delivered to somebody. After a renewal what is known stays so."""
        self._openings += 1
        self._known_up_to = None
        self._new_s = new_s(is_spread=self._connection.is_spread)
        if self._looking is not None:
            self._looking.cancel()
        self._looking = self._loop.create_task(self._look())

    async def _look(self) -> None:
        """Find out which messages are certainly younger than this pull.

        A server that loses its consumer's state, by a crash or because somebody made the consumer anew, ends the pull
        with it. So what was stored after the pull was opened and is delivered for the first time was never delivered.
        """
        pause_s = _RETRY_FIRST_S
        while self._known_up_to is None:
            try:
                self._known_up_to = await self._consuming.last_sequence(self._stream)
            except RelightError as error:  # Until it is known, each start is treated as one that came again.
                _log.debug("last_sequence_unknown", stream=self._stream, error=str(error))
                await asyncio.sleep(pause_s * random.uniform(0.5, 1.0))
                pause_s = min(pause_s * 2, _RETRY_MAX_S)

    def _on_message(self, subject: bytes, reply: bytes, data: bytes, headers: bytes | None) -> None:
        self._looks_since_heard = 0
        if reply:
            self._pause_s = _RETRY_FIRST_S
            delivery = delivery_of(subject, reply, data, headers, known_up_to=self._known_up_to, new_s=self._new_s)
            # The token's ninth part is how many more the consumer has.
            has_more = reply.split(b".", 13)[-1 if reply.count(b".") == 8 else 10] != b"0"
            comes_again = delivery.delivered > 1
            if self._may_be_forgotten(delivery):
                delivery = replace(delivery, delivered=2)
            self._consuming.deliver(delivery, self.shard, has_more=has_more, comes_again=comes_again)
        elif headers is not None and not headers.startswith(b"NATS/1.0 100"):
            self._on_status(subject, headers)

    def _may_be_forgotten(self, delivery: Delivery) -> bool:
        """Whether a server that crashed may have forgotten that a living worker has it."""
        is_old = self._openings > 1 or delivery.stored_at_ms < self._consuming.forgotten_ms
        return is_old and delivery.delivered == 1 and delivery.new_until_ms == 0

    def _on_status(self, subject: bytes, headers: bytes) -> None:
        if not subject.startswith(self._inbox.encode()) or not self.is_open:
            return  # It speaks of a pull that we have ended already.
        left = _pending(headers)
        if headers.startswith(b"NATS/1.0 408") and left is not None:
            self._pause_s = _RETRY_FIRST_S
            self._consuming.places.give_up(self.shard, left)
            self._consuming.ask_soon()
        else:
            self._restart(headers[9:].partition(b"\r\n")[0].decode(errors="replace"))

    def _check_heard(self) -> None:
        self._watch = None
        if not self.is_open or self._consuming.places.asked[self.shard] == 0:
            return
        self._looks_since_heard += 1
        if self._looks_since_heard > 1 + _SILENT_LOOKS_MAX:
            self._restart("missed heartbeats")
        else:
            self._watch = self._loop.call_later(self._expires_s / _LOOKS, self._check_heard)

    def _stop_watching(self) -> None:
        if self._watch is not None:
            self._watch.cancel()
            self._watch = None

    def _restart(self, reason: str) -> None:
        if self._consuming.is_closed or self._again is not None:
            return
        _log.info("pull_restarted", consumer=self._consuming.describe(), stream=self._stream, reason=reason)
        self._begin_anew(is_renewal=False)

    def _begin_anew(self, *, is_renewal: bool) -> None:
        self.is_open = False
        self._stop_watching()
        self._again = self._loop.create_task(self._begin_again(is_renewal=is_renewal))
        self._again.add_done_callback(self._on_begun)

    def _on_begun(self, task: asyncio.Task[None]) -> None:
        self._again = None
        if not task.cancelled() and (error := task.exception()) is not None:
            _log.error("pull_failed", consumer=self._consuming.describe(), stream=self._stream, error=repr(error))
            self._restart("failed")
        self._consuming.take_back_misplaced()

    async def _begin_again(self, *, is_renewal: bool) -> None:
        """End the pull for sure and listen anew; if something was wrong, after a pause and a look at the consumer."""
        listening, self._listening = self._listening, None
        if listening is not None:
            await _drained(listening, self._connection)
            self._consuming.places.give_up(self.shard)
        while self._connection.is_open and not (is_renewal or await self._is_ready_again()):
            pass
        if self._connection.is_open:
            self._listen(is_renewal=is_renewal)

    async def _is_ready_again(self) -> bool:
        self._consuming.ask_soon()
        await asyncio.sleep(self._pause_s * random.uniform(0.5, 1.0))
        self._pause_s = min(self._pause_s * 2, _RETRY_MAX_S)
        try:
            await self._consuming.ensure_consumer(self._stream)
        except RelightError as error:
            _log.warning("consumer_unavailable", consumer=self._consuming.describe(), error=str(error))
            return False
        return True

    def _on_lost(self) -> None:
        """The server has forgotten this connection's pulls, and nothing of them can come any more."""
        self._stop_watching()
        if self._again is not None:
            self._again.cancel()
        self.is_open = False
        if self._listening is not None:
            self._listening.end()
            self._listening.forget()
            self._listening = None
        self._consuming.places.give_up(self.shard)

    def _on_restored(self) -> None:
        self._restart("reconnected")


async def _drained(listening: Listening, connection: Connection) -> None:
    """Return when nothing can come from a subscription any more."""
    listening.end()
    try:
        await connection.confirm()
    except UnavailableError as error:
        # Then the connection is gone or going, and its subscriptions with it.
        _log.debug("pull_not_confirmed", error=str(error))
    finally:
        listening.forget()


def delivery_of(
    subject: bytes, reply: bytes, data: bytes, headers: bytes | None, *, known_up_to: int | None, new_s: float
) -> Delivery:
    """Read a delivery.

    Its token is `$JS.ACK.[<domain>.<account>.]<stream>.<consumer>.<delivered>.<sequence>.<number>.<stored at>.<more>`.
    It is new for `new_s` after it was stored: a worker that was stopped may find it in its socket, or in its memory,
    when others have had it since.
    """
    tokens = reply.split(b".")
    first = 4 if len(tokens) < 11 else 6
    sequence, delivered = int(tokens[first + 1]), int(tokens[first])
    stored_at_ms = int(tokens[first + 3]) // 1_000_000
    is_certain = delivered == 1 and known_up_to is not None and sequence > known_up_to
    return Delivery(
        subject.decode(),
        sequence,
        data,
        None if headers is None else fence_in(headers),
        reply.decode(),
        delivered,
        stored_at_ms + round(new_s * 1000) if is_certain else 0,
        stored_at_ms,
    )


def _pending(headers: bytes) -> int | None:
    start = headers.find(_PENDING)
    if start < 0:
        return None
    start += len(_PENDING)
    return int(headers[start : headers.index(b"\r\n", start)])
