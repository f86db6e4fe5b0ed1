"""What a keeper knows of the other workers, from their announcements: who lives, and what each holds. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from hashlib import blake2b

from relight.actors.jetstream.announcements import Announcement, LeaseName

__all__ = ("PRESENCE_S", "Neighbour", "Neighbours", "rank")

PRESENCE_S = 1.0
"""Between two signs of life of a worker that has nothing to announce."""

_LIVING_S = 3.5 * PRESENCE_S
"""Who was not heard for this long is not counted on to free the leases of the dead."""

_FORGOTTEN_S = 60.0
"""What a silent worker held is forgotten then: the server has long delivered it again."""


@dataclass
class Neighbour:
    """One other worker.

    Attributes:
        held: Its leases. It has a key for every consumer that he is known to serve.
        leaves: He has said that he is about to end in order.
        asked: When he last asked the others what they hold of a consumer, because he is about to sweep it.
    """

    heard_at: float
    frees: bool = False
    leaves: bool = False
    answered_at: float = 0.0
    held: dict[str, set[int]] = field(default_factory=dict[str, set[int]])
    asked: dict[str, float] = field(default_factory=dict[str, float])

    def leases(self) -> list[LeaseName]:
        return [LeaseName(consumer, sequence) for consumer, held in self.held.items() for sequence in sorted(held)]


class Neighbours:
    """The tables of all other workers. `now` is a monotonic time in seconds."""

    def __init__(self) -> None:
        self._neighbours: dict[str, Neighbour] = {}

    def hear(self, said: Announcement, now: float) -> bool:
        """Take an announcement of another worker in; True if he frees leases, and was not counted on to do so before.

        Nobody tells its leases to one who was silent for long.
        """
        neighbour = self._neighbours.setdefault(said.worker, Neighbour(now))
        begins_to_free = said.frees and not (neighbour.frees and now - neighbour.heard_at <= _LIVING_S)
        neighbour.heard_at, neighbour.frees, neighbour.leaves = now, said.frees, said.leaves
        if said.whole:
            neighbour.answered_at = now
        neighbour.asked.update(dict.fromkeys(said.wants, now))
        for consumer, sequences in said.held.items():
            if said.whole:
                neighbour.held[consumer] = set(sequences)
            else:
                neighbour.held.setdefault(consumer, set()).update(sequences)
        for consumer, sequences in said.ended.items():
            neighbour.held.setdefault(consumer, set()).difference_update(sequences)
        self.let_go(said.freed)
        return begins_to_free

    def let_go(self, worker: str) -> Neighbour | None:
        """Forget this worker, until he is heard of again; return what was known of him."""
        return self._neighbours.pop(worker, None)

    def forget_silent(self, now: float) -> None:
        """Drop those that have said nothing for a minute, so that the tables stay bounded."""
        for worker in [one for one, that in self._neighbours.items() if now - that.heard_at > _FORGOTTEN_S]:
            del self._neighbours[worker]

    def living(self, now: float) -> dict[str, Neighbour]:
        """Those heard of in the last seconds."""
        return {one: that for one, that in self._neighbours.items() if now - that.heard_at <= _LIVING_S}

    def known(self) -> set[str]:
        """Those of whom something was heard."""
        return set(self._neighbours)

    def have_answered(self, living: Iterable[str], *, since: float) -> bool:
        """Whether all of these have said `since` then what they hold."""
        return all(self._neighbours[one].answered_at >= since for one in living if one in self._neighbours)

    def freeing(self, now: float) -> list[str]:
        """Those of the living that free the leases of the dead."""
        return [one for one, that in self.living(now).items() if that.frees]

    def sweeping(self, consumer: str, *, since: float) -> list[str]:
        """Those that have asked `since` then what others hold of this consumer."""
        return [one for one, that in self._neighbours.items() if that.asked.get(consumer, since - 1) >= since]

    def held_of(self, consumer: str, living: Iterable[str], *, since: float) -> tuple[set[int], set[int]]:
        """Sequences of one consumer that the `living` hold: what they have said `since` then, and what before."""
        said, remembered = set[int](), set[int]()
        for that in [self._neighbours[one] for one in living if one in self._neighbours]:
            (said if that.answered_at >= since else remembered).update(that.held.get(consumer, ()))
        return said, remembered


def rank(worker: str, *, dead: str, others: Iterable[str]) -> int:
    """Return how many of `others` come before `worker` in freeing what `dead` held; all survivors see one order."""
    own = _weight(dead, worker)
    return sum(_weight(dead, one) > own for one in others if one not in (worker, dead))


def _weight(dead: str, worker: str) -> bytes:
    return blake2b(f"{dead}\n{worker}".encode(), digest_size=8).digest()
