"""Where a run comes in: its code is made, brought to the end of its history, and given to an actor that drives it."""

from __future__ import annotations

import itertools

from relight.actors.arrival import Arrival
from relight.actors.crew import Crew
from relight.actors.door import Delivery
from relight.actors.journal import Journal, Tail
from relight.actors.live_runs import LiveRuns
from relight.actors.run.draft import Draft
from relight.actors.run.shelf import Shelf
from relight.actors.run_actor import RunActor
from relight.actors.values import fill
from relight.subjects import records as r
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
            if claim is None:
                actor.begin(delivery, started, is_alone=is_alone)
            else:
                actor.begin_again(delivery, started, claim)

    async def resume(self, delivery: Delivery, arrival: Arrival, claim: r.Claimed | None) -> bool:
        """Drive a run from its history, once a `claim` is stored; False if that is another one by now.

        Raises:
            UnknownWorkflowError: This worker does not have its code. Nothing was done.
            UnavailableError: The server was not reached.
        """
        run, history = arrival.run, arrival.history
        assert history.last is not None, "something was read"
        draft = await arrival.replayed() if claim is None else arrival.made()
        if draft is None:
            return False
        if history.has_older:
            # Who opened this history died before it had removed the older one.
            await self._door.purge(self._subjects.log(run), below=history.opened)
        epoch, cursor = self.epoch_after(history.last), history.last.cursor
        if self._is_free(delivery, run):
            arrival.given()
            actor = self._actor(run, draft, history.tail, epoch=epoch, cursor=cursor, bytes=history.bytes)
            actor.resume(delivery, claim, arrival)
        return True

    def arrival(self, run: str) -> Arrival:
        """Return what reads the history of a run that may be resumed here."""
        return Arrival(self._door, self._subjects, self._programs, run)

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
            await self._crew.relights.publish(queue, run, epoch)

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

    def _actor(self, run: str, draft: Draft, tail: Tail, *, epoch: int, cursor: int, bytes: int = 0) -> RunActor:
        journal = self.journal(run, tail, bytes=bytes, cursor=cursor, is_held=True)
        actor = RunActor(self._crew, run, draft=draft, journal=journal, epoch=epoch, cursor=cursor)
        self._live.actors[run] = actor
        return actor

    def _new_append_id(self) -> str:
        return f"{self._worker}.{next(self._append_ids)}"
