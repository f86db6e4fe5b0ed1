"""The host: takes deliveries for one worker, gives them to the runs that it has, and lets go of those that rest.

What it does with a delivery of any other run is in `ownership`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from functools import partial

from msgspec.structs import replace

from relight.actors import program as p
from relight.actors.delayed import Delayed
from relight.actors.door import SECOND_HAND, Consumption, Delivery, Door
from relight.actors.last_try import LastTry
from relight.actors.live_runs import LiveRuns
from relight.actors.ownership import Ownership
from relight.actors.relights import Relights
from relight.actors.run_actor import RunActor
from relight.config.limits import LIMITS
from relight.subjects.codec import decode_ask, decode_ask_every_worker, encode
from relight.subjects.grammar import Subjects
from relight.subjects.ids import WorkerId
from relight.subjects.messages import MINE, NOT_MINE, AskEveryWorker, AskOwner, WorkerSays

__all__ = ("Host",)

_WAKES_AT_ONCE = 1_000
_HAND_OVER_S = 0.1
_PASSES_OF_A_TRIVIAL_STEP = 4
"""Passes of the worker's loop in which a step that waits for nothing is launched, runs and reports."""


class Host:
    """Owns runs for one worker: at most `concurrency` that came as starts, and every one that is woken."""

    def __init__(
        self,
        door: Door,
        subjects: Subjects,
        worker: WorkerId,
        programs: p.Programs,
        *,
        queues: Sequence[str],
        concurrency: int,
    ) -> None:
        self.door = door
        self.subjects = subjects
        self.worker = worker
        self.programs = programs
        self.claims = Delayed(door.clock, LIMITS.claim_s, passes=_PASSES_OF_A_TRIVIAL_STEP)
        self.looks = Delayed(door.clock, LIMITS.mailbox_look_s)
        self.relights = Relights(door, subjects, worker)
        self.last_try = LastTry()
        self._queues = tuple(queues)
        self._concurrency = concurrency
        self._live = LiveRuns(door.clock)
        self._ownership = Ownership(self, self._live)
        self._starts: dict[str, Consumption] = {}
        self._wakes: dict[str, Consumption] = {}
        self._placed: dict[str, str] = {}
        self._arrivals: set[asyncio.Task[None]] = set()
        self._behind: dict[str, list[Delivery]] = {}
        self._beginning: set[str] = set()
        self.loop = asyncio.get_running_loop()
        self._is_open = False

    async def open(self) -> None:
        """Begin to take deliveries."""
        self._is_open = True
        self.door.watch_gaps(self._look_after_gap)
        await self.door.answer(self.worker, self._answer)
        await self.door.answer_every_worker(self._answer_every_worker)
        for queue in self._queues:
            # Without places first: the first delivery already needs to know where its place goes back to.
            self._wakes[queue] = await self.door.consume("wake", queue, partial(self._take_wake, queue), places=0)
            self._wakes[queue].add_places(_WAKES_AT_ONCE)
            self._starts[queue] = await self.door.consume("start", queue, partial(self._take_start, queue), places=0)
            self._starts[queue].add_places(self._concurrency)

    async def drain(self, grace_s: float) -> None:
        """Take nothing new, let running steps end for `grace_s`, hand every lease back."""
        self._live.is_draining = True
        for consumption in (*self._starts.values(), *self._wakes.values()):
            await consumption.close()
        hands_over = any(actor.lease is not None for actor in self._live.actors.values())
        for actor in list(self._live.actors.values()):
            actor.hand_back()
        loop = asyncio.get_running_loop()
        end = loop.time() + grace_s
        while self._live.actors and loop.time() < end:  # noqa: ASYNC110 - actors leave on many ways
            await asyncio.sleep(0.005)
        for actor in list(self._live.actors.values()):
            actor.stop_steps()
        end = loop.time() + 1.0
        while self._live.actors and loop.time() < end:  # noqa: ASYNC110 - actors leave on many ways
            await asyncio.sleep(0.005)
        if hands_over:
            # Whoever gets a lease asks this worker, and must not take it for dead: runs whose owners die are suspect.
            await asyncio.sleep(_HAND_OVER_S)

    def close(self) -> None:
        """Stop at once; what is left is redelivered to others after `ack_wait`."""
        for task in list(self._arrivals):
            task.cancel()
        self._live.close()

    @property
    def steps_running(self) -> int:
        return sum(actor.steps_running for actor in self._live.actors.values())

    def holds(self, run: str) -> bool:
        return run in self._live.actors

    def _look_after_gap(self) -> None:
        for actor in list(self._live.actors.values()):
            actor.look_after_gap()

    # What actors tell.

    def rests(self, actor: RunActor) -> None:
        self._give_place(actor.run)
        self._live.rest(actor)

    def leaves(self, actor: RunActor, unfinished: Sequence[Delivery]) -> None:
        self._give_place(actor.run)
        if self._live.actors.get(actor.run) is actor:
            del self._live.actors[actor.run]
        for delivery in unfinished:
            self.door.release(delivery)
            # Its place was given back long ago, or just now.
            self._take_other(replace(delivery, new_until_ms=0, delivered=SECOND_HAND))

    def _give_place(self, run: str) -> None:
        queue = self._placed.pop(run, None)
        if queue is not None and not self._live.is_draining:
            self._starts[queue].add_places(1)

    # Questions, answered in the keeper's thread.

    def _answer(self, question: bytes) -> bytes | None:
        ask = decode_ask(question)
        if ask.asker == self.worker or self._is_too_late(ask) or not self._is_about(ask.run, ask.subject):
            return None
        # Also while draining: a run whose steps still get their time is not to be run elsewhere.
        if not self._is_open or not (self._can_take(ask) if ask.workflow else ask.run in self._live.actors):
            return NOT_MINE
        take = self._take_handed_over if ask.workflow else self._adopt
        self.loop.call_soon_threadsafe(take, _delivery_in(ask))
        return MINE

    def _is_about(self, run: str, subject: str) -> bool:
        _, namespace, _, _, _, of = subject.split(".")
        return (namespace, of) == (self.subjects.namespace, run)

    def _can_take(self, ask: AskOwner | AskEveryWorker) -> bool:
        _, _, kind, _, queue, _ = ask.subject.split(".")
        if self._live.is_draining or queue not in self._queues or not self.programs.has(ask.workflow, ask.version):
            return False
        return kind != "start" or len(self._placed) < self._concurrency

    def _is_too_late(self, ask: AskOwner) -> bool:
        """A process that was stopped finds old questions: what it then took over, the asker would believe to have."""
        return ask.asked_ms is not None and self.door.clock.now_ms() - ask.asked_ms > 1000 * LIMITS.ask_s

    def _take_handed_over(self, delivery: Delivery) -> None:
        """A start takes a place, as if it had come from the consumer."""
        _, _, kind, _, queue, run = delivery.subject.split(".")
        if kind == "start" and run not in self._placed and run not in self._live.actors:
            self._placed[run] = queue
            self._starts[queue].add_places(-1)
        self._adopt(delivery)

    def _adopt(self, delivery: Delivery) -> None:
        self.door.hold(delivery.subject.rsplit(".", 1)[1], delivery)
        self._take_other(delivery)

    # Questions to all workers, answered in the worker's loop: what was delivered before has arrived.

    def _answer_every_worker(self, question: bytes) -> bytes:
        ask = decode_ask_every_worker(question)
        drives = tuple(run for run in ask.runs if run in self._live.actors or run in self._beginning)
        return encode(WorkerSays(self.worker, drives, is_able=bool(ask.workflow) and self._can_take(ask)))

    # Arrivals.

    def _take_start(self, queue: str, delivery: Delivery) -> None:
        run = delivery.subject.rsplit(".", 1)[1]
        if run in self._placed:
            self._starts[queue].add_places(1)
        else:
            self._placed[run] = queue
        self._dispatch(delivery, run, is_start=True)

    def _take_wake(self, queue: str, delivery: Delivery) -> None:
        self._wakes[queue].add_places(1)
        self._dispatch(delivery, delivery.subject.rsplit(".", 1)[1], is_start=False)

    def _take_other(self, delivery: Delivery) -> None:
        """One that does not come from the consumer: another worker has handed it over, or a run has left it."""
        _, _, kind, _, _, run = delivery.subject.split(".")
        self._dispatch(delivery, run, is_start=kind == "start")

    def _dispatch(self, delivery: Delivery, run: str, *, is_start: bool) -> None:
        if run in self._live.actors:
            self._live.ring(run, delivery)
            return
        if self._live.is_draining:
            self.door.nak(delivery)
            return
        is_new = is_start and delivery.is_new(self.door.clock.now_ms())
        if is_new and self._ownership.begin_at_once(delivery, run):
            return
        if run in self._behind:
            self._behind[run].append(delivery)
            return
        self._behind[run] = []
        if is_start and delivery.new_until_ms:
            self._beginning.add(run)
        self._settle_soon(delivery, run)

    def _settle_soon(self, delivery: Delivery, run: str, owner: WorkerId | None = None) -> None:
        task = asyncio.get_running_loop().create_task(self._settle(delivery, run, owner))
        self._arrivals.add(task)
        task.add_done_callback(self._arrivals.discard)

    async def _settle(self, delivery: Delivery, run: str, owner: WorkerId | None) -> None:
        try:
            owner = await self._ownership.settle(delivery, run, owner)
        finally:
            self._beginning.discard(run)
            behind = self._behind.pop(run, ())
            if run not in self._live.actors:
                self._give_place(run)
        # What came meanwhile needs no look of its own: a thousand children that end together wake one parent.
        for one in behind:
            if run in self._live.actors:
                self._live.ring(run, one)
            else:
                self._settle_soon(one, run, owner)


def _delivery_in(ask: AskOwner) -> Delivery:
    return Delivery(ask.subject, ask.sequence, bytes(ask.data), ask.fence, ask.token, ask.delivered, ask.new_until_ms)
