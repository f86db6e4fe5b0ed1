"""A door to a real server that can be severed before or after each of its operations, as if its process had died."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Literal, TypeVar, final

from relight.actors.door import JUST_NOW, Answers, Clock, Consumption, Delivery, Door, Handle, Watch
from relight.actors.door import Stored as StoredMessage
from relight.subjects.ids import WorkerId
from relight.testing.memory.faults import OperationName
from relight.testing.trial import Moment

__all__ = ("Hook", "SeveredDoor")

T = TypeVar("T")
Hook = Callable[["SeveredDoor", OperationName, str, Moment], None]
"""Called with operation, subject and moment; may sever the door."""


@final
class SeverableClock:
    """No timer fires in a process that is dead."""

    def __init__(self, clock: Clock, door: SeveredDoor) -> None:
        self._clock = clock
        self._door = door

    def now_ms(self) -> int:
        return self._clock.now_ms()

    def elapsed_s(self) -> float:
        return self._clock.elapsed_s()

    def ms_at(self, elapsed_s: float) -> int:
        return self._clock.ms_at(elapsed_s)

    def call_later(self, delay_s: float, callback: Callable[[], None]) -> Handle:
        return self._clock.call_later(delay_s, lambda: None if self._door.is_severed else callback())


@final
class SeveredDoor:
    """Passes everything on until `sever`; from then on nothing gets through in either direction."""

    seal = None

    def __init__(self, door: Door, hook: Hook) -> None:
        self._door = door
        self._hook = hook
        self.is_severed = False
        self.clock: Clock = SeverableClock(door.clock, self)

    @property
    def is_spread(self) -> bool:
        return self._door.is_spread

    @property
    def payload_bytes_max(self) -> int:
        return self._door.payload_bytes_max

    def sever(self) -> None:
        self.is_severed = True

    # Writing.

    async def publish(
        self, subject: str, data: bytes, *, fence: int | None = None, fence_subject: str | None = None
    ) -> int:
        publish = self._door.publish
        return await self._write(
            "publish", subject, lambda: publish(subject, data, fence=fence, fence_subject=fence_subject)
        )

    async def schedule(self, subject: str, data: bytes, *, target: str, due_ms: int) -> None:
        schedule = self._door.schedule
        await self._write("schedule", subject, lambda: schedule(subject, data, target=target, due_ms=due_ms))

    async def entomb(
        self, subject: str, data: bytes, *, fence: int, ttl_s: int, fence_subject: str | None = None
    ) -> int:
        entomb = self._door.entomb
        return await self._write(
            "entomb", subject, lambda: entomb(subject, data, fence=fence, ttl_s=ttl_s, fence_subject=fence_subject)
        )

    async def purge(self, subject: str, *, below: int | None = None) -> None:
        await self._write("purge", subject, lambda: self._door.purge(subject, below=below))

    async def remove(self, subject: str, sequence: int) -> None:
        await self._write("purge", subject, lambda: self._door.remove(subject, sequence))

    async def _write(self, name: OperationName, subject: str, write: Callable[[], Awaitable[T]]) -> T:
        self._at(name, subject, "before")
        result = await self._pass(write)
        self._at(name, subject, "after")
        return await self._unless_severed(result)

    # Reading.

    async def last(self, subject: str) -> StoredMessage | None:
        return await self._pass(lambda: self._door.last(subject))

    async def last_of_each(self, subjects: Sequence[str]) -> list[StoredMessage | None]:
        return await self._pass(lambda: self._door.last_of_each(subjects))

    async def next(self, subject: str, *, after: int) -> StoredMessage | None:
        return await self._pass(lambda: self._door.next(subject, after=after))

    async def read(self, subject: str, *, after: int, limit: int) -> list[StoredMessage]:
        return await self._pass(lambda: self._door.read(subject, after=after, limit=limit))

    async def latest(self, filters: Sequence[str]) -> list[StoredMessage]:
        return await self._pass(lambda: self._door.latest(filters))

    async def count(self, subject: str) -> int:
        return await self._pass(lambda: self._door.count(subject))

    async def newest(self, filter: str, *, limit: int) -> list[StoredMessage]:
        return await self._pass(lambda: self._door.newest(filter, limit=limit))

    async def subjects(self, filter: str, *, limit: int) -> list[str]:
        return await self._pass(lambda: self._door.subjects(filter, limit=limit))

    # Notices.

    def notify(self, subject: str, data: bytes = b"") -> None:
        self._tell("notify", subject, lambda: self._door.notify(subject, data))

    async def watch(self, subject: str, receive: Callable[[str, bytes], None]) -> Watch:
        return await self._pass(lambda: self._door.watch(subject, receive))

    def watch_reconnects(self, back: Callable[[], None]) -> None:
        self._door.watch_reconnects(back)

    # Deliveries.

    async def consume(
        self, kind: Literal["start", "wake"], queue: str, receive: Callable[[Delivery], None], *, places: int
    ) -> Consumption:
        def unless_severed(delivery: Delivery) -> None:
            if not self.is_severed:
                receive(delivery)

        return await self._pass(lambda: self._door.consume(kind, queue, unless_severed, places=places))

    def ack(self, delivery: Delivery) -> None:
        self._tell("ack", delivery.subject, lambda: self._door.ack(delivery))

    def nak(self, delivery: Delivery, *, delay_s: float = 0.0) -> None:
        self._tell("nak", delivery.subject, lambda: self._door.nak(delivery, delay_s=delay_s))

    def hold(self, run: str, delivery: Delivery) -> None:
        if not self.is_severed:
            self._door.hold(run, delivery)

    def release(self, delivery: Delivery) -> None:
        if not self.is_severed:
            self._door.release(delivery)

    def watch_gaps(self, back: Callable[[], None]) -> None:
        self._door.watch_gaps(back)

    # Questions to owners.

    async def ask(
        self, worker: WorkerId, question: bytes, *, timeout_s: float, seen_ms: int = JUST_NOW
    ) -> bytes | None:
        return await self._pass(lambda: self._door.ask(worker, question, timeout_s=timeout_s, seen_ms=seen_ms))

    async def ask_every_worker(self, question: bytes, *, timeout_s: float, seen_ms: int | None = None) -> Answers:
        return await self._pass(lambda: self._door.ask_every_worker(question, timeout_s=timeout_s, seen_ms=seen_ms))

    async def answer_every_worker(self, reply: Callable[[bytes], bytes]) -> None:
        await self._pass(lambda: self._door.answer_every_worker(reply))

    async def answer(self, worker: WorkerId, reply: Callable[[bytes], bytes | None]) -> None:
        await self._door.answer(worker, lambda question: None if self.is_severed else reply(question))

    # What all of them share.

    def _tell(self, name: OperationName, subject: str, tell: Callable[[], None]) -> None:
        self._at(name, subject, "before")
        if not self.is_severed:
            tell()
        self._at(name, subject, "after")

    def _at(self, name: OperationName, subject: str, moment: Moment) -> None:
        if not self.is_severed:
            self._hook(self, name, subject, moment)

    async def _pass(self, operation: Callable[[], Awaitable[T]]) -> T:
        if self.is_severed:
            await asyncio.get_running_loop().create_future()
        return await self._unless_severed(await operation())

    async def _unless_severed(self, result: T) -> T:
        if self.is_severed:
            # The code behind a dead process's door never goes on; its tasks are cancelled.
            await asyncio.get_running_loop().create_future()
        return result
