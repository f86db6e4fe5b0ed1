"""What a history amounts to, read page by page: the turns are not kept."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import aclosing
from dataclasses import dataclass
from typing import TypeAlias

from relight.actors.door import Door, Stored
from relight.actors.journal import BrokenChainError, Page, Tail, not_open, read_pages
from relight.actors.run.state import RunState
from relight.subjects.records import RunStarted
from relight.subjects.turn import Turn

__all__ = ("Follow", "Reading", "read", "read_on")


@dataclass(slots=True)
class Reading:
    """A history that is proven to be complete and unbroken, from its last `Continued` on.

    Attributes:
        state: What it amounts to.
        last: The last one, None if there is none yet.
        tail: Where the next one is appended.
        bytes: As stored.
        opened: Sequence of the last `Continued`; 0: there is none.
        has_older: Turns from before it are still stored.
        began_s: When it was begun to read, by `Clock.elapsed_s`.
        problem: Why it can't be believed; then the state is what its last turn alone says.
    """

    state: RunState
    last: Turn | None
    tail: Tail
    bytes: int = 0
    opened: int = 0
    has_older: bool = False
    began_s: float = 0.0
    problem: str = ""

    @property
    def started(self) -> RunStarted:
        """What the run was started or continued with. Raises `BrokenChainError` if it does not say."""
        if self.state.started is None:
            raise BrokenChainError("the first turn is no start")
        return self.state.started

    @property
    def is_incomplete(self) -> bool:
        """Whether it is a copy that was never finished. Raises like `started`."""
        return self.state.records < self.started.origin_records

    def take(self, page: Page) -> None:
        """Add the next page.

        Raises:
            BrokenChainError: A record is about a step that is not open.
        """
        if page.opened:
            self.opened = page.opened
            self.has_older = self.last is not None or page.has_older
            self.bytes = 0
        try:
            for turn in page.turns:
                for record in turn.records:
                    self.state.apply(record, turn.at_ms)
        except KeyError as error:  # Around the page, because a history is as many calls as it has records.
            raise not_open(error) from error
        self.bytes += page.bytes
        self.last = page.turns[-1]
        self.tail = page.tail


Follow: TypeAlias = Callable[[Reading, Page], Awaitable[None]]
"""Called with what was read so far, and its last page."""


async def read(door: Door, subject: str, last: Stored, *, follow: Follow | None = None) -> Reading:
    """Return the history up to `last`, which came from the leader; or beyond it, if the run continued meanwhile.

    While `follow` is at work, the server looks for the next page.

    Raises:
        BrokenChainError: There is a gap, a break, or an unreadable message.
        ProtocolError: A message is of a later protocol version.
        UnavailableError: The server was not reached.
    """
    reading = Reading(RunState(), None, Tail(), began_s=door.clock.elapsed_s())
    await read_on(door, subject, last, reading, follow=follow)
    return reading


async def read_on(door: Door, subject: str, last: Stored, reading: Reading, *, follow: Follow | None = None) -> None:
    """Add what follows what was read before, up to `last`. Raises like `read`; what was added before that stays."""
    async with aclosing(read_pages(door, subject, last, after=reading.tail)) as pages:
        async for page in pages:
            reading.take(page)
            if follow is not None:
                await follow(reading, page)
