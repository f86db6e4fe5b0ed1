"""Fresh leases: the `Relit` messages that this process sends itself when others may have acknowledged what it holds.

Whether a delivery is *new* the server's stamp says (`Delivery.is_new`). Where the clock of the node that stamps is
behind, none ever is; so a `Relit` that was to settle the doubt would only raise it again, and lead to the next one.
Of its own messages a process knows better: what it has published a moment ago, by a clock that nobody can set, nobody
else can have had for `ack_wait`.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import final

from relight.actors.backoff import pause
from relight.actors.door import Delivery, Door
from relight.config.limits import LIMITS
from relight.subjects.codec import encode
from relight.subjects.grammar import Subjects
from relight.subjects.ids import WorkerId
from relight.subjects.messages import Relit

__all__ = ("Relights",)


@final
class Relights:
    """What this process has published lately, by run and sequence, with the moment before each."""

    __slots__ = ("_door", "_published", "_subjects", "_worker")

    def __init__(self, door: Door, subjects: Subjects, worker: WorkerId) -> None:
        self._door = door
        self._subjects = subjects
        self._worker = worker
        self._published: OrderedDict[str, dict[int, float]] = OrderedDict()

    async def publish(self, queue: str, run: str, epoch: int) -> None:
        """Have a fresh lease delivered. Raises like `Door.publish`."""
        began_s = self._door.clock.elapsed_s()
        message = encode(Relit(owner=self._worker, epoch=epoch))
        sequence = await self._door.publish(self._subjects.wake(queue, run), message)
        self._forget_old(run)
        self._published[run][sequence] = began_s

    async def publish_in_doubt(self, queue: str, run: str, epoch: int) -> None:
        """The same, at most once in `limits.nak_delay_s` for a run: its arrival may raise the same doubt."""
        await self._keep_distance(run)
        await self.publish(queue, run, epoch)

    def is_fresh(self, run: str, delivery: Delivery, *, came_s: float) -> bool:
        """Whether this one, which came at that moment, is of this process, and nobody else can have had it then."""
        published_s = self._published.get(run, {}).get(delivery.sequence)
        return delivery.delivered == 1 and published_s is not None and came_s - published_s < LIMITS.ack_wait_s / 2

    async def _keep_distance(self, run: str) -> None:
        last_s = max(self._published.get(run, {}).values(), default=float("-inf"))
        left_s = last_s + LIMITS.nak_delay_s - self._door.clock.elapsed_s()
        if left_s > 0:
            await pause(self._door.clock, left_s)

    def _forget_old(self, run: str) -> None:
        """Keep what may still arrive; the run's own stand last then."""
        oldest_s = self._door.clock.elapsed_s() - LIMITS.ack_wait_s
        own = self._published.pop(run, {})
        while self._published and max(next(iter(self._published.values())).values()) < oldest_s:
            self._published.popitem(last=False)
        self._published[run] = {sequence: began_s for sequence, began_s in own.items() if began_s >= oldest_s}
