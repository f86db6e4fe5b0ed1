"""Whether a run is still its owner's: a process that was stopped may have lost it, and looks before it acts."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeVar

from relight.actors.backoff import while_held
from relight.actors.door import Delivery, Door
from relight.actors.journal import Displaced, Journal
from relight.actors.starts import is_current
from relight.config.limits import LIMITS
from relight.subjects.grammar import Subjects

__all__ = ("Title",)

T = TypeVar("T")


class Title:
    """What one owner knows of its ownership.

    Attributes:
        proven_s: Up to when it is certain, by `Clock.elapsed_s`: nobody takes a run over sooner after that.
    """

    __slots__ = ("_door", "_journal", "_run", "_subjects", "proven_s")

    def __init__(self, door: Door, subjects: Subjects, run: str, journal: Journal) -> None:
        self.proven_s = door.clock.elapsed_s()
        self._door = door
        self._subjects = subjects
        self._run = run
        self._journal = journal

    async def prove(self) -> None:
        """Look whether the run is still ours, if that is not certain. Raises `Displaced` if it is not."""
        while self._door.clock.elapsed_s() - self.proven_s > LIMITS.ack_wait_s / 2:
            began_s = self._door.clock.elapsed_s()
            last = await self.eventually(lambda: self._door.last(self._subjects.log(self._run)))
            if (last.sequence if last is not None else 0) != self._journal.tail.sequence:
                raise Displaced(None)
            self.proven_s = began_s

    async def prove_start(self, lease: Delivery | None) -> None:
        """What a start has begun whose run ended elsewhere, and was retired long ago, goes again."""
        if not await self.eventually(lambda: is_current(self._door, self._subjects, self._run, lease)):
            below = self._journal.tail.sequence + 1
            await self.eventually(lambda: self._door.purge(self._subjects.log(self._run), below=below))
            raise Displaced(None)

    async def while_owned(self, operation: Callable[[], Awaitable[T]]) -> T:
        """Like `eventually`, for what would reach a later run of this id when the server is back after hours."""

        async def attempt() -> T:
            await self.prove()
            return await operation()

        return await self.eventually(attempt)

    def eventually(self, operation: Callable[[], Awaitable[T]]) -> Awaitable[T]:
        """Repeat an idempotent operation until it can be done."""
        return while_held(self._door.clock, operation)
