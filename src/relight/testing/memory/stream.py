"""One stream: a sequence of messages with subjects, fences, schedules and times to live."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from itertools import islice
from operator import attrgetter
from typing import final

from relight.actors.door import Stored
from relight.errors import FencedError
from relight.testing.memory.subject_tree import SubjectTree
from relight.testing.virtual_clock import VirtualClock, VirtualTimer

__all__ = ("MemoryStream",)

_sequence = attrgetter("sequence")


@final
class MemoryStream:
    """What the server stores. Each call takes effect at once and as a whole.

    `on_stored` and `on_removed` are called after each message that came or went.
    """

    def __init__(
        self, clock: VirtualClock, *, on_stored: Callable[[Stored], None], on_removed: Callable[[Stored], None]
    ) -> None:
        self._clock = clock
        self._on_stored = on_stored
        self._on_removed = on_removed
        self._sequence = 0
        self._messages: dict[str, list[Stored]] = {}
        self._subjects = SubjectTree()
        self._timers: dict[int, VirtualTimer] = {}

    @property
    def last_sequence(self) -> int:
        """Of all that was ever stored; 0 before the first."""
        return self._sequence

    def publish(self, subject: str, data: bytes, *, fence: int | None, fence_subject: str | None) -> int:
        """Store one message and return its sequence. Raises `FencedError` if the fence does not hold."""
        self._check(fence, fence_subject or subject)
        return self._store(subject, data, fence if fence_subject is None else None).sequence

    def schedule(self, subject: str, data: bytes, *, target: str, due_ms: int) -> None:
        """Publish `data` on `target` at `due_ms`, unless the message that says so is gone by then."""
        self._remove(subject, below=None)
        scheduled = self._store(subject, data, None)
        self._call_later(scheduled, (due_ms - self._clock.now_ms()) / 1000, partial(self._fire, scheduled, target))

    def entomb(self, subject: str, data: bytes, *, fence: int, ttl_s: int, fence_subject: str | None) -> int:
        """Replace all messages of `subject` by one that goes after `ttl_s`. Raises `FencedError` like `publish`."""
        self._check(fence, fence_subject or subject)
        tombstone = self._store(subject, data, fence)
        self._remove(subject, below=tombstone.sequence)
        self._call_later(tombstone, ttl_s, partial(self._remove, subject, below=tombstone.sequence + 1))
        return tombstone.sequence

    def purge(self, filter: str, *, below: int | None) -> None:
        for subject in list(self._matching(filter)):
            self._remove(subject, below=below)

    def remove(self, subject: str, sequence: int) -> None:
        """Remove one message, if it is there."""
        messages = self._messages.get(subject, [])
        kept = [one for one in messages if one.sequence != sequence]
        self._keep(subject, kept, [one for one in messages if one.sequence == sequence])

    def last(self, filter: str) -> Stored | None:
        return max((self._messages[subject][-1] for subject in self._matching(filter)), key=_sequence, default=None)

    def next(self, filter: str, *, after: int) -> Stored | None:
        found = (one for subject in self._matching(filter) for one in self.read(subject, after=after, limit=1))
        return min(found, key=_sequence, default=None)

    def read(self, subject: str, *, after: int, limit: int) -> list[Stored]:
        messages = self._messages.get(subject, [])
        start = bisect_right(messages, after, key=_sequence)
        return messages[start : start + limit]

    def latest(self, filters: Iterable[str]) -> list[Stored]:
        """The last message of each subject that one of the filters selects, in the order of their sequences."""
        subjects = {subject for filter in filters for subject in self._matching(filter)}
        return sorted((self._messages[subject][-1] for subject in subjects), key=_sequence)

    def count(self, subject: str) -> int:
        return len(self._messages.get(subject, ()))

    def subjects(self, filter: str, *, limit: int) -> list[str]:
        return list(islice(self._matching(filter), limit))

    def every(self, filter: str) -> list[Stored]:
        """All messages that the filter selects, in the order of their sequences."""
        return sorted((one for subject in self._matching(filter) for one in self._messages[subject]), key=_sequence)

    def _check(self, fence: int | None, filter: str) -> None:
        if fence is None:
            return
        last = self.last(filter)
        actual = last.sequence if last is not None else 0
        if actual != fence:
            raise FencedError(f"the last sequence of {filter} is {actual}, not {fence}")

    def _store(self, subject: str, data: bytes, fence: int | None) -> Stored:
        self._sequence += 1
        stored = Stored(subject, self._sequence, bytes(data), fence, self._clock.now_ms())
        if subject not in self._messages:
            self._messages[subject] = []
            self._subjects.add(subject)
        self._messages[subject].append(stored)
        self._on_stored(stored)
        return stored

    def _remove(self, subject: str, *, below: int | None) -> None:
        messages = self._messages.get(subject, [])
        end = len(messages) if below is None else bisect_left(messages, below, key=_sequence)
        self._keep(subject, messages[end:], messages[:end])

    def _keep(self, subject: str, kept: list[Stored], removed: list[Stored]) -> None:
        if not removed:
            return
        if kept:
            self._messages[subject] = kept
        else:
            del self._messages[subject]
            self._subjects.remove(subject)
        for one in removed:
            self._forget(one)

    def _forget(self, removed: Stored) -> None:
        if (timer := self._timers.pop(removed.sequence, None)) is not None:
            timer.cancel()
        self._on_removed(removed)

    def _fire(self, scheduled: Stored, target: str) -> None:
        self._remove(scheduled.subject, below=scheduled.sequence + 1)
        self._store(target, scheduled.data, None)

    def _call_later(self, stored: Stored, delay_s: float, callback: Callable[[], None]) -> None:
        self._timers[stored.sequence] = self._clock.call_later(delay_s, callback)

    def _matching(self, filter: str) -> Iterator[str]:
        if "*" not in filter and ">" not in filter:
            return iter((filter,) if filter in self._messages else ())
        return self._subjects.matching(filter)
