"""The door to the server in memory, and the process behind it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Literal, TypeVar, assert_never, final

from relight.actors.backoff import pause
from relight.actors.door import JUST_NOW, Answers, Clock, Delivery, Silent, Stored
from relight.config.limits import LIMITS, MIB
from relight.errors import FencedError, PayloadTooLargeError, UnavailableError
from relight.subjects.ids import WorkerId
from relight.testing.memory.consumer import MemoryConsumer
from relight.testing.memory.consumption import MemoryConsumption
from relight.testing.memory.exchange import Everyman, Listener, MemoryWatch
from relight.testing.memory.faults import Operation, OperationName
from relight.testing.memory.process import Process, ProcessClock
from relight.testing.virtual_clock import VirtualClock

if TYPE_CHECKING:
    from relight.testing.memory.server import MemoryServer

__all__ = ("MemoryDoor",)

_T = TypeVar("_T")
_PAYLOAD_BYTES_MAX = 1 * MIB  # nats-server's default max_payload.


@final
class MemoryDoor:
    """A `Door` of one process, which can be killed, stopped and resumed between any two effects.

    Every awaited operation gives way to other tasks at least once before its effect and once after it.
    """

    seal = None

    def __init__(self, server: MemoryServer, name: str, clock: VirtualClock) -> None:
        self.name = name
        self.process = Process(lambda: server.hops(name))
        self.clock: Clock = ProcessClock(clock, self.process)
        self._server = server
        self._held: dict[tuple[MemoryConsumer, int], Delivery] = {}
        self._consumptions: list[MemoryConsumption] = []
        self._silent_since_ms: int | None = None
        self._stops = 0
        self._back: Callable[[], None] | None = None

    def __repr__(self) -> str:
        return f"MemoryDoor({self.name!r})"

    @property
    def is_spread(self) -> bool:
        """See `Door.is_spread`."""
        return self._server.is_spread

    @property
    def payload_bytes_max(self) -> int:
        """See `Door.payload_bytes_max`."""
        return _PAYLOAD_BYTES_MAX

    # The process.

    def kill(self) -> None:
        """End the process as `kill -9` does: none of its operations has any effect from now on.

        Who awaits one waits for ever, until his task is cancelled. What it watched, answered and asked for is gone;
        what it held is delivered again after `ack_wait`, or at once with `server.frees_leases_of_the_dead`.
        """
        self.process.kill()
        self._server.exchange.forget(self.process)
        for consumption in self._consumptions:
            consumption.end()
        assert isinstance(self.clock, ProcessClock)
        self.clock.kill()
        for consumer, sequence in self._held:
            consumer.let_go(sequence, self, frees_at_once=self._server.frees_leases_of_the_dead)
        self._held.clear()

    def stop(self) -> None:
        """Stop the process as SIGSTOP does: nothing leaves or reaches it until `resume`, and nothing is renewed."""
        self.process.stop()
        self._stops += 1
        if self._silent_since_ms is None:
            self._silent_since_ms = self._server.clock.now_ms()
        for consumer, sequence in self._held:
            consumer.let_go(sequence, self)

    def resume(self) -> None:
        """Go on as after SIGCONT: first with what was kept meanwhile, then the server is heard and leases renewed."""
        since_ms, self._silent_since_ms = self._silent_since_ms, None
        silent_ms = 0 if since_ms is None else self._server.clock.now_ms() - since_ms
        is_gap = silent_ms >= LIMITS.ack_wait_s * 500
        if is_gap:
            # They were let go when it stopped. What is held from now on is renewed.
            self._held.clear()
        self.process.resume()
        self.process.arrive(partial(self._hear, self._stops, is_gap))

    def watch_reconnects(self, back: Callable[[], None]) -> None:
        """See `Door.watch_reconnects`. A connection in memory is never lost."""

    def watch_gaps(self, back: Callable[[], None]) -> None:
        self._back = back

    def _hear(self, stops: int, is_gap: bool) -> None:
        if is_gap and self._back is not None:
            self.process.arrive(self._back)
        if stops == self._stops:
            for consumer, sequence in self._held:
                consumer.renew(sequence, self)

    # Writing.

    async def publish(
        self, subject: str, data: bytes, *, fence: int | None = None, fence_subject: str | None = None
    ) -> int:
        if len(data) > _PAYLOAD_BYTES_MAX:
            raise PayloadTooLargeError("the message", size_bytes=len(data), limit_bytes=_PAYLOAD_BYTES_MAX)
        stream = self._server.stream
        publish = partial(stream.publish, subject, data, fence=fence, fence_subject=fence_subject)
        return await self._write("publish", subject, publish)

    async def schedule(self, subject: str, data: bytes, *, target: str, due_ms: int) -> None:
        schedule = partial(self._server.stream.schedule, subject, data, target=target, due_ms=due_ms)
        await self._write("schedule", subject, schedule)

    async def entomb(
        self, subject: str, data: bytes, *, fence: int, ttl_s: int, fence_subject: str | None = None
    ) -> int:
        stream = self._server.stream
        entomb = partial(stream.entomb, subject, data, fence=fence, ttl_s=ttl_s, fence_subject=fence_subject)
        return await self._write("entomb", subject, entomb)

    async def purge(self, subject: str, *, below: int | None = None) -> None:
        await self._write("purge", subject, partial(self._server.stream.purge, subject, below=below))

    async def remove(self, subject: str, sequence: int) -> None:
        await self._write("purge", subject, partial(self._server.stream.remove, subject, sequence))

    async def _write(self, name: OperationName, subject: str, effect: Callable[[], _T]) -> _T:
        results: list[_T | FencedError | UnavailableError] = []
        await self.process.travel()
        settle = partial(self._settle, effect, results)
        self._server.perform(self, name, subject, settle)
        await self.process.travel()
        (result,) = results
        if isinstance(result, (FencedError, UnavailableError)):
            raise result
        return result

    def _settle(
        self, effect: Callable[[], _T], results: list[_T | FencedError | UnavailableError], operation: Operation
    ) -> None:
        outcome = self._server.faults.outcome(operation)
        if outcome == "known":
            results.append(_result(effect))
            return
        results.append(UnavailableError(f"no acknowledgement of {operation}"))
        match outcome:
            case "written":
                _carry_out(effect)
            case "late":
                self._server.clock.call_later(self._server.faults.late_s, partial(_carry_out, effect))
            case "lost":
                pass
            case _:
                assert_never(outcome)

    # Reading.

    async def last(self, subject: str) -> Stored | None:
        return await self._read(partial(self._server.stream.last, subject))

    async def last_of_each(self, subjects: Sequence[str]) -> list[Stored | None]:
        return await self._read(lambda: [self._server.stream.last(subject) for subject in subjects])

    async def next(self, subject: str, *, after: int) -> Stored | None:
        return await self._read(partial(self._server.stream.next, subject, after=after))

    async def read(self, subject: str, *, after: int, limit: int) -> list[Stored]:
        return await self._read(partial(self._server.stream.read, subject, after=after, limit=limit))

    async def latest(self, filters: Sequence[str]) -> list[Stored]:
        return await self._read(partial(self._server.stream.latest, filters))

    async def count(self, subject: str) -> int:
        return await self._read(partial(self._server.stream.count, subject))

    async def newest(self, filter: str, *, limit: int) -> list[Stored]:
        return await self._read(lambda: self._server.stream.every(filter)[::-1][:limit])

    async def subjects(self, filter: str, *, limit: int) -> list[str]:
        return await self._read(partial(self._server.stream.subjects, filter, limit=limit))

    async def _read(self, look: Callable[[], _T]) -> _T:
        await self.process.travel()
        result = look()
        await self.process.travel()
        return result

    # Notices.

    def notify(self, subject: str, data: bytes = b"") -> None:
        self._tell("notify", subject, partial(self._spread, subject, data))

    async def watch(self, subject: str, receive: Callable[[str, bytes], None]) -> MemoryWatch:
        await self.process.travel()
        watch = MemoryWatch(self._server.exchange, subject, self.process, receive)
        self._server.exchange.watches.append(watch)
        await self.process.travel()
        return watch

    def _spread(self, subject: str, data: bytes) -> None:
        notify = partial(self._server.exchange.notify, subject, data)
        for delay_s in self._server.faults.arrivals(subject):
            self._server.after(delay_s, notify)

    # Deliveries.

    async def consume(
        self, kind: Literal["start", "wake"], queue: str, receive: Callable[[Delivery], None], *, places: int
    ) -> MemoryConsumption:
        await self.process.travel()
        consumer = self._server.consumer(kind, queue)
        consumption = MemoryConsumption(self._server, consumer, self.process, receive)
        self._consumptions.append(consumption)
        consumption.add_places(places)
        await self.process.travel()
        return consumption

    def ack(self, delivery: Delivery) -> None:
        self._tell("ack", delivery.subject, partial(self._ack, delivery))

    def nak(self, delivery: Delivery, *, delay_s: float = 0.0) -> None:
        self._tell("nak", delivery.subject, partial(self._nak, delivery, delay_s))

    def hold(self, run: str, delivery: Delivery) -> None:
        self.process.send(partial(self._hold, delivery))

    def release(self, delivery: Delivery) -> None:
        self.process.send(partial(self._release, delivery))

    def _ack(self, delivery: Delivery) -> None:
        consumer, sequence = self._end_hold(delivery)
        consumer.ack(sequence)

    def _nak(self, delivery: Delivery, delay_s: float) -> None:
        consumer, sequence = self._end_hold(delivery)
        consumer.nak(sequence, self, delay_s)

    def _release(self, delivery: Delivery) -> None:
        consumer, sequence = self._end_hold(delivery)
        consumer.let_go(sequence, self)

    def _hold(self, delivery: Delivery) -> None:
        consumer, sequence = self._server.consumer_of(delivery.token)
        self._held[consumer, sequence] = delivery
        consumer.renew(sequence, self)

    def _end_hold(self, delivery: Delivery) -> tuple[MemoryConsumer, int]:
        key = self._server.consumer_of(delivery.token)
        self._held.pop(key, None)
        return key

    # Questions to owners.

    async def ask(
        self, worker: WorkerId, question: bytes, *, timeout_s: float, seen_ms: int = JUST_NOW
    ) -> bytes | None:
        await self.process.travel()
        listeners = self._server.exchange.listeners(worker)
        answer = await self._ask(listeners, question, timeout_s)
        if listeners and answer is None:
            raise Silent
        if answer is None and self._server.clock.now_ms() < self._server.returning_until_ms:
            raise UnavailableError(f"{worker} may be on its way back")
        return answer

    async def ask_every_worker(self, question: bytes, *, timeout_s: float, seen_ms: int | None = None) -> Answers:
        while seen_ms is not None and (pause_ms := self._server.returning_until_ms - self._server.clock.now_ms()) > 0:
            await pause(self.clock, pause_ms / 1000)
        await self.process.travel()
        everyone = self._server.exchange.everyone_but(self.process)
        over: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        said: list[bytes] = []

        def told(answer: bytes) -> None:
            said.append(answer)
            if len(said) == len(everyone):
                _give_up(over)

        for one in everyone:
            one.ask(self.process, question, told)
        if everyone:
            timer = self.clock.call_later(timeout_s, partial(_give_up, over))
            try:
                await over
            finally:
                timer.cancel()
        answers = Answers(tuple(said), is_complete=len(said) == len(everyone))
        await self.process.travel()
        return answers

    async def answer_every_worker(self, reply: Callable[[bytes], bytes]) -> None:
        await self.process.travel()
        self._server.exchange.answer_every_worker(Everyman(self.process, reply))
        await self.process.travel()

    async def answer(self, worker: WorkerId, reply: Callable[[bytes], bytes | None]) -> None:
        await self.process.travel()
        self._server.exchange.answer(Listener(worker, self.process, reply))
        await self.process.travel()

    async def _ask(self, listeners: Sequence[Listener], question: bytes, timeout_s: float) -> bytes | None:
        answered: asyncio.Future[bytes | None] = asyncio.get_running_loop().create_future()
        for listener in listeners:
            listener.ask(self.process, question, answered)
        answer: bytes | None = None
        if listeners:
            timer = self.clock.call_later(timeout_s, partial(_give_up, answered))
            try:
                answer = await answered
            finally:
                timer.cancel()
        await self.process.travel()
        return answer

    def _tell(self, name: OperationName, subject: str, effect: Callable[[], None]) -> None:
        self.process.send(partial(self._server.perform, self, name, subject, partial(_ignoring_the_operation, effect)))


def _result(effect: Callable[[], _T]) -> _T | FencedError:
    try:
        return effect()
    except FencedError as refused:
        return refused


def _carry_out(effect: Callable[[], object]) -> None:
    # Nobody learns that it was refused: that is the point of an unknown outcome.
    with suppress(FencedError):
        effect()


def _give_up(answered: asyncio.Future[bytes | None] | asyncio.Future[None]) -> None:
    with suppress(asyncio.InvalidStateError):
        answered.set_result(None)


def _ignoring_the_operation(effect: Callable[[], None], operation: Operation) -> None:
    effect()
