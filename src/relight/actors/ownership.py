"""The ownership rule: what a worker does with a delivery of a run whose coroutine it does not have.

A delivery is only a doorbell. Who gets one reads the end of the run's journal from the leader:

- nothing there, a start's first delivery: drive it;
- nothing there, a start's later delivery: somebody may be in its first steps, or about to begin; ask all workers, claim
  if none is. If one does not answer come back later, until nobody could begin it without a look any more;
- nothing there, a wake: whoever drives the start reads the mailbox after its first append; ring off;
- its turns were copied by a client (epoch 0): nobody has owned it; claim it, if its start is that of the fork. If
  another start was faster, remove the copy, and decide as if nothing were there;
- its owner has left it: claim it;
- an owner is named: ask it. "Mine": it has taken the token over. "Not mine": claim by an append under the next epoch.
  Nobody listens there: claim if the run waits or this delivery is its lease. Silent: claim only if this is its lease,
  delivered again, and the owner would look by now. Otherwise come back later: the lease's own redelivery decides.

Who may claim a run but does not have its code ends it if that needs none, or hands the delivery over to a worker that
has it, or gives it back. Who has the code looks for a `Terminate` before it runs, if what came is one, or has been with
another worker: the code may be what ended it.

Claiming is an append, so of two that claim one is refused; it starts from the top and finds the other named. It comes
before any code of the run is executed, if a step is under way or the code may have ended who had the run before.
"""

from __future__ import annotations

import traceback
from collections.abc import Awaitable, Callable
from functools import partial

import structlog
from msgspec import Raw

from relight.actors import program as p
from relight.actors.arrival import Arrival
from relight.actors.backoff import pause
from relight.actors.crew import Crew
from relight.actors.door import SECOND_HAND, Delivery, Silent, Stored, new_s
from relight.actors.endings import foreseen_ending
from relight.actors.entrance import Entrance
from relight.actors.family import has_family, is_orphan, may_be_orphan, tell_family, tell_parent
from relight.actors.fork import is_copied_for
from relight.actors.journal import BrokenChainError, Displaced, Tail, readable
from relight.actors.live_runs import LiveRuns
from relight.actors.mailbox import Mailbox, decoded, decoded_if_open
from relight.actors.reading import Reading, read
from relight.actors.rest import rests_nowhere
from relight.actors.roll_call import RollCall
from relight.actors.run.claim import claim, is_decision
from relight.actors.run.inbox import is_stuck_on_other_code
from relight.actors.run.last_turn import claimed_by, has_open_step, has_request, is_claim, seems_to_rest, was_left
from relight.actors.run.state import RunState, fold
from relight.actors.starts import is_current, read_start
from relight.config.limits import LIMITS
from relight.errors import ProtocolError, UnavailableError
from relight.subjects import records as r
from relight.subjects.codec import decode_start, decode_turn, encode, is_of_later_version
from relight.subjects.envelope import check_open, check_sealed
from relight.subjects.grammar import WakeSubject, parse
from relight.subjects.ids import WorkerId
from relight.subjects.messages import MINE, NOT_MINE, AskOwner, ParentOver, Relit, Terminate, TimerDue, Wake
from relight.subjects.references import PREFIX
from relight.subjects.turn import COPIED_EPOCH, Tombstone, Turn, hash_of

__all__ = ("Ownership",)

log = structlog.get_logger("relight")

_IN_VAIN_MAX = 6
"""Deliveries of one message that found nobody. With their delays they take 30 s, three times `ack_wait`."""
_TRIED_MAX = 2
"""Deliveries after which the code may be what ends the workers: of a long history none is replayed before the claim."""
_NO_JOURNAL = "the mailbox knows of a journal that does not exist"
_NO_COPY = "the history that was copied for this fork does not exist"


class Ownership:
    """Decides whether this worker drives a run, and begins or resumes it."""

    def __init__(self, crew: Crew, live: LiveRuns) -> None:
        self._live = live
        self._door = crew.door
        self._subjects = crew.subjects
        self._worker = crew.worker
        self._code = crew.programs.code
        self._entrance = Entrance(crew, live)
        self._roll_call = RollCall(crew.door, crew.worker)

    def begin_at_once(self, delivery: Delivery, run: str) -> bool:
        """Drive a start that nobody can have begun; an id that is taken or retired could not have been started."""
        try:
            stored = decode_start(delivery.data)
            start = stored.run
            if stored.sealed:
                return False  # Its data key may have to be read first.
            if start.origin is not None or may_be_orphan(start, self._door.clock):
                return False
            if PREFIX in delivery.data:
                return False  # Arguments may have to be read first.
            self._entrance.begin_alone(delivery, run, start)
        except (p.UnknownWorkflowError, ProtocolError):
            return False  # It is told and given back where all others are.
        return True

    async def settle(self, delivery: Delivery, run: str, owner: WorkerId | None = None) -> WorkerId | None:
        """Do with a delivery what the rule says, or have it come again later.

        Args:
            delivery: Of a run whose coroutine this worker does not have.
            run: Its id.
            owner: Who took another delivery of the run a moment ago: asked first, because to look costs more.

        Returns:
            The worker that has taken the delivery over, if another one has.
        """
        try:
            if owner is not None and await self._is_taken_by(owner, self._question(delivery, run), delivery):
                return owner
            return await self._decide_or_hand_over(delivery, run)
        except p.UnknownWorkflowError as error:
            log.warning("workflow_unknown", run=run, workflow=str(error))
        except (UnavailableError, ProtocolError) as error:
            log.warning("delivery_postponed", subject=delivery.subject, error=str(error))
        except Exception:  # noqa: BLE001 - the one supervisor of arrivals
            log.error("arrival_failed", subject=delivery.subject, exception=traceback.format_exc())
        self._later(delivery)
        return None

    async def _is_taken_by(self, worker: WorkerId, question: AskOwner, delivery: Delivery) -> bool:
        try:
            answer = await self._door.ask(worker, encode(question), timeout_s=LIMITS.ask_s)
        except Silent:
            return False
        if answer == MINE:
            self._door.release(delivery)
        return answer == MINE

    async def _decide_or_hand_over(self, delivery: Delivery, run: str) -> WorkerId | None:
        """Given back, a delivery may come here again and again, although there is a worker that has the code."""
        try:
            return await self._decide(delivery, run)
        except p.UnknownWorkflowError as error:
            able = await self._roll_call.find_able(error.workflow, error.version, delivery.subject)
            if able is None or not await self._is_taken_by(able, self._question(delivery, run, lacks=error), delivery):
                raise
            return able

    async def _decide(self, delivery: Delivery, run: str) -> WorkerId | None:
        last = await self._door.last(self._subjects.log(run))
        if run in self._live.actors:  # Another delivery of this run was faster.
            self._live.ring(run, delivery)
        elif self._live.is_draining:
            self._door.nak(delivery)
        elif last is None:
            try:
                await self._decide_without_journal(delivery, run)
            except p.UnknownWorkflowError:
                if not await self._end_unbegun(delivery, run):
                    raise
        else:
            return await self._decide_with_journal(delivery, run, last)
        return None

    # Nothing is recorded yet.

    async def _decide_without_journal(self, delivery: Delivery, run: str) -> None:
        if isinstance(parse(delivery.subject), WakeSubject):
            await self._ring_off(delivery, run)
        elif (start := await self._start_in(delivery, run)).origin is not None:
            await self._park_corrupt(delivery, run, delivery.subject.split(".")[4], _NO_COPY, None)
        elif delivery.delivered == 1:
            # It has waited for a worker: what was sent meanwhile, a cancel for example, comes before its first step.
            mailbox = self._subjects.wake(delivery.subject.split(".")[4], run)
            await self._tell_orphan(start, mailbox)
            has_mail = await self._door.next(mailbox, after=0) is not None
            await self._entrance.begin(delivery, run, start, has_mail=has_mail)
        else:
            await self._decide_again_without_journal(delivery, run)

    async def _decide_again_without_journal(self, delivery: Delivery, run: str) -> None:
        """Whoever had the start before may drive it, or find it unread in his socket and begin it without a look."""
        try:
            driver = await self._roll_call.driver_of(run, seen_ms=delivery.stored_at_ms)
            # Among several servers the question may have overtaken the delivery to whoever has said no.
            is_certain = driver is not None or not self._door.is_spread
        except Silent:
            driver, is_certain = None, False
        if not is_certain and await self._may_begin_without_a_look(run):
            self._later(delivery)
        elif driver is None:
            await self._begin_again(delivery, run)
        elif not await self._is_taken_by(driver, self._question(delivery, run), delivery):
            self._later(delivery)

    async def _may_begin_without_a_look(self, run: str) -> bool:
        """Whether somebody could, for whom this start is new (`Delivery.is_new`)."""
        start = await read_start(self._door, self._subjects, run)
        young_ms = 1000 * new_s(is_spread=self._door.is_spread)
        return start is not None and self._door.clock.now_ms() - start.stored_at_ms < young_ms

    async def _ring_off(self, delivery: Delivery, run: str) -> None:
        """Whoever drives the start reads the mailbox; without a start nobody ever will."""
        if await read_start(self._door, self._subjects, run) is None:
            if isinstance(_wake_in(delivery), ParentOver) and delivery.delivered < _IN_VAIN_MAX:
                # The child's start may be on its way, and too new to be looked at as an orphan's.
                self._later(delivery)
                return
            # Not what follows: the run may be started, and sent a message, at this very moment.
            await self._door.purge(delivery.subject, below=delivery.sequence + 1)
        elif _is_doorbell(_wake_in(delivery)):
            await self._park_corrupt(delivery, run, delivery.subject.split(".")[4], _NO_JOURNAL, None)
            return
        self._door.ack(delivery)

    async def _begin_again(self, delivery: Delivery, run: str) -> None:
        """A start came again and nobody has it: it may have killed its worker, or its journal may be gone."""
        queue = delivery.subject.split(".")[4]
        stored = await read_start(self._door, self._subjects, run)
        if stored is None or stored.sequence != delivery.sequence:
            # It lay here while the run ended elsewhere and was retired; by now the id may be another run's.
            self._door.ack(delivery)
            return
        if await self._has_lost_its_journal(queue, run):
            await self._park_corrupt(delivery, run, queue, _NO_JOURNAL, None)
            return
        start = await self._start_in(delivery, run)
        if await self._end_start(delivery, run, start, has_code=True):
            return
        await self._tell_orphan(start, self._subjects.wake(queue, run))
        await self._entrance.begin(delivery, run, start, r.Claimed("redelivered", deaths=1))

    async def _tell_orphan(self, start: r.RunStarted, mailbox: str) -> None:
        """A start that came after its parent's end was told nothing by it."""
        if await is_orphan(self._door, self._subjects, start):
            await self._door.publish(mailbox, encode(ParentOver(parent=start.parent or "")))

    async def _start_in(self, delivery: Delivery, run: str) -> r.RunStarted:
        """Return a start with what users put in. Raises `SealedError` if that can't be opened here."""
        start = decode_start(await self._opened(delivery))
        check_open(start, run)
        return start.run

    async def _opened(self, delivery: Delivery) -> bytes:
        seal = self._door.seal
        return delivery.data if seal is None else await seal.opened(delivery.subject, delivery.data)

    async def _has_lost_its_journal(self, queue: str, run: str) -> bool:
        return await self._has_mail(queue, run, 0, _is_doorbell)

    async def _has_mail(self, queue: str, run: str, after: int, is_meant: Callable[[Wake | None], bool]) -> bool:
        mailbox = self._subjects.wake(queue, run)
        while stored := await self._door.next(mailbox, after=after):
            if is_meant(decoded_if_open(stored.subject, stored.data)):
                return True
            after = stored.sequence
        return False

    # A journal exists.

    async def _decide_with_journal(self, delivery: Delivery, run: str, last: Stored) -> WorkerId | None:
        try:
            tail = decode_turn(last.data)
        except ProtocolError as error:
            if is_of_later_version(last.data):
                raise
            problem = f"the last turn (sequence {last.sequence}): {error}"
            await self._park_corrupt(delivery, run, delivery.subject.split(".")[4], problem, last)
            return None
        if isinstance(tail, Turn) and tail.epoch != COPIED_EPOCH and not isinstance(tail.records[-1], r.ENDS):
            check_open(tail, run)
        return await self._decide_by_tail(delivery, run, last, tail)

    async def _decide_by_tail(
        self, delivery: Delivery, run: str, last: Stored, tail: Turn | Tombstone
    ) -> WorkerId | None:
        if isinstance(tail, Tombstone):
            await self._door.purge(delivery.subject, below=delivery.sequence + 1)
            self._door.ack(delivery)
        elif isinstance(tail.records[-1], r.ENDS):
            await self._finish(delivery, run, last, tail)
            if isinstance(parse(delivery.subject), WakeSubject) and not tail.family:
                # Nobody reads it any more; whoever gets this id after the retirement must not find it.
                await self._door.purge(delivery.subject, below=delivery.sequence + 1)
            self._door.ack(delivery)
        elif tail.epoch == COPIED_EPOCH:
            return await self._decide_copied(delivery, run, last, tail)
        elif was_left(tail):
            await self._resume(delivery, run, last, tail, "handed_over")
        elif tail.owner == self._worker:
            await self._resume(delivery, run, last, tail, None)
        else:
            return await self._decide_by_owner(delivery, run, last, tail)
        return None

    async def _decide_copied(self, delivery: Delivery, run: str, last: Stored, tail: Turn) -> WorkerId | None:
        """The start decides: what was copied for a fork that was never started is no part of the run that was."""
        start = await read_start(self._door, self._subjects, run)
        if start is None:
            await self._ring_off(delivery, run)
            return None
        check_sealed(start.sealed, run)
        if await is_copied_for(start.started, self._door, self._subjects, run):
            check_open(tail, run)
            await self._resume(delivery, run, last, tail, "forked")
            return None
        # Nobody has owned it, and nobody will: the id is taken, so its fork is refused.
        await self._door.purge(self._subjects.log(run), below=last.sequence + 1)
        return await self._decide(delivery, run)

    async def _decide_by_owner(self, delivery: Delivery, run: str, last: Stored, tail: Turn) -> WorkerId | None:
        is_lease = delivery.delivered > 1 and _is_lease(delivery, tail)
        if not is_lease and await self._take_if_it_rests_nowhere(delivery, run, last, tail):
            return None
        try:
            question, seen_ms = encode(self._question(delivery, run)), last.stored_at_ms
            answer = await self._door.ask(WorkerId(tail.owner), question, timeout_s=LIMITS.ask_s, seen_ms=seen_ms)
        except Silent:
            trusts_itself_s = (last.stored_at_ms - self._door.clock.now_ms()) / 1000 + LIMITS.ack_wait_s / 2
            if is_lease and trusts_itself_s > 0:
                # Freed by a sweep, before it lapsed: if the owner is only stopped, it may yet launch without a look.
                self._later(delivery, delay_s_min=trusts_itself_s)
            elif is_lease:
                await self._resume(delivery, run, last, tail, "owner_silent")
            else:
                # It comes again because we gave it back. That may count as a lapsed lease only after a lease's time.
                self._later(delivery, delay_s_min=LIMITS.ack_wait_s if _is_lease(delivery, tail) else 0.0)
            return None
        if answer == MINE:
            self._door.release(delivery)
            return WorkerId(tail.owner)
        if answer == NOT_MINE:
            await self._resume(delivery, run, last, tail, "handed_over")
        else:
            # A zombie may have acknowledged the lease: then no redelivery will ever say what these have said.
            is_lease = is_lease or delivery.delivered > _IN_VAIN_MAX
            await self._resume(delivery, run, last, tail, "owner_gone", only_if_waiting=not is_lease)
        return None

    async def _take_if_it_rests_nowhere(self, delivery: Delivery, run: str, last: Stored, tail: Turn) -> bool:
        """Take a run that has waited for long without asking: nobody keeps its coroutine or runs its steps."""
        if not rests_nowhere(tail.at_ms, self._door.clock.now_ms()) or has_open_step(tail) or is_claim(tail):
            return False
        with self._entrance.arrival(run) as arrival:
            reads = seems_to_rest(tail) and not _is_tried(delivery, tail)
            reading = arrival.read(last) if reads else arrival.look(last)
            history = await self._history(delivery, run, last, reading)
            if history is None:
                return True
            if history.state.steps:  # One that waits for its next attempt may be launched by its owner at any moment.
                return False
            await self._take_over(delivery, arrival, "handed_over")
        return True

    async def _history(self, delivery: Delivery, run: str, last: Stored, reading: Awaitable[Reading]) -> Reading | None:
        """Return the history, or None if it is broken and the run is parked for it."""
        try:
            history = await reading
            if history.is_incomplete:
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
        with self._entrance.arrival(run) as arrival:
            only_looks = only_if_waiting or _is_tried(delivery, tail)
            reading = arrival.look(last) if only_looks else arrival.read(last)
            history = await self._history(delivery, run, last, reading)
            if history is None:
                return
            if only_if_waiting and history.state.has_work:
                self._later(delivery)
                return
            await self._take_over(delivery, arrival, cause)

    async def _take_over(self, delivery: Delivery, arrival: Arrival, cause: str | None) -> None:
        """Drive a run from its history; or end it, if for that nobody needs its code."""
        if _may_be_terminated(delivery) and await self._end_over(delivery, arrival, has_code=True):
            return
        last = arrival.history.last
        assert last is not None, "something was read"
        claimed = claim(arrival.history.state, last, cause, delivered=delivery.delivered)
        if claimed is not None and await self._is_known_to_be_harmless(delivery, arrival.history, last):
            claimed = None
        if claimed is not None and await self._is_back_in_time(claimed, WorkerId(last.owner), delivery, arrival.run):
            return
        try:
            if not await self._entrance.resume(delivery, arrival, claimed):
                self._later(delivery)
        except p.UnknownWorkflowError:
            if not await self._end_over(delivery, arrival):
                raise

    async def _is_known_to_be_harmless(self, delivery: Delivery, history: Reading, last: Turn) -> bool:
        """Whether somebody has tried the held run in vain, and lives; and nothing has come that lets it go on.

        Else one whose mailbox holds what no turn can hold would be claimed each time that this is tried.
        """
        state = history.state
        if (state.parked is None and not state.is_paused) or claimed_by(last) != r.RESUMED:
            return False
        if is_stuck_on_other_code(state, self._code):
            return False
        _, _, _, _, queue, run = delivery.subject.split(".")
        return not await self._has_mail(queue, run, last.cursor, is_decision)

    async def _is_back_in_time(self, claim: r.Claimed, owner: WorkerId, delivery: Delivery, run: str) -> bool:
        """Whether an owner whose death would park the run has only been cut off, and has it: there is no hurry then."""
        if claim.cause != "owner_gone" or claim.deaths < LIMITS.deaths_max:
            return False
        await pause(self._door.clock, LIMITS.return_s)
        return await self._is_taken_by(owner, self._question(delivery, run), delivery)

    async def _end_over(self, delivery: Delivery, arrival: Arrival, *, has_code: bool = False) -> bool:
        run, history = arrival.run, arrival.history
        assert history.last is not None, "something was read"
        epoch = self._entrance.epoch_after(history.last)
        cursor = history.last.cursor
        return await self._end_without_code(
            delivery, run, history.state, history.tail, epoch, cursor, has_code=has_code
        )

    async def _end_unbegun(self, delivery: Delivery, run: str) -> bool:
        started = await self._start_in(delivery, run)
        if not await is_current(self._door, self._subjects, run, delivery):
            self._door.ack(delivery)
            return True
        return await self._end_start(delivery, run, started, has_code=False)

    async def _end_start(self, delivery: Delivery, run: str, started: r.RunStarted, *, has_code: bool) -> bool:
        state = fold([(self._door.clock.now_ms(), (started,))])
        return await self._end_without_code(delivery, run, state, Tail(), 1, 0, started, has_code=has_code)

    async def _end_without_code(
        self,
        delivery: Delivery,
        run: str,
        state: RunState,
        tail: Tail,
        epoch: int,
        cursor: int,
        *opening: r.RunStarted,
        has_code: bool,
    ) -> bool:
        """End a run if none of its code is needed for that; False if it is."""
        queue = delivery.subject.split(".")[4]
        now_ms = max(state.at_ms, self._door.clock.now_ms())
        mailbox = Mailbox(self._door, self._subjects.wake(queue, run))
        ending = await foreseen_ending(mailbox, state, cursor=cursor, now_ms=None if has_code else now_ms)
        if ending is None:
            return False
        journal = self._entrance.journal(run, tail)
        try:
            await journal.append(
                (*opening, ending.end),
                epoch=epoch,
                lease=delivery.sequence,
                cursor=ending.cursor,
                at_ms=now_ms,
                family=has_family(state),
                values=True,  # Nobody has looked: they are looked for when it is retired.
                # Without a journal it would say that one was lost; and nobody acknowledges a start yet.
                before=None if opening else partial(self._entrance.relight, delivery, run, epoch),
            )
        except Displaced:
            self._later(delivery)
        else:
            if opening and not await is_current(self._door, self._subjects, run, delivery):
                await self._door.purge(self._subjects.log(run), below=journal.tail.sequence + 1)
            await self._decide(delivery, run)  # What follows an end.
        return True

    async def _park_corrupt(self, delivery: Delivery, run: str, queue: str, problem: str, last: Stored | None) -> None:
        """Nothing is skipped or guessed: the run waits for a person."""
        log.error("run_corrupt", run=run, problem=problem)
        turn = readable(last)
        is_parked = turn is not None and any(
            isinstance(one, r.Parked) and one.reason == "corrupt" for one in turn.records
        )
        ending = await self._ending_of_corrupt(delivery, run)
        records = (*(() if is_parked else (r.Parked("corrupt", problem),)), *(() if ending is None else (ending,)))
        tail = Tail() if last is None else _tail_of(last, turn)
        try:
            if records:
                await self._entrance.journal(run, tail).append(
                    records,
                    epoch=tail.epoch + 1,
                    lease=delivery.sequence,
                    cursor=0,
                    at_ms=max(tail.at_ms, self._door.clock.now_ms()),
                    values=ending is not None,
                )
        except Displaced:
            self._later(delivery)
        else:
            if ending is not None:
                await self._decide(delivery, run)  # What follows an end.
            else:
                self._door.ack(delivery)

    async def _ending_of_corrupt(self, delivery: Delivery, run: str) -> r.RunTerminated | None:
        """A person ends it. Its parent is told first: afterwards nobody could read that it has one."""
        if not isinstance(parse(delivery.subject), WakeSubject):
            return None
        wake = decoded(delivery.subject, await self._opened(delivery))
        if not isinstance(wake, Terminate):
            return None
        ending = r.RunTerminated(wake.reason)
        start = await read_start(self._door, self._subjects, run)
        if start is not None and start.started.parent is not None:
            await tell_parent(self._door, self._subjects, run, start.started, ending)
        return ending

    async def _finish(self, delivery: Delivery, run: str, last: Stored, tail: Turn) -> None:
        """What follows the end may have been lost with the worker that wrote it: then its lease comes again."""
        if tail.family and _is_lease(delivery, tail):
            check_open(tail, run)
            history = await self._history(delivery, run, last, read(self._door, self._subjects.log(run), last))
            if history is not None:
                await tell_family(self._door, self._subjects, run, history.state)
        if await self._door.last(self._subjects.timers(run)) is not None:
            await self._door.purge(self._subjects.timers(run), below=last.sequence)
        start = await read_start(self._door, self._subjects, run)
        client = "" if start is None else start.started.client
        self._door.notify(self._subjects.done(client or "-", run))

    # Small things.

    def _question(self, delivery: Delivery, run: str, *, lacks: p.UnknownWorkflowError | None = None) -> AskOwner:
        return AskOwner(
            asker=self._worker,
            run=run,
            subject=delivery.subject,
            sequence=delivery.sequence,
            token=delivery.token,
            delivered=delivery.delivered,
            data=Raw(delivery.data),
            fence=delivery.fence,
            asked_ms=self._door.clock.now_ms(),
            new_until_ms=delivery.new_until_ms,
            workflow="" if lacks is None else lacks.workflow,
            version="" if lacks is None else lacks.version,
        )

    def _later(self, delivery: Delivery, *, delay_s_min: float = 0.0) -> None:
        """Have it delivered again, later each time."""
        if delivery.delivered == SECOND_HAND:
            return  # It may be somebody's lease by now. If it is not, the server delivers it again.
        self._door.nak(delivery, delay_s=max(delivery.postponed_s, delay_s_min))


def _may_be_terminated(delivery: Delivery) -> bool:
    """Whether a `Terminate` is looked for before any code runs: the code may be what ends the workers.

    A fresh lease may be that of an owner whom the code has ended.
    """
    return delivery.delivered > 1 or b'"Terminate"' in delivery.data or b'"Relit"' in delivery.data


def _is_tried(delivery: Delivery, tail: Turn) -> bool:
    """Whether of a long history none is to be replayed before the claim: that may be what ended those who had it."""
    return delivery.delivered > _TRIED_MAX or b'"Terminate"' in delivery.data or not has_request(tail)


def _is_lease(delivery: Delivery, tail: Turn) -> bool:
    if delivery.sequence == tail.lease:
        return True
    wake = _wake_in(delivery) if b'"Relit"' in delivery.data else None
    return isinstance(wake, Relit) and wake.epoch == tail.epoch


def _is_doorbell(wake: Wake | None) -> bool:
    """Whether it is a lease or an alarm, which there are only for a run that has a journal, and no code sees."""
    return isinstance(wake, Relit | TimerDue)


def _wake_in(delivery: Delivery) -> Wake | None:
    return decoded_if_open(delivery.subject, delivery.data)


def _tail_of(last: Stored, turn: Turn | None) -> Tail:
    """Where the message that parks a corrupt run is appended; an unreadable tail has no number to follow."""
    if turn is None:
        return Tail(last.sequence, 0, hash_of(last.as_stored))
    return Tail(last.sequence, turn.number, hash_of(last.as_stored), turn.at_ms, turn.epoch)
