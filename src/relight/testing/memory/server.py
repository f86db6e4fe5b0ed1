"""The server: one stream, its consumers, the core messages, and the hook before and after each effect."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from itertools import count
from typing import TYPE_CHECKING, Literal, final

from relight.actors.door import Stored, new_s
from relight.config.limits import LIMITS
from relight.subjects.grammar import StartSubject, Subjects, WakeSubject, parse
from relight.testing.memory.consumer import MemoryConsumer, consumer_and_sequence
from relight.testing.memory.door import MemoryDoor
from relight.testing.memory.exchange import Exchange
from relight.testing.memory.faults import Faults, Operation, OperationName
from relight.testing.memory.stream import MemoryStream
from relight.testing.virtual_clock import VirtualClock

if TYPE_CHECKING:
    OperationHook = Callable[[MemoryDoor, Operation, Literal["before", "after"]], None]

__all__ = ("MemoryServer",)


@final
class MemoryServer:
    """A nats-server with JetStream in memory, for one asyncio loop. It outlives every door.

    Attributes:
        clock: The server's time. It moves only when it is advanced.
        on_operation: Called before and after each effect of a door, in the order in which they take effect; also when
            the fence then refuses it. It may kill or stop any door. A door killed before does not have the effect;
            one killed after had it and never learns.
        faults: What goes wrong; nothing, unless it is set.
        hops: How many passes of the loop a message to or from the door of this name takes; one, unless it is set.
        starts_are_new: Whether a first delivery says that its start is new; else its first turn is appended before its
            first step is executed, as of a start that came late. To be set before anybody consumes.
        frees_leases_of_the_dead: Whether what a killed door held is delivered again at once, as with the server's
            disconnect events, instead of after `ack_wait`. What was delivered but never held waits in both cases.
        is_spread: It stands for several servers: a question may overtake a delivery. Set it before anybody consumes.
        returning_until_ms: Until then others may be on their way back after an outage; 0: there was none.
    """

    def __init__(self, *, namespace: str = "default") -> None:
        """Make an empty server. `namespace`: whose starts and wakes `consume` delivers."""
        self.clock = VirtualClock()
        self.on_operation: OperationHook | None = None
        self.faults = Faults()
        self.starts_are_new = True
        self.frees_leases_of_the_dead = False
        self.is_spread = False
        self.returning_until_ms = 0
        self.subjects = Subjects(namespace)
        self.stream = MemoryStream(self.clock, on_stored=self._offer, on_removed=self._forget)
        self.exchange = Exchange()
        self.hops: Callable[[str], int] = _one_hop
        self._consumers: dict[str, MemoryConsumer] = {}
        self._numbers = count(1)

    def door(self, name: str, *, clock: VirtualClock | None = None) -> MemoryDoor:
        """Return a new connection, of a new process. The name tells doors apart in a hook; it need not be unique.

        Its timers are the server's, unless it has a clock of its own, for whose timers the server's time need not move.
        """
        return MemoryDoor(self, name, clock or self.clock)

    def perform(self, door: MemoryDoor, name: OperationName, subject: str, effect: Callable[[Operation], None]) -> None:
        """Let an operation of a door take effect between the two calls of the hook."""
        operation = Operation(name, subject, next(self._numbers), door.name)
        self._call_hook(door, operation, "before")
        door.process.send(partial(self._take_effect, door, operation, effect))

    def consumer(self, kind: Literal["start", "wake"], queue: str) -> MemoryConsumer:
        """Return the durable consumer of a queue; it is made when it is first asked for, and then gets all messages."""
        name = f"{kind}-{queue}"
        if name not in self._consumers:
            is_start = kind == "start"
            age_s = 0.0 if is_start and not self.starts_are_new else new_s(is_spread=self.is_spread)
            self._consumers[name] = MemoryConsumer(name, self.clock, ack_wait_s=LIMITS.ack_wait_s, new_s=age_s)
            of_queue = self.subjects.starts_of_queue(queue) if is_start else self.subjects.wakes_of_queue(queue)
            for stored in self.stream.every(of_queue):
                self._consumers[name].offer(stored)
        return self._consumers[name]

    def consumer_of(self, token: str) -> tuple[MemoryConsumer, int]:
        """Return on which consumer, and on which sequence, the acknowledgement with this token acts."""
        name, sequence = consumer_and_sequence(token)
        return self._consumers[name], sequence

    def unacknowledged(self, filter: str) -> list[int]:
        """Sequences of the starts and wakes that the filter selects and that will be delivered, or delivered again."""
        stored = self.stream.every(filter)
        return [one.sequence for one in stored if (by := self._interested(one)) is None or by.knows(one.sequence)]

    def after(self, delay_s: float, callback: Callable[[], None]) -> None:
        """Call back after some virtual time; without a delay at once, so that time need not be advanced for it."""
        if delay_s > 0:
            self.clock.call_later(delay_s, callback)
        else:
            callback()

    def _take_effect(self, door: MemoryDoor, operation: Operation, effect: Callable[[Operation], None]) -> None:
        effect(operation)
        self._call_hook(door, operation, "after")

    def _call_hook(self, door: MemoryDoor, operation: Operation, moment: Literal["before", "after"]) -> None:
        if self.on_operation is not None:
            self.on_operation(door, operation, moment)

    def _offer(self, stored: Stored) -> None:
        if (consumer := self._interested(stored)) is not None:
            consumer.offer(stored)

    def _forget(self, removed: Stored) -> None:
        if (consumer := self._interested(removed)) is not None:
            consumer.forget(removed.sequence)

    def _interested(self, stored: Stored) -> MemoryConsumer | None:
        match parse(stored.subject):
            case StartSubject(namespace=self.subjects.namespace, queue=queue):
                return self._consumers.get(f"start-{queue}")
            case WakeSubject(namespace=self.subjects.namespace, queue=queue):
                return self._consumers.get(f"wake-{queue}")
            case _:
                return None


def _one_hop(door: str) -> int:
    return 1
