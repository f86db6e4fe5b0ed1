"""Deals places out over several streams, so that no more is ever asked for than can be taken. Pure.

A place is free, asked for at one stream, or taken by a delivery. Places go where deliveries come from, but a stream
without any gets one first, the one that has waited longest before the others: with fewer places than streams they go
round.
"""

from __future__ import annotations

from typing import final

__all__ = ("Places",)

_BATCHES = 8
"""Places given back are asked for again in groups of an eighth, or after a short while: a request for each would cost
the server more than the deliveries."""


@final
class Places:
    """The places of one queue and kind, over `streams` streams."""

    def __init__(self, streams: int) -> None:
        self.free = 0
        self.asked = [0] * streams
        self._largest = 0
        self._recent = [0] * streams
        self._has_more = [False] * streams
        self._may_have_more = [False] * streams
        self._unserved_since = [0] * streams
        self._round = 0

    def give(self, count: int) -> None:
        """Add places, new ones or such as a delivery had taken."""
        self.free += count
        self._largest = max(self._largest, self.free + sum(self.asked))

    def take(self, stream: int, *, has_more: bool = False, comes_again: bool = False) -> None:
        """A delivery of this stream has taken one of its places; `has_more` is whether others wait behind it.

        The server does not count among these what it has delivered before. But what `comes_again` seldom comes alone:
        whoever dies leaves many.
        """
        self._has_more[stream] = has_more
        self._may_have_more[stream] = has_more or comes_again
        if self.asked[stream] > 0:
            self.asked[stream] -= 1
        else:
            # The server gave more than we asked for: another place has to stand in.
            self.free -= 1
        self._recent[stream] += 1

    def give_up(self, stream: int, count: int | None = None) -> None:
        """The server no longer owes this stream `count` deliveries, or any."""
        if count is not None or self.asked[stream]:
            # A pull that ends with places left over has found nothing more.
            self._has_more[stream] = self._may_have_more[stream] = False
        returned = self.asked[stream] if count is None else min(count, self.asked[stream])
        self.asked[stream] -= returned
        self.free += returned

    @property
    def is_worth_asking(self) -> bool:
        """Whether to ask at once instead of waiting a little for more places."""
        return self.free * _BATCHES >= self._largest

    @property
    def has_unserved(self) -> bool:
        """Whether a stream has no place while others have."""
        return any(asked == 0 for asked in self.asked)

    def misplaced(self) -> int | None:
        """A stream whose places are wanted elsewhere: it has nothing to deliver, while another has and got none."""
        if self.free > 0 or not any(
            may_have_more and not asked for may_have_more, asked in zip(self._may_have_more, self.asked, strict=True)
        ):
            return None
        idle = [stream for stream, asked in enumerate(self.asked) if asked and not self._has_more[stream]]
        return max(idle, key=lambda stream: (not self._may_have_more[stream], self.asked[stream]), default=None)

    def deal(self, open_streams: list[int]) -> list[tuple[int, int]]:
        """Ask for free places: return how many at which of these streams. Empty if it is not worth while yet."""
        unserved = [stream for stream in open_streams if self.asked[stream] == 0]
        if self.free <= 0 or not (unserved or self.free >= sum(self.asked)):
            return []
        shares = self._shares(open_streams, unserved)
        self._round += 1
        for stream, count in shares.items():
            self.asked[stream] += count
            self.free -= count
            self._unserved_since[stream] = self._round
        self._recent = [0] * len(self._recent)
        return list(shares.items())

    def _shares(self, open_streams: list[int], unserved: list[int]) -> dict[int, int]:
        first = sorted(unserved, key=lambda stream: self._unserved_since[stream])[: self.free]
        shares = dict.fromkeys(first, 1)
        rest = self.free - len(first)
        weights = {stream: self._recent[stream] for stream in open_streams if self._recent[stream]}
        weights = weights or dict.fromkeys(open_streams, 1)
        left, weight_left = rest, sum(weights.values())
        for stream, weight in weights.items():
            part = left * weight // weight_left
            shares[stream] = shares.get(stream, 0) + part
            left, weight_left = left - part, weight_left - weight
        return {stream: count for stream, count in shares.items() if count}
