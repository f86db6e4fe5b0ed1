"""The host: takes deliveries and applies the one ownership rule.

A delivery is only a doorbell. Who gets one reads the end of the run's journal from the leader:

- nothing there, a start's first delivery: drive it;
- nothing there, a start's later delivery: somebody may be in its first steps; ask all workers, claim if none is;
- nothing there, a wake: whoever drives the start reads the mailbox after its first append; ring off;
- its turns were copied by a client (epoch 0): nobody has owned it; claim it;
- an owner is named: ask it. "Mine": it has taken the token over. "Not mine": claim by an append under the next epoch.
  Nobody listens there: claim if the run waits or this delivery is its lease. Silent: claim only if this is its lease,
  delivered again. Otherwise come back later: the lease's own redelivery decides.

Claiming is an append, so of two that claim one is refused; it starts from the top and finds the other named.
"""

from __future__ import annotations

import asyncio
import itertools
from collections import OrderedDict
from collections.abc import Sequence

import structlog
from msgspec import Raw

from relight.actors import program as p
from relight.actors.door import SECOND_HAND, Consumption, Delivery, Door, Handle, Silent, Stored
from relight.actors.family import is_orphan, may_be_orphan, tell_family
from relight.actors.fork import COPIED_EPOCH, is_incomplete
from relight.actors.journal import BrokenChainError, Displaced, History, Journal, Tail, read_history
from relight.actors.mailbox import decoded
from relight.actors.run.state import RunState, fold
from relight.actors.run_actor import RunActor
from relight.actors.starts import read_start
from relight.config.limits import LIMITS
from relight.errors import ProtocolError, UnavailableError
from relight.subjects import records as r
from relight.subjects.codec import decode_ask, decode_start, decode_turn, encode, is_of_later_version
from relight.subjects.grammar import Subjects, WakeSubject, parse
from relight.subjects.ids import WorkerId
from relight.subjects.messages import AskOwner, ParentOver, Relit, TimerDue, Wake
from relight.subjects.turn import VERSION, Tombstone, Turn, hash_of

__all__ = ("Host",)

log = structlog.get_logger("relight")

_MINE = b"mine"
_NOT_MINE = b"not mine"
_WAKES_AT_ONCE = 1_000
_HAND_OVER_S = 0.1
_SWEEPS = 10
"""Per `limits.linger_s`: a run that rests is dropped when it has lingered, at most a tenth later."""

_IN_VAIN_MAX = 6
"""Deliveries of one message that found nobody. With their delays they take 30 s, three times `ack_wait`."""
_NO_JOURNAL = "the mailbox knows of a journal that does not exist"
_NO_COPY = "the history that was copied for this fork does not exist"


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
        self._queues = tuple(queues)
        self._concurrency = concurrency
        self._live: dict[str, RunActor] = {}
        self._resting: OrderedDict[str, float] = OrderedDict()
        self._sweep: Handle | None = None
        self._starts: dict[str, Consumption] = {}
        self._wakes: dict[str, Consumption] = {}
        self._placed: dict[str, str] = {}
        self._arrivals: set[asyncio.Task[None]] = set()
        self._append_ids = itertools.count(1)
        self._is_draining = False
        self._loop: asyncio.AbstractEventLoop | None = None

    async def open(self) -> None:
        """Begin to take deliveries."""
        self._loop = asyncio.get_running_loop()
        self.door.watch_gaps(self._look_after_gap)
        await self.door.answer(self.worker, self._answer)
        for queue in self._queues:
            # Without places first: the first delivery already needs to know where its place goes back to.
            self._wakes[queue] = await self.door.consume("wake", queue, self.arrive, places=0)
            self._wakes[queue].add_places(_WAKES_AT_ONCE)
            self._starts[queue] = await self.door.consume("start", queue, self.arrive, places=0)
            self._starts[queue].add_places(self._concurrency)

    async def drain(self, grace_s: float) -> None:
        """Take nothing new, let running steps end for `grace_s`, hand every lease back."""
        self._is_draining = True
        for consumption in (*self._starts.values(), *self._wakes.values()):
            await consumption.close()
        hands_over = any(actor.lease is not None for actor in self._live.values())
        for actor in list(self._live.values()):
            actor.hand_back()
        loop = asyncio.get_running_loop()
        end = loop.time() + grace_s
        while self._live and loop.time() < end:  # noqa: ASYNC110 - actors leave on many ways
            await asyncio.sleep(0.005)
        for actor in list(self._live.values()):
            actor.stop_steps()
        end = loop.time() + 1.0
        while self._live and loop.time() < end:  # noqa: ASYNC110 - actors leave on many ways
            await asyncio.sleep(0.005)
        if hands_over:
            # Whoever gets a lease asks this worker, and must not take it for dead: runs whose owners die are suspect.
            await asyncio.sleep(_HAND_OVER_S)

    def close(self) -> None:
        """Stop at once; what is left is redelivered to others after `ack_wait`."""
        self._is_draining = True
        for task in list(self._arrivals):
            task.cancel()
        if self._sweep is not None:
            self._sweep.cancel()
        self._resting.clear()
        for actor in list(self._live.values()):
            actor.discard()
        self._live.clear()

    @property
    def steps_running(self) -> int:
        return sum(actor.steps_running for actor in self._live.values())

    def holds(self, run: str) -> bool:
        return run in self._live

    def _look_after_gap(self) -> None:
        for actor in list(self._live.values()):
            actor.look_after_gap()

    # What actors tell.

    def rests(self, actor: RunActor) -> None:
        self._give_place(actor.run)
        if self._is_draining:
            self._forget(actor.run)
            return
        self._resting[actor.run] = self.door.clock.elapsed_s() + LIMITS.linger_s
        if self._sweep is None:
            self._sweep_later()
        while len(self._resting) > LIMITS.resting_max:
            self._forget(next(iter(self._resting)))

    def leaves(self, actor: RunActor, unfinished: Sequence[Delivery]) -> None:
        self._give_place(actor.run)
        if self._live.get(actor.run) is actor:
            del self._live[actor.run]
        for delivery in unfinished:
            self.door.release(delivery)
            # Not `arrive`: its place was given back long ago, or just now.
            self._dispatch(delivery._replace(is_new=False, delivered=SECOND_HAND))

    def _sweep_later(self) -> None:
        # One coarse timer for all: one for each run costs more than all else that its resting costs.
        self._sweep = self.door.clock.call_later(LIMITS.linger_s / _SWEEPS, self._forget_lingered)

    def _forget_lingered(self) -> None:
        self._sweep = None
        now_s = self.door.clock.elapsed_s()
        for run in list(itertools.takewhile(lambda one: self._resting[one] <= now_s, self._resting)):
            self._forget(run)
        if self._resting:
            self._sweep_later()

    def _forget(self, run: str) -> None:
        self._resting.pop(run, None)
        actor = self._live.pop(run, None)
        if actor is not None:
            actor.discard()

    def _give_place(self, run: str) -> None:
        queue = self._placed.pop(run, None)
        if queue is not None and not self._is_draining:
            self._starts[queue].add_places(1)

    # Questions, answered in the keeper's thread.

    def _answer(self, question: bytes) -> bytes | None:
        ask = decode_ask(question)
        if ask.asker == self.worker or self._is_too_late(ask):
            return None
        # Also while draining: a run whose steps still get their time is not to be run elsewhere.
        if ask.run not in self._live or self._loop is None:
            return None if ask.everyone else _NOT_MINE
        delivery = Delivery(ask.subject, ask.sequence, bytes(ask.data), ask.fence, ask.token, ask.delivered)
        self._loop.call_soon_threadsafe(self._adopt, delivery)
        return _MINE

    def _is_too_late(self, ask: AskOwner) -> bool:
        """A process that was stopped finds old questions: what it then took over, the asker would believe to have."""
        return ask.asked_ms is not None and self.door.clock.now_ms() - ask.asked_ms > 1000 * LIMITS.ask_s

    def _adopt(self, delivery: Delivery) -> None:
        self.door.hold(delivery.subject.rsplit(".", 1)[1], delivery)
        self._dispatch(delivery)

    # Arrivals.

    def arrive(self, delivery: Delivery) -> None:
        """A delivery from a consumer."""
        subject = delivery.subject.split(".", 5)
        if len(subject) == 6 and subject[2] == "start" and subject[5] not in self._placed:
            self._placed[subject[5]] = subject[4]
        elif len(subject) == 6:
            (self._starts if subject[2] == "start" else self._wakes)[subject[4]].add_places(1)
        self._dispatch(delivery)

    def _dispatch(self, delivery: Delivery) -> None:
        run = delivery.subject.rsplit(".", 1)[1]
        if run in self._live:
            self._ring(run, delivery)
            return
        if self._is_draining:
            self.door.nak(delivery)
            return
        if delivery.is_new and self._begin_at_once(delivery, run):
            return
        task = asyncio.get_running_loop().create_task(self._settle(delivery, run))
        self._arrivals.add(task)
        task.add_done_callback(self._arrivals.discard)

    def _ring(self, run: str, delivery: Delivery) -> None:
        self._resting.pop(run, None)
        self._live[run].take_doorbell(delivery)

    def _begin_at_once(self, delivery: Delivery, run: str) -> bool:
        """Drive a start that nobody can have begun; an id that is taken or retired could not have been started."""
        if delivery.subject.split(".", 3)[2] != "start":
            return False
        try:
            start = decode_start(delivery.data).run
            if start.origin is not None or may_be_orphan(start, self.door.clock):
                return False
            self._begin(delivery, run, start)
        except (p.UnknownWorkflowError, ProtocolError):
            return False  # It is told and given back where all others are.
        return True

    async def _settle(self, delivery: Delivery, run: str) -> None:
        try:
            await self._decide(delivery, run)
        except p.UnknownWorkflowError as error:
            log.warning("workflow_unknown", run=run, workflow=str(error))
            self._later(delivery)
        except (UnavailableError, ProtocolError) as error:
            log.warning("delivery_postponed", subject=delivery.subject, error=str(error))
            self._later(delivery)
        except Exception:  # The one supervisor of arrivals.
            log.exception("arrival_failed", subject=delivery.subject)
            self._later(delivery)
        finally:
            if run not in self._live:
                self._give_place(run)

    async def _decide(self, delivery: Delivery, run: str) -> None:
        last = await self.door.last(self.subjects.log(run))
        if run in self._live:  # Another delivery of this run was faster.
            self._ring(run, delivery)
        elif self._is_draining:
            self.door.nak(delivery)
        elif last is None:
            await self._decide_without_journal(delivery, run)
        else:
            await self._decide_with_journal(delivery, run, last)

    # Nothing is recorded yet.

    async def _decide_without_journal(self, delivery: Delivery, run: str) -> None:
        if isinstance(parse(delivery.subject), WakeSubject):
            await self._ring_off(delivery, run)
        elif decode_start(delivery.data).run.origin is not None:
            await self._park_corrupt(delivery, run, delivery.subject.split(".")[4], _NO_COPY, None)
        elif delivery.delivered == 1:
            # It has waited for a worker: what was sent meanwhile, a cancel for example, comes before its first step.
            mailbox = self.subjects.wake(delivery.subject.split(".")[4], run)
            start = decode_start(delivery.data).run
            if await is_orphan(self.door, self.subjects, start):
                await self.door.publish(mailbox, encode(ParentOver(parent=start.parent or "")))
            has_mail = await self.door.next(mailbox, after=0) is not None
            if run in self._live:
                self._ring(run, delivery)
            else:
                self._begin(delivery, run, start, has_mail=has_mail)
        elif await self._ask_everyone(delivery, run) != _MINE:
            await self._begin_again(delivery, run)

    async def _ring_off(self, delivery: Delivery, run: str) -> None:
        """Whoever drives the start reads the mailbox; without a start nobody ever will."""
        if await read_start(self.door, self.subjects, run) is None:
            # Not what follows: the run may be started, and sent a message, at this very moment.
            await self.door.purge(delivery.subject, below=delivery.sequence + 1)
        elif isinstance(_wake_in(delivery), Relit | TimerDue):
            await self._park_corrupt(delivery, run, delivery.subject.split(".")[4], _NO_JOURNAL, None)
            return
        self.door.ack(delivery)

    def _begin(self, delivery: Delivery, run: str, started: r.RunStarted, *, has_mail: bool = False) -> None:
        program = self.programs.create(run, started)
        actor = self._actor(run, program, Tail(), epoch=1, cursor=0)
        actor.begin(delivery, started, has_mail=has_mail)

    async def _begin_again(self, delivery: Delivery, run: str) -> None:
        """A start came again and nobody has it: it may have killed its worker, or its journal may be gone."""
        queue = delivery.subject.split(".")[4]
        if await self._has_lost_its_journal(queue, run):
            await self._park_corrupt(delivery, run, queue, _NO_JOURNAL, None)
            return
        start = decode_start(delivery.data)
        now_ms = self.door.clock.now_ms()
        turn = Turn(VERSION, 0, "", "", 0, 0, now_ms, "", (start.run,))
        await self._take_over(
            delivery, run, History((turn,), Tail(at_ms=now_ms)), r.Claimed("redelivered", deaths=1), None
        )

    async def _has_lost_its_journal(self, queue: str, run: str) -> bool:
        mailbox = self.subjects.wake(queue, run)
        after = 0
        while stored := await self.door.next(mailbox, after=after):
            if isinstance(decoded(stored.subject, stored.data), Relit | TimerDue):
                return True
            after = stored.sequence
        return False

    async def _ask_everyone(self, delivery: Delivery, run: str) -> bytes | None:
        return await self.door.ask_every_worker(
            self._question(delivery, run, everyone=True), timeout_s=LIMITS.ask_all_s
        )

    # A journal exists.

    async def _decide_with_journal(self, delivery: Delivery, run: str, last: Stored) -> None:
        try:
            tail = decode_turn(last.data)
        except ProtocolError as error:
            if is_of_later_version(last.data):
                raise
            problem = f"the last turn (sequence {last.sequence}): {error}"
            await self._park_corrupt(delivery, run, delivery.subject.split(".")[4], problem, last)
            return
        await self._decide_by_tail(delivery, run, last, tail)

    async def _decide_by_tail(self, delivery: Delivery, run: str, last: Stored, tail: Turn | Tombstone) -> None:
        if isinstance(tail, Tombstone):
            await self.door.purge(delivery.subject)
            self.door.ack(delivery)
        elif isinstance(tail.records[-1], r.ENDS):
            await self._finish(delivery, run, last, tail)
            if isinstance(parse(delivery.subject), WakeSubject) and not tail.family:
                # Nobody reads it any more; whoever gets this id after the retirement must not find it.
                await self.door.purge(delivery.subject)
            self.door.ack(delivery)
        elif tail.epoch == COPIED_EPOCH:
            await self._resume(delivery, run, last, tail, "forked")
        elif tail.owner == self.worker:
            await self._resume(delivery, run, last, tail, None)
        else:
            await self._decide_by_owner(delivery, run, last, tail)

    async def _decide_by_owner(self, delivery: Delivery, run: str, last: Stored, tail: Turn) -> None:
        is_lease = delivery.delivered > 1 and _is_lease(delivery, tail)
        if not is_lease and await self._take_if_it_rests_nowhere(delivery, run, last, tail):
            return
        try:
            answer = await self.door.ask(WorkerId(tail.owner), self._question(delivery, run), timeout_s=LIMITS.ask_s)
        except Silent:
            if is_lease:
                await self._resume(delivery, run, last, tail, "owner_silent")
            else:
                # It comes again because we gave it back. That may count as a lapsed lease only after a lease's time.
                self._later(delivery, delay_s_min=LIMITS.ack_wait_s if _is_lease(delivery, tail) else 0.0)
            return
        if answer == _MINE:
            self.door.release(delivery)
        elif answer == _NOT_MINE:
            await self._resume(delivery, run, last, tail, "handed_over")
        else:
            # A zombie may have acknowledged the lease: then no redelivery will ever say what these have said.
            is_lease = is_lease or delivery.delivered > _IN_VAIN_MAX
            await self._resume(delivery, run, last, tail, "owner_gone", only_if_waiting=not is_lease)

    async def _take_if_it_rests_nowhere(self, delivery: Delivery, run: str, last: Stored, tail: Turn) -> bool:
        """Take a run that has waited for long without asking: nobody keeps its coroutine or runs its steps."""
        if self.door.clock.now_ms() - tail.at_ms < 1200 * LIMITS.linger_s:
            return False
        history = await self._history(delivery, run, last)
        if history is None:
            return True
        state = _state_of(history)
        if state.steps:  # One that waits for its next attempt may be launched by its owner at any moment.
            return False
        await self._take_over(delivery, run, history, _claim(state, "handed_over"), state)
        return True

    async def _history(self, delivery: Delivery, run: str, last: Stored) -> History | None:
        """Return the history, or None if it is broken and the run is parked for it."""
        try:
            history = await read_history(self.door, self.subjects.log(run), last)
            if not isinstance(history.turns[0].records[0], r.RunStarted):
                raise BrokenChainError("the first turn is no start")
            if is_incomplete(history):
                raise BrokenChainError("it is a copy that was not finished; repeat the fork under another id")
        except BrokenChainError as error:
            await self._park_corrupt(delivery, run, delivery.subject.split(".")[4], str(error), last)
            return None
        return history

    async def _resume(
        self,
        delivery: Delivery,
        run: str,
        last: Stored,
        tail: Turn,
        cause: str | None,
        *,
        only_if_waiting: bool = False,
    ) -> None:
        history = await self._history(delivery, run, last)
        if history is None:
            return
        state = _state_of(history)
        if only_if_waiting and state.has_work:
            self._later(delivery)
            return
        await self._take_over(delivery, run, history, _claim(state, cause), state)

    async def _take_over(
        self, delivery: Delivery, run: str, history: History, claim: r.Claimed | None, state: RunState | None
    ) -> None:
        """Drive a run from its history; without a state nothing of it is stored."""
        started = history.turns[0].records[0]
        assert isinstance(started, r.RunStarted)
        program = self.programs.create(run, started)
        tail = history.turns[-1]
        epoch = tail.epoch if tail.owner == self.worker else tail.epoch + 1
        if delivery.delivered != 1 and state is not None:
            # Sent before the claim: if this process dies in between, the message wakes the run all the same.
            await self._relight(delivery.subject.split(".")[4], run, epoch)
        if run in self._live:
            program.close()
            self._ring(run, delivery)
            return
        if self._is_draining:
            program.close()
            self.door.nak(delivery)
            return
        actor = self._actor(run, program, history.tail, epoch=epoch, cursor=tail.cursor)
        if state is not None:
            actor.resume(delivery, history.turns, claim, state)
        else:
            actor.begin(delivery, started, claim, has_mail=True)

    async def _relight(self, queue: str, run: str, epoch: int) -> None:
        await self.door.publish(self.subjects.wake(queue, run), encode(Relit(owner=self.worker, epoch=epoch)))

    async def _park_corrupt(self, delivery: Delivery, run: str, queue: str, problem: str, last: Stored | None) -> None:
        """Nothing is skipped or guessed: the run waits for a person."""
        log.error("run_corrupt", run=run, problem=problem)
        turn = _readable(last)
        if turn is None or not any(isinstance(one, r.Parked) and one.reason == "corrupt" for one in turn.records):
            tail = Tail() if last is None else _tail_of(last, turn)
            journal = self._journal(run, tail)
            try:
                await journal.append(
                    (r.Parked("corrupt", problem),),
                    epoch=tail.epoch + 1,
                    lease=delivery.sequence,
                    cursor=0,
                    at_ms=max(tail.at_ms, self.door.clock.now_ms()),
                )
            except Displaced:
                self._later(delivery)
                return
        self.door.ack(delivery)

    async def _finish(self, delivery: Delivery, run: str, last: Stored, tail: Turn) -> None:
        """What follows the end may have been lost with the worker that wrote it: then its lease comes again."""
        if tail.family and _is_lease(delivery, tail):
            history = await self._history(delivery, run, last)
            if history is not None:
                await tell_family(self.door, self.subjects, run, _state_of(history))
        if await self.door.last(self.subjects.timers(run)) is not None:
            await self.door.purge(self.subjects.timers(run))
        start = await read_start(self.door, self.subjects, run)
        client = "" if start is None else start.started.client
        self.door.notify(self.subjects.done(client or "-", run))

    # Small things.

    def _actor(self, run: str, program: p.Program, tail: Tail, *, epoch: int, cursor: int) -> RunActor:
        actor = RunActor(self, run, program=program, journal=self._journal(run, tail), epoch=epoch, cursor=cursor)
        self._live[run] = actor
        return actor

    def _journal(self, run: str, tail: Tail) -> Journal:
        return Journal(
            self.door, self.subjects.log(run), owner=self.worker, new_append_id=self._new_append_id, tail=tail
        )

    def _new_append_id(self) -> str:
        return f"{self.worker}.{next(self._append_ids)}"

    def _question(self, delivery: Delivery, run: str, *, everyone: bool = False) -> bytes:
        return encode(
            AskOwner(
                asker=self.worker,
                run=run,
                subject=delivery.subject,
                sequence=delivery.sequence,
                token=delivery.token,
                delivered=delivery.delivered,
                data=Raw(delivery.data),
                fence=delivery.fence,
                everyone=everyone,
                asked_ms=self.door.clock.now_ms(),
            )
        )

    def _later(self, delivery: Delivery, *, delay_s_min: float = 0.0) -> None:
        """Have it delivered again, later each time: nothing loops hot."""
        if delivery.delivered == SECOND_HAND:
            return  # It may be somebody's lease by now. If it is not, the server delivers it again.
        delay_s = min(LIMITS.nak_delay_s * 2 ** min(delivery.delivered - 1, 10), LIMITS.nak_delay_max_s)
        self.door.nak(delivery, delay_s=max(delay_s, delay_s_min))


def _state_of(history: History) -> RunState:
    return fold((turn.at_ms, turn.records) for turn in history.turns)


def _claim(state: RunState, cause: str | None) -> r.Claimed | None:
    """A run that waits is taken over by its next turn; one with a step to launch gets a claim before that.

    A step that waits for its next attempt may be due by now. Also a run that this very worker owned (`cause` is None):
    another may have claimed it a moment ago.
    """
    if state.parked is not None or not state.steps:
        return None
    if cause is None:
        return r.Claimed("resumed", state.deaths)
    return r.Claimed(cause, 0 if cause in ("handed_over", "forked") else state.deaths + state.has_work)


def _is_lease(delivery: Delivery, tail: Turn) -> bool:
    if delivery.sequence == tail.lease:
        return True
    wake = _wake_in(delivery) if b'"Relit"' in delivery.data else None
    return isinstance(wake, Relit) and wake.epoch == tail.epoch


def _wake_in(delivery: Delivery) -> Wake | None:
    return decoded(delivery.subject, delivery.data)


def _tail_of(last: Stored, turn: Turn | None) -> Tail:
    """Where the message that parks a corrupt run is appended; an unreadable tail has no number to follow."""
    if turn is None:
        return Tail(last.sequence, 0, hash_of(last.data))
    return Tail(last.sequence, turn.number, hash_of(last.data), turn.at_ms, turn.epoch)


def _readable(last: Stored | None) -> Turn | None:
    try:
        turn = None if last is None else decode_turn(last.data)
    except ProtocolError:
        return None
    return turn if isinstance(turn, Turn) else None
