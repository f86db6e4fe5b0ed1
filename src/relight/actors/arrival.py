"""A run that may come in: its history is read, and of a long one its code follows page by page.

The last page waits until the run is taken over. It is the only one of most histories: of these nothing is replayed in
vain.
"""

from __future__ import annotations

from contextlib import aclosing
from types import TracebackType
from typing import final

from relight.actors import program as p
from relight.actors.door import Door, Stored
from relight.actors.journal import BrokenChainError, Page, Tail, read_pages
from relight.actors.reading import Reading, read
from relight.actors.run.draft import Draft
from relight.actors.run.shelf import Shelf
from relight.actors.values import fill
from relight.errors import ProtocolError, UnavailableError
from relight.subjects.grammar import Subjects

__all__ = ("Arrival",)


@final
class Arrival:
    """Reads a history, and lets the code follow. At the end of its context the code is thrown away, unless `given`.

    Attributes:
        run: Its id.
        history: What was read.
    """

    history: Reading

    def __init__(self, door: Door, subjects: Subjects, programs: p.Programs, run: str) -> None:
        self.run = run
        self._door = door
        self._subjects = subjects
        self._log = subjects.log(run)
        self._programs = programs
        self._draft: Draft | None = None
        self._page: Page | None = None
        self._problem: Exception | None = None
        self._only_looks = False
        self._is_behind = False
        self._is_given = False

    def __enter__(self) -> Arrival:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if not self._is_given:
            self.close()

    async def read(self, last: Stored) -> Reading:
        """Return the history up to `last`. Raises like `reading.read`."""
        self.history = await read(self._door, self._log, last, follow=self._follow)
        return self.history

    async def look(self, last: Stored) -> Reading:
        """Return the history like `read`, but replay nothing yet: the run may well not be taken over."""
        self._only_looks = True
        return await self.read(last)

    def made(self) -> Draft:
        """Return the code, of which the last page has not been replayed. Raises like `replayed`."""
        if self._problem is not None:
            raise self._problem
        if self._draft is None:
            shelf = Shelf(self._programs.inline_bytes_max)
            program = self._programs.create(self.run, self.history.started)
            self._draft = Draft(program, code=self._programs.code, shelf=shelf, state=self.history.state)
        return self._draft

    async def replayed(self, end: int | None = None) -> Draft | None:
        """Return the code at the end of the history that was read; None if that is another one by now.

        Args:
            end: Sequence of the last turn, if it is the claim that was appended since.

        Raises:
            UnknownWorkflowError: This worker does not have the code.
            UnavailableError: The server was not reached.
        """
        if self.history.state.is_quarantined:
            draft = self.made()
            draft.withhold()
            return draft
        if self._page is not None:
            await self._catch_up(self.history, self._page)
        if self._problem is not None:
            raise self._problem
        if self._is_behind and not await self._is_replayed_again(end or self.history.tail.sequence):
            return None
        return self._draft

    def given(self) -> None:
        """Leave the code to whoever drives it now."""
        self._is_given = True

    def close(self) -> None:
        """Throw the code away."""
        if self._draft is not None:
            self._draft.program.close()
        self._draft = None

    async def _follow(self, history: Reading, page: Page) -> None:
        self.history = history
        if page.opened:
            self.close()
            self._page, self._problem, self._is_behind = None, None, False
        before, self._page = self._page, page
        if before is not None:
            self._is_behind = self._is_behind or self._only_looks
            await self._catch_up(history, before)

    async def _catch_up(self, history: Reading, page: Page) -> None:
        if self._draft is not None and self._draft.program.has_passed(history.state.changes):
            # Which way a change went the whole history says, and its mark was read too late for that.
            self.close()
            self._is_behind = True
        if self._problem is None and not self._is_behind:
            try:
                await self._bring_forward(page)
            except (p.UnknownWorkflowError, UnavailableError, ProtocolError) as error:
                # Only who takes the run over needs its code and its values.
                self._problem = error

    async def _bring_forward(self, page: Page) -> None:
        draft = self.made()
        if page.may_refer and not draft.is_behind:
            records = (one for turn in page.turns for one in turn.records)
            await fill(self._door, self._subjects, self.run, draft.shelf, records)
        draft.replay(page.turns)

    async def _is_replayed_again(self, end: int) -> bool:
        """Read once more, now that all changes are known; False if the history is another one by now."""
        history = self.history
        last = await self._door.last(self._log)
        if last is None or last.sequence != end:
            return False
        after = Tail(sequence=max(0, history.opened - 1))
        try:
            async with aclosing(read_pages(self._door, self._log, last, after=after)) as pages:
                async for page in pages:
                    if page.opened not in (0, history.opened):
                        return False
                    await self._bring_forward(page)
        except BrokenChainError:
            return False  # It was whole a moment ago: the run was retired.
        return True
