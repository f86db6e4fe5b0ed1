"""What one run's owner holds: the delivery that is its lease, and those that told it of something to do."""

from __future__ import annotations

from collections.abc import Sequence

from relight.actors.door import SECOND_HAND, Delivery, Door
from relight.actors.mailbox import decoded_if_open
from relight.actors.relights import Relights
from relight.subjects.messages import Relit

__all__ = ("Doorbells", "is_wake", "relit_in")


class Doorbells:
    """Deliveries in hand. Whoever leaves the run acknowledges them, or gives them on: none is forgotten.

    Attributes:
        lease: The delivery under which the run is owned; None while it rests.
        rung: What came and is not acknowledged, by sequence.
        lease_came_s: When it came; infinite if that does not matter any more.
        changes_lease: Whether the lease is to be changed for a fresh one, because others may have acknowledged it.
    """

    __slots__ = ("_door", "_run", "changes_lease", "lease", "lease_came_s", "rung")

    def __init__(self, door: Door, run: str) -> None:
        self._door = door
        self._run = run
        self.lease: Delivery | None = None
        self.lease_came_s = 0.0
        self.rung: dict[int, Delivery] = {}
        self.changes_lease = False

    @property
    def is_distrusted(self) -> bool:
        """Whether the lease is to be changed although it was fresh when it came."""
        return self.changes_lease and self.lease_came_s == float("inf")

    def own(self, lease: Delivery) -> None:
        self.lease, self.lease_came_s = lease, self._door.clock.elapsed_s()
        self._door.hold(self._run, lease)

    def take(self, delivery: Delivery, *, owner: str, epoch: int) -> None:
        """A delivery came, or was handed over: its token is the owner's to answer for."""
        self._forget_earlier(delivery)
        if self.lease is None or delivery.sequence == self.lease.sequence or _is_relit(delivery, owner, epoch):
            # Nobody may be able to see us die by a lease that was acknowledged: by others, or by this worker when it
            # let the run go, while the message was already on its way a second time.
            is_other = self.lease is None or delivery.sequence != self.lease.sequence
            is_new = delivery.is_new(self._door.clock.now_ms())
            is_doubtful = delivery.delivered == SECOND_HAND or (is_other and not is_new)
            self.changes_lease = self.changes_lease or is_doubtful
            self._change_lease(delivery)
        else:
            self._door.hold(self._run, delivery)
        self.add(delivery)

    def distrust_lease(self) -> None:
        """Others may have had it meanwhile, or it is too old: it is to be changed, however fresh it came."""
        self.changes_lease, self.lease_came_s = self.lease is not None, float("inf")

    def take_doubt(self, relights: Relights) -> bool:
        """Return whether a fresh lease is to be asked for; after that it counts as asked for.

        Not while the one that was asked for arrives: what its sequence is may be known only after it has come.
        """
        is_doubtful, self.changes_lease = self.changes_lease, False
        lease = self.lease
        return is_doubtful and (lease is None or not relights.is_fresh(self._run, lease, came_s=self.lease_came_s))

    def add(self, delivery: Delivery) -> None:
        self.rung.pop(delivery.sequence, None)
        self.rung[delivery.sequence] = delivery

    def answer(self, taken: Sequence[Delivery], *, cursor: int, all_read: bool) -> None:
        """Ring off what the journal covers; the lease stays. Until then all stay in hand, to be given on."""
        for sequence in [one.sequence for one in taken if one.sequence in self.rung]:
            one = self.rung[sequence]
            if self.lease is not None and one.sequence == self.lease.sequence:
                del self.rung[sequence]
            elif sequence <= cursor or all_read or not is_wake(one):
                del self.rung[sequence]
                self._door.ack(one)

    def held(self) -> list[Delivery]:
        held = dict(self.rung)
        if self.lease is not None:
            held[self.lease.sequence] = self.lease
        return list(held.values())

    def hold_again(self) -> None:
        """After a gap others may have had the lease, and let the run go without a record: it is to be changed."""
        for delivery in self.held():
            self._door.hold(self._run, delivery)
        self.distrust_lease()

    def give_back(self) -> None:
        """Have all of them delivered to others at once."""
        for delivery in self.held():
            self._door.nak(delivery)

    def ring_off(self) -> None:
        """Acknowledge all of them: nobody needs them any more."""
        for delivery in self.held():
            self._door.ack(delivery)
        self.drop()

    def newest_unread(self, cursor: int) -> int:
        """The sequence of the newest message that was not consumed; 0 if there is none."""
        if not self.rung:
            return 0
        return max((one.sequence for one in self.rung.values() if one.sequence > cursor and is_wake(one)), default=0)

    def needless_below(self, cursor: int) -> int:
        """Up to where the mailbox may be purged: what was consumed, but not the message that is the lease."""
        if self.lease is None or not is_wake(self.lease):
            return cursor + 1
        return min(cursor + 1, self.lease.sequence)

    def postpone(self) -> None:
        """Have all of them come again, later each time: each try may have left a fresh one."""
        held = self.held()
        delay_s = max((one.postponed_s for one in held), default=0.0)
        for one in held:
            self._door.nak(one, delay_s=delay_s)

    def drop(self) -> None:
        """Hold nothing more; each of them has been answered or is given on."""
        self.lease, self.rung, self.changes_lease = None, {}, False

    def _change_lease(self, fresh: Delivery) -> None:
        old = self.lease
        self.own(fresh)
        if old is not None and old.sequence != fresh.sequence:
            # Acknowledged like any other doorbell, when it is certain that the run is still ours.
            self.add(old)

    def _forget_earlier(self, delivery: Delivery) -> None:
        """Tokens of earlier deliveries of a message are renewed no longer: they would renew whoever has it then."""
        for one in (self.rung.pop(delivery.sequence, None), self.lease):
            if one is not None and one.sequence == delivery.sequence and one.token != delivery.token:
                self._door.release(one)


def is_wake(delivery: Delivery) -> bool:
    return delivery.subject.split(".", 3)[2] == "wake"


def _is_relit(delivery: Delivery, owner: str, epoch: int) -> bool:
    """The owner's own fresh message becomes the lease: a zombie may know the token of the old one."""
    relit = relit_in(delivery)
    return relit is not None and relit.owner == owner and relit.epoch == epoch


def relit_in(delivery: Delivery) -> Relit | None:
    if b'"Relit"' not in delivery.data or not is_wake(delivery):
        return None
    wake = decoded_if_open(delivery.subject, delivery.data)  # A sealed signal may have that name.
    return wake if isinstance(wake, Relit) else None
