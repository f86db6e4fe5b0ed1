"""A durable consumer: deliveries that come again until they are acknowledged.

Modelled on what nats-server was seen to do. Acknowledgements are keyed by the stream sequence alone: the token of an
earlier delivery acks, naks and renews whatever delivery of the message is pending now.

A renewal is not a timer here. While somebody renews, the time-out is simply not running; it starts when the last one
stops. So a held lease costs nothing, and time that is advanced to the next timer does not crawl from renewal to
renewal.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from functools import partial
from typing import final

from relight.actors.door import Delivery, Stored
from relight.testing.virtual_clock import VirtualClock, VirtualTimer

__all__ = ("MemoryConsumer", "Pull", "consumer_and_sequence")

_ACK = "$JS.ACK.MEMORY"


def consumer_and_sequence(token: str) -> tuple[str, int]:
    """Return the two parts of a token on which an acknowledgement acts."""
    consumer, _, sequence = token.removeprefix(f"{_ACK}.").split(".")
    return consumer, int(sequence)


@final
class Pull:
    """An open pull: its places, and where deliveries go."""

    __slots__ = ("deliver", "places")

    def __init__(self, deliver: Callable[[Delivery], None]) -> None:
        self.deliver = deliver
        self.places = 0


@final
class _Pending:
    """A message delivered at least once and not acknowledged. `is_due`: it waits for a place to be delivered again."""

    __slots__ = ("delivered", "is_due", "renewers", "stored", "timer")

    def __init__(self, stored: Stored) -> None:
        self.stored = stored
        self.delivered = 0
        self.is_due = False
        self.renewers: set[object] = set()
        self.timer: VirtualTimer | None = None

    def stop_timer(self) -> None:
        if self.timer is not None:
            self.timer.cancel()
            self.timer = None


@final
class MemoryConsumer:
    """Hands the messages of one filter to whoever pulls: redeliveries first, the pulls in turn."""

    def __init__(self, name: str, clock: VirtualClock, *, ack_wait_s: float, new_s: float) -> None:
        self._name = name
        self._clock = clock
        self._ack_wait_s = ack_wait_s
        self._new_s = new_s
        self._new: dict[int, Stored] = {}
        self._again: deque[int] = deque()
        self._pending: dict[int, _Pending] = {}
        self._pulls: deque[Pull] = deque()

    def offer(self, stored: Stored) -> None:
        """A message was stored."""
        self._new[stored.sequence] = stored
        self._dispatch()

    def knows(self, sequence: int) -> bool:
        """Whether the message will be delivered, for the first time or again."""
        return sequence in self._new or sequence in self._pending

    def forget(self, sequence: int) -> None:
        """A message was removed from the stream: it is not delivered any more."""
        self._new.pop(sequence, None)
        self.ack(sequence)

    def ack(self, sequence: int) -> None:
        if (pending := self._pending.pop(sequence, None)) is not None:
            pending.stop_timer()

    def nak(self, sequence: int, who: object, delay_s: float) -> None:
        """`who` does not renew it any more; it is delivered again after `delay_s`, whoever else renews it."""
        if (pending := self._pending.get(sequence)) is not None:
            pending.renewers.discard(who)
            if delay_s > 0 and not pending.is_due:
                self._start_timer(pending, delay_s)
            else:
                self._expire(pending)

    def renew(self, sequence: int, who: object) -> None:
        """From now on `who` keeps the message from being delivered again."""
        if (pending := self._pending.get(sequence)) is not None:
            pending.renewers.add(who)
            pending.stop_timer()

    def let_go(self, sequence: int, who: object, *, frees_at_once: bool = False) -> None:
        """`who` does not renew it any more."""
        pending = self._pending.get(sequence)
        if pending is None:
            return
        pending.renewers.discard(who)
        if pending.renewers:
            return
        if frees_at_once:
            self._expire(pending)
        elif pending.timer is None and not pending.is_due:
            self._start_timer(pending, self._ack_wait_s)

    def add_places(self, pull: Pull, count: int) -> None:
        had_some = pull.places > 0
        pull.places += count
        if pull.places > 0 and not had_some:
            self._pulls.append(pull)
        elif had_some and pull.places <= 0:
            self._pulls.remove(pull)
        self._dispatch()

    def close(self, pull: Pull) -> None:
        if pull.places > 0:
            self._pulls.remove(pull)
            pull.places = 0

    def _dispatch(self) -> None:
        while self._pulls and (pending := self._take()) is not None:
            pull = self._pulls.popleft()
            pull.places -= 1
            if pull.places > 0:
                self._pulls.append(pull)
            self._deliver(pending, pull)

    def _take(self) -> _Pending | None:
        while self._again:
            pending = self._pending.get(self._again.popleft())
            if pending is not None:
                return pending
        for sequence in self._new:
            pending = self._pending[sequence] = _Pending(self._new.pop(sequence))
            return pending
        return None

    def _deliver(self, pending: _Pending, pull: Pull) -> None:
        pending.delivered += 1
        pending.is_due = False
        if not pending.renewers:
            self._start_timer(pending, self._ack_wait_s)
        stored = pending.stored
        token = f"{_ACK}.{self._name}.{pending.delivered}.{stored.sequence}"
        count = pending.delivered
        new_until_ms = stored.stored_at_ms + round(self._new_s * 1000) if count == 1 else 0
        of, data, at_ms = stored.subject, stored.data, stored.stored_at_ms
        pull.deliver(Delivery(of, stored.sequence, data, stored.fence, token, count, new_until_ms, at_ms))

    def _start_timer(self, pending: _Pending, delay_s: float) -> None:
        pending.stop_timer()
        pending.timer = self._clock.call_later(delay_s, partial(self._expire, pending))

    def _expire(self, pending: _Pending) -> None:
        pending.stop_timer()
        if not pending.is_due:
            pending.is_due = True
            self._again.append(pending.stored.sequence)
            self._dispatch()
