"""The door: the few things that Relight asks of NATS, so that a real server and one in memory are interchangeable.

It speaks of subjects, sequences, fences and deliveries, never of runs. What a method promises holds for both doors and
is proven by one conformance suite (`tests/conformance`).
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, Literal, NamedTuple, Protocol

from msgspec import Struct

from relight.config.limits import LIMITS
from relight.errors import ProtocolError, SealedError
from relight.subjects.ids import WorkerId

__all__ = (
    "JUST_NOW",
    "SECOND_HAND",
    "Answers",
    "Clock",
    "Consumption",
    "Delivery",
    "Door",
    "Handle",
    "KeyDestroyedError",
    "Seal",
    "Silent",
    "Stored",
    "Watch",
    "new_s",
)


JUST_NOW = sys.maxsize - 1
"""In place of the time at which somebody was connected: after any outage that this worker can know of without having
been cut off itself."""

SECOND_HAND = 0
"""In place of a delivery's count: it has been in hand for a while, and others may have acknowledged or hold it."""


class Silent(Exception):
    """Somebody listens there but has not answered in time."""


class KeyDestroyedError(SealedError):
    """The data key of a run was destroyed: what is sealed by it nobody will ever open, nor seal anything more."""


class LaterVersionError(ProtocolError):
    """A message is of a kind that only a later Relight knows, and must not be passed over."""


class Answers(NamedTuple):
    """What workers say. `is_complete`: all whom the question has reached have answered."""

    said: tuple[bytes, ...]
    is_complete: bool


class Stored(Struct, frozen=True):
    """A message as the stream holds it.

    `fence` is the sequence that its publisher expected on its subject; None if it was fenced on another one, or not.
    `raw` is what is stored, if that is not `data` because it is sealed.
    """

    subject: str
    sequence: int
    data: bytes
    fence: int | None
    stored_at_ms: int
    raw: bytes | None = None

    @property
    def as_stored(self) -> bytes:
        """What the hash of the chain is made of."""
        return self.data if self.raw is None else self.raw


class Delivery(Struct, frozen=True):
    """A message handed to this worker by a consumer. Until its ack the server will deliver it again.

    `token` is the acknowledgement subject; whoever knows it can ack, nak or renew, so it proves nothing.
    `delivered` counts deliveries from 1; it is more than 1 if a server that has crashed may have forgotten one.
    Until `new_until_ms`, the server's time, nobody else can have had the message; 0: somebody may have. `stored_at_ms`:
    before that nobody can have had it; 0: not known.
    """

    subject: str
    sequence: int
    data: bytes
    fence: int | None
    token: str
    delivered: int
    new_until_ms: int = 0
    stored_at_ms: int = 0

    def is_new(self, now_ms: int) -> bool:
        return now_ms < self.new_until_ms

    @property
    def postponed_s(self) -> float:
        """How long to leave it before it comes again: longer each time, so that nothing loops hot."""
        return min(LIMITS.nak_delay_s * (1 << min(max(self.delivered, 1) - 1, 10)), LIMITS.nak_delay_max_s)


def new_s(*, is_spread: bool) -> float:
    """Return how long after it was stored a message that was never delivered may be new. See `Delivery.is_new`."""
    return LIMITS.new_spread_s if is_spread else LIMITS.ack_wait_s / 2


class Handle(Protocol):
    def cancel(self) -> None: ...


class Clock(Protocol):
    """Time as the server sees it; a jump of this machine's wall clock does not move it."""

    def now_ms(self) -> int: ...
    def elapsed_s(self) -> float:
        """Seconds since some moment, counted also while this process is stopped or its machine suspended."""
        ...

    def ms_at(self, elapsed_s: float) -> int:
        """The time at a moment that `elapsed_s` has just given; to ask for both costs twice as much."""
        ...

    def call_later(self, delay_s: float, callback: Callable[[], None]) -> Handle: ...


class Watch(Protocol):
    async def close(self) -> None: ...


class Consumption(Protocol):
    """An open pull. Deliveries arrive only while there are places; each one takes a place."""

    def add_places(self, count: int) -> None:
        """Take more deliveries at a time; less than 0: fewer; what was asked for already may still come."""
        ...

    async def close(self) -> None:
        """Stop asking. What was delivered stays delivered."""
        ...


class Seal(Protocol):
    """Seals what users put in before it leaves this process, and opens it again."""

    async def sealed(self, subject: str, data: bytes) -> bytes:
        """Return a journal message as it is to be published. Raises `SealedError`, `UnavailableError`."""
        ...

    async def opened(self, subject: str, data: bytes) -> bytes:
        """Return what was sealed; if it can't be opened here, what is stored.

        Nothing of what was changed, nor of a mailbox message that nobody can open for its run. Raises
        `UnavailableError`: it may be opened later; and `SealedError` for a large value that can't be opened here.
        """
        ...


class Door(Protocol):
    """A connection to JetStream.

    Attributes:
        seal: Seals what leaves by this door; None: all is stored as it is. Journal messages and deliveries go through
            it where they are made and read, everything else in the door's methods.
    """

    clock: Clock

    @property
    def seal(self) -> Seal | None: ...

    @property
    def is_spread(self) -> bool:
        """Whether its server is one of several: what one of them sends may overtake what another has sent before."""
        ...

    @property
    def payload_bytes_max(self) -> int:
        """No larger message can be stored, with a fence on its subject."""
        ...

    # Writing. An acknowledged publish is stored.

    def publish(
        self, subject: str, data: bytes, *, fence: int | None = None, fence_subject: str | None = None
    ) -> Coroutine[Any, Any, int]:
        """Store one message and return its stream sequence.

        Args:
            subject: Where it is stored.
            data: The payload.
            fence: Last sequence that `subject` must have; 0: none must be stored. None: unfenced.
            fence_subject: Fence on this subject or filter instead of `subject`.

        Raises:
            FencedError: The last sequence is another, or one is in flight. Nothing was written.
            UnavailableError: No acknowledgement, or the server can't store now (no leader, disk full). It may have
                been written, and may still be written later.
            PayloadTooLargeError: Larger than the server takes. Nothing was written.
        """
        ...

    async def schedule(self, subject: str, data: bytes, *, target: str, due_ms: int) -> None:
        """Have the server publish `data` on `target` at `due_ms`; replaces what was scheduled on `subject`.

        A time in the past is due at once. Raises `UnavailableError` like `publish`.
        """
        ...

    async def entomb(
        self, subject: str, data: bytes, *, fence: int, ttl_s: int, fence_subject: str | None = None
    ) -> int:
        """Replace all messages of `subject` by this one, which the server removes after `ttl_s`; return its sequence.

        With `fence` 0 there are none to replace; nor with a `fence_subject`, on which it is fenced instead.

        Raises like `publish`.
        """
        ...

    async def purge(self, subject: str, *, below: int | None = None) -> None:
        """Remove the messages of a subject or filter; with `below` only those with a smaller sequence.

        Raises:
            UnavailableError: No answer in time. Purging again is harmless.
        """
        ...

    async def remove(self, subject: str, sequence: int) -> None:
        """Remove one message of an exact subject, if it is there; for the server this is cheaper than a purge.

        Raises:
            UnavailableError: No answer in time. Removing it again is harmless.
        """
        ...

    # Reading. `last` and `next` are answered by the stream's leader: only they may conclude that nothing is there.

    async def last(self, subject: str) -> Stored | None:
        """Return the last message of a subject or filter, from the leader. Raises `UnavailableError`."""
        ...

    async def last_of_each(self, subjects: Sequence[str]) -> list[Stored | None]:
        """Return for each subject what `last` returns. They are asked for together, and answered in any order."""
        ...

    async def next(self, subject: str, *, after: int) -> Stored | None:
        """Return the first message of a subject with a sequence above `after`, from the leader.

        Raises `UnavailableError`.
        """
        ...

    async def read(self, subject: str, *, after: int, limit: int) -> list[Stored]:
        """Return up to `limit` messages of one exact subject with sequences above `after`, in order.

        May be answered by a replica: what it returns is true and has no gaps, but the newest may be missing.
        Raises `UnavailableError`.
        """
        ...

    async def latest(self, filters: Sequence[str]) -> list[Stored]:
        """Return the last message of each subject that one of the filters selects, in order; the slots are known.

        May be answered by a replica: per stream it is what was there at one moment, up to some sequence. So with a
        message everything that was stored before it in the same stream shows too; the newest may be missing. At most
        `limits.latest_subjects_max` subjects. Raises `UnavailableError`.
        """
        ...

    async def count(self, subject: str) -> int:
        """Return how many messages one exact subject holds. Raises `UnavailableError`."""
        ...

    async def newest(self, filter: str, *, limit: int) -> list[Stored]:
        """Return up to `limit` messages of a filter over all streams, the newest first. Raises `UnavailableError`."""
        ...

    async def subjects(self, filter: str, *, limit: int) -> list[str]:
        """Return up to `limit` subjects that hold messages, over all streams. Raises `UnavailableError`."""
        ...

    # Notices: not stored, may be lost or seen twice.

    def notify(self, subject: str, data: bytes = b"") -> None:
        """Send a notice; no promise that anybody sees it."""
        ...

    async def watch(self, subject: str, receive: Callable[[str, bytes], None]) -> Watch:
        """Call `receive(subject, data)` for each notice from now on. When this returns, the server knows of it."""
        ...

    def watch_reconnects(self, back: Callable[[], None]) -> None:
        """Call `back` each time the connection was lost and is there again: notices were lost meanwhile."""
        ...

    # Deliveries.

    async def consume(
        self, kind: Literal["start", "wake"], queue: str, receive: Callable[[Delivery], None], *, places: int
    ) -> Consumption:
        """Pull starts or wakes of one queue, over all streams; makes the consumers when they are first needed."""
        ...

    def ack(self, delivery: Delivery) -> None:
        """Tell the server that the message need not come again. A lost ack means one more delivery."""
        ...

    def nak(self, delivery: Delivery, *, delay_s: float = 0.0) -> None:
        """Have the message delivered again, to anybody, after `delay_s`."""
        ...

    def hold(self, run: str, delivery: Delivery) -> None:
        """Keep this delivery renewed, and tell others that it is held, until `release`, `ack` or `nak`."""
        ...

    def release(self, delivery: Delivery) -> None:
        """Stop renewing it. Nothing is sent; the server delivers it again after its acknowledgement time-out."""
        ...

    def watch_gaps(self, back: Callable[[], None]) -> None:
        """Call `back` when this worker is in contact again after half of `ack_wait` or more without.

        Others may rightly have taken its runs over: what was held before is not renewed until it is held again.
        """
        ...

    # Questions to owners.

    async def ask(
        self, worker: WorkerId, question: bytes, *, timeout_s: float, seen_ms: int = JUST_NOW
    ) -> bytes | None:
        """Ask one worker, who was connected at `seen_ms`; None if nobody listens there (the worker is gone).

        Raises:
            Silent: Somebody listens but has not answered in time.
            UnavailableError: The server was not reached; or nobody listens there now, but this worker has just
                reconnected, or begun at a server that has only just begun since `seen_ms`, and others may still be on
                their way back; or this worker itself stood still while it waited.
        """
        ...

    async def ask_every_worker(self, question: bytes, *, timeout_s: float, seen_ms: int | None = None) -> Answers:
        """Ask all other workers at once, and return what they say when all have answered, or time is over.

        With `seen_ms` they are asked when those who were connected then have had the time to come back, if the server
        has just begun or this worker has just reconnected.

        Raises:
            UnavailableError: The server was not reached.
        """
        ...

    async def answer_every_worker(self, reply: Callable[[bytes], bytes]) -> None:
        """Answer questions of `ask_every_worker` with `reply(question)`.

        A question comes after the deliveries that the server had sent to this worker before.
        """
        ...

    async def answer(self, worker: WorkerId, reply: Callable[[bytes], bytes | None]) -> None:
        """Answer questions to this worker with `reply(question)`; None means no answer. May be called from a thread."""
        ...
