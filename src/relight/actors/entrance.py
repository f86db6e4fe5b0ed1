"""Where a run comes in: its code is made, brought to the end of its history, and given to an actor that drives it."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from contextlib import aclosing

from relight.actors.crew import Crew
from relight.actors.door import Delivery
from relight.actors.journal import BrokenChainError, Journal, Tail, read_pages
from relight.actors.live_runs import LiveRuns
from relight.actors.reading import Reading
from relight.actors.run.draft import Draft
from relight.actors.run.shelf import Shelf
from relight.actors.run_actor import RunActor
from relight.actors.values import fill
from relight.subjects import records as r
from relight.subjects.codec import encode
from relight.subjects.messages import Relit
from relight.subjects.references import references_in
from relight.subjects.turn import Turn

__all__ = ("Entrance",)


class Entrance:
    """Begins and resumes the runs that `Ownership` has decided to drive."""

    def __init__(self, crew: Crew, live: LiveRuns) -> None:
        self._crew = crew
        self._live = live
        self._door = crew.door
        self._subjects = crew.subjects
        self._worker = crew.worker
        self._programs = crew.programs
        self._append_ids = itertools.count(1)

    def begin_alone(self, delivery: Delivery, run: str, started: r.RunStarted) -> None:
        """Drive a start that nobody else can have begun, or begin. Raises `UnknownWorkflowError`."""
        started = self._programs.begun(started)
        actor = self._actor(run, self._draft(run, started), Tail(), epoch=1, cursor=0)
        actor.begin(delivery, started, is_alone=True)

    async def begin(
        self,
        delivery: Delivery,
        run: str,
        started: r.RunStarted,
        claim: r.Claimed | None = None,
        *,
        has_mail: bool = True,
    ) -> None:
        """Drive a start that somebody else may begin, or with a `claim` may have begun.

        `has_mail` says whether its mailbox may hold what comes before its first step.

        Raises:
            UnknownWorkflowError: This worker does not have its code. Nothing was done.
            UnavailableError: The server was not reached.
        """
        tail = Tail(at_ms=self._door.clock.now_ms())
        started = self._programs.begun(started)
        shelf = await self._filled(run, started)
        if self._is_free(delivery, run):
            actor = self._actor(run, self._draft(run, started, shelf), tail, epoch=1, cursor=0)
            # As long as it is new, whoever gets it asks around first, and hears of this worker.
            is_alone = not has_mail and delivery.is_new(self._door.clock.now_ms())
            actor.begin(delivery, started, claim, is_alone=is_alone)

    async def resume(self, delivery: Delivery, run: str, history: Reading, claim: r.Claimed | None) -> bool:
        """Drive a run from its history; False if that is another one by now.

        Raises:
            UnknownWorkflowError: This worker does not have its code. Nothing was done.
            UnavailableError: The server was not reached.
        """
        assert history.last is not None, "something was read"
        epoch = self.epoch_after(history.last)
        draft = self._draft(run, history.started)
        actor: RunActor | None = None
        try:
            if history.has_older:
                # Who opened this history died before it had removed the older one.
                await self._door.purge(self._subjects.log(run), below=history.opened)
            if not await self._is_replayed(draft, run, history):
                return False
            await self.relight(delivery, run, epoch)
            if self._is_free(delivery, run):
                actor = self._actor(
                    run, draft, history.tail, epoch=epoch, cursor=history.last.cursor, bytes=history.bytes
                )
                actor.resume(delivery, claim, read_at_s=history.began_s)
        finally:
            if actor is None:
                draft.program.close()
        return True

    def epoch_after(self, last: Turn) -> int:
        """The epoch in which this worker owns a run with that last turn."""
        return last.epoch if last.owner == self._worker else last.epoch + 1

    async def _filled(self, run: str, started: r.RunStarted) -> Shelf | None:
        """Have the large arguments of a start at hand; None if it has none."""
        if not references_in(started):
            return None
        shelf = Shelf(self._programs.inline_bytes_max)
        await fill(self._door, self._subjects, run, shelf, (started,))
        return shelf

    async def relight(self, delivery: Delivery, run: str, epoch: int) -> None:
        """See to a lease of its own, before the claim: if this process dies in between, the run is woken by it."""
        queue = delivery.subject.split(".")[4]
        if not delivery.is_new(self._door.clock.now_ms()):
            await self._door.publish(self._subjects.wake(queue, run), encode(Relit(owner=self._worker, epoch=epoch)))

    def journal(self, run: str, tail: Tail, *, bytes: int = 0, cursor: int = 0, is_held: bool = False) -> Journal:
        """Return the run's journal, to be written by this worker."""
        return Journal(
            self._door,
            self._subjects.log(run),
            owner=self._worker,
            new_append_id=self._new_append_id,
            tail=tail,
            bytes=bytes,
            cursor=cursor,
            is_held=is_held,
        )

    def _is_free(self, delivery: Delivery, run: str) -> bool:
        """Whether the run may be driven from here; if not, the delivery is passed on."""
        if run in self._live.actors:
            self._live.ring(run, delivery)
        elif self._live.is_draining:
            self._door.nak(delivery)
        else:
            return True
        return False

    def _draft(self, run: str, started: r.RunStarted, shelf: Shelf | None = None) -> Draft:
        shelf = shelf or Shelf(self._programs.inline_bytes_max)
        return Draft(self._programs.create(run, started), code=self._programs.code, shelf=shelf)

    async def _fill(self, run: str, draft: Draft, turns: Sequence[Turn]) -> None:
        await fill(self._door, self._subjects, run, draft.shelf, (one for turn in turns for one in turn.records))

    async def _is_replayed(self, draft: Draft, run: str, history: Reading) -> bool:
        """Bring the code to the end of the history; False if it is another one by now."""
        if history.turns is not None:
            if history.may_refer:
                await self._fill(run, draft, history.turns)
            draft.replay(history.turns, history.state)
            return True
        draft.begin_replay(history.state)
        last = await self._door.last(self._subjects.log(run))
        if last is None or last.sequence != history.tail.sequence:
            return False
        after = Tail(sequence=max(0, history.opened - 1))
        try:
            async with aclosing(read_pages(self._door, self._subjects.log(run), last, after=after)) as pages:
                async for page in pages:
                    if page.opened not in (0, history.opened):
                        return False
                    if page.may_refer:
                        await self._fill(run, draft, page.turns)
                    draft.replay_page(page.turns, is_last=page.tail.sequence == last.sequence)
        except BrokenChainError:
            return False  # It was whole a moment ago: the run was retired.
        return True

    def _actor(self, run: str, draft: Draft, tail: Tail, *, epoch: int, cursor: int, bytes: int = 0) -> RunActor:
        journal = self.journal(run, tail, bytes=bytes, cursor=cursor, is_held=True)
        actor = RunActor(self._crew, run, draft=draft, journal=journal, epoch=epoch, cursor=cursor)
        self._live.actors[run] = actor
        return actor

    def _new_append_id(self) -> str:
        return f"{self._worker}.{next(self._append_ids)}"
