"""The leases that a worker holds, between the main thread that takes and releases them and the keeper thread.

Most leases are held for less than 5 ms. For them the main thread pays one entry of a dict and one of a deque, and the
keeper one look at the deque. Both are safe between threads without a lock: each operation is one step of the
interpreter, and the keeper only ever reads the dict by key.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from time import monotonic
from typing import NamedTuple, final

from relight.actors.door import Delivery
from relight.actors.jetstream.announcements import LeaseName, consumer_of, grouped, lease_of

__all__ = ("Leases",)


class _Held(NamedTuple):
    token: str
    at: float


@final
class Leases:
    """What this worker holds. `hold`, `release` and `serve` are the main thread's; all else is the keeper thread's."""

    def __init__(self) -> None:
        self._held: dict[str, float] = {}
        self._young: deque[_Held] = deque()
        self._kept: dict[str, float] = {}
        self._renewed: dict[str, float] = {}
        self._doubted_at = 0.0
        self.consumers: dict[str, None] = {}

    def hold(self, delivery: Delivery) -> None:
        token = delivery.token
        now = monotonic()
        self._held[token] = now
        self._young.append(_Held(token, now))

    def release(self, delivery: Delivery) -> None:
        self._held.pop(delivery.token, None)

    def serve(self, consumer: str) -> None:
        """Count a consumer among those that this worker serves, before anything comes of it."""
        self.consumers.setdefault(consumer)

    def is_moving(self) -> bool:
        """Whether leases were taken that `mature` has not looked at yet."""
        return bool(self._young)

    def mature(self, older_than: float) -> list[LeaseName]:
        """Return those taken before `older_than` that are still held, each once."""
        matured: list[LeaseName] = []
        while self._young and self._young[0].at <= older_than:
            token, at = self._young.popleft()
            self.consumers.setdefault(consumer_of(token))
            if self._held.get(token) == at:
                self._kept[token] = at
                self._renewed[token] = at
                matured.extend(_named((token,)))
        return matured

    def end(self) -> list[LeaseName]:
        """Return those once returned by `mature` that are no longer held, each once.

        Not what was delivered here again, and is held by its new token.
        """
        ended = [token for token in self._kept if token not in self._held]
        for token in ended:
            del self._kept[token], self._renewed[token]
        return list(set(_named(ended)).difference(_named(self._kept)))

    def doubt(self) -> None:
        """Stop renewing all that is held by now, until it is held again.

        Contact was lost for so long that others may have taken these runs over. A rightful owner holds them again when
        he has read his tails, or gets them delivered again.
        """
        self._doubted_at = monotonic()

    def due(self, renewed_before: float) -> list[str]:
        """Return the tokens of the leases whose last renewal is older than `renewed_before`."""
        return [
            token
            for token, at in self._renewed.items()
            if at <= renewed_before and self._kept[token] > self._doubted_at and token in self._held
        ]

    def renew(self, tokens: Iterable[str], at: float) -> None:
        """Note that these were renewed."""
        for token in tokens:
            if token in self._renewed:
                self._renewed[token] = at

    def whole(self) -> dict[str, list[int]]:
        """Return all that is held, also the youngest, of each consumer that is served."""
        held = grouped(_named(self._held.copy()))
        return {consumer: held.get(consumer, []) for consumer in (*list(self.consumers), *held)}


def _named(tokens: Iterable[str]) -> list[LeaseName]:
    return [lease for token in tokens if (lease := lease_of(token))]
