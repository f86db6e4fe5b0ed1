"""The actor of one run: takes what came, lets the code decide, appends the turn, then acts.

The order at the end of each turn is what every guarantee rests on:

    append → its acknowledgement → steps launched, doorbells acknowledged
           → next timer armed → mailbox read again → lease let go

Nothing leaves the process before the append is acknowledged. The one exception is a start's first delivery: the start
is the durable record from which its first steps follow, so they are launched at once, and the first turn is appended
with the first outcome or after `limits.claim_s`, whichever comes first.
"""

from __future__ import annotations

import asyncio
import traceback
from collections.abc import Sequence
from functools import partial

import structlog

from relight.actors import program as p
from relight.actors.arrival import Arrival
from relight.actors.attempts import Attempts, Beats
from relight.actors.crew import Crew
from relight.actors.door import Delivery, Handle, KeyDestroyedError
from relight.actors.doorbells import Doorbells, is_wake, relit_in
from relight.actors.due_alarm import DueAlarm
from relight.actors.family import has_family, tell_family
from relight.actors.journal import Displaced, Journal, Unfit
from relight.actors.mailbox import Mailbox
from relight.actors.replies import tell_askers
from relight.actors.reports import report
from relight.actors.rest import is_anybodys
from relight.actors.run.alarm import Armed
from relight.actors.run.draft import Draft
from relight.actors.run.last_turn import is_quarantine
from relight.actors.run.length import purges_mailbox
from relight.actors.run.state import RunState
from relight.actors.title import Title
from relight.actors.values import fill, filled, store
from relight.config.limits import LIMITS
from relight.errors import ProtocolError, UnavailableError
from relight.subjects import records as r
from relight.subjects.codec import encode, notice_of
from relight.subjects.messages import Terminate
from relight.subjects.references import references_in

__all__ = ("RunActor",)

log = structlog.get_logger("relight")


class RunActor:
    """Drives one run while this worker owns it."""

    __slots__ = (
        "_alarm",
        "_armed",
        "_arrival",
        "_attempts",
        "_beats",
        "_bell",
        "_claim",
        "_claimed_as",
        "_comes_in",
        "_consumed",
        "_crew",
        "_cursor",
        "_door",
        "_doorbells",
        "_draft",
        "_epoch",
        "_hands_back",
        "_holds_first_turn",
        "_is_back",
        "_is_resumed",
        "_journal",
        "_mailbox",
        "_mailbox_alarm",
        "_queue",
        "_reads_mailbox",
        "_rung",
        "_taken_s",
        "_takes_over",
        "_task",
        "_title",
        "_tried_up_to",
        "run",
    )

    def __init__(self, crew: Crew, run: str, *, draft: Draft, journal: Journal, epoch: int, cursor: int) -> None:
        self.run, self._queue = run, ""
        self._crew, self._door = crew, crew.door
        self._journal = journal
        self._epoch, self._cursor, self._consumed = epoch, cursor, 0
        self._doorbells = Doorbells(crew.door, run)
        self._is_resumed = self._is_back = self._hands_back = self._holds_first_turn = self._comes_in = False
        self._arrival: Arrival | None = None
        self._claimed_as = self._tried_up_to = 0
        self._drive_by(draft)
        self._task: asyncio.Task[None] | None = None
        self._bell: asyncio.Future[None] | None = None
        self._reads_mailbox = self._rung = self._takes_over = False
        self._claim: Handle | None = None
        self._alarm = DueAlarm(crew.door.clock)
        self._mailbox_alarm: Handle | None = None
        self._armed = Armed()
        self._title = Title(crew.door, crew.subjects, run, journal)
        self._taken_s = self._title.proven_s
        self._mailbox: Mailbox | None = None

    def _drive_by(self, draft: Draft) -> None:
        self._draft = draft
        self._attempts = Attempts(draft, self._ring)
        self._beats = Beats(draft, self._door.clock, self._ring)

    @property
    def lease(self) -> Delivery | None:
        """The delivery under which the run is owned; None while it rests."""
        return self._doorbells.lease

    @property
    def state(self) -> RunState:
        return self._draft.state

    @property
    def history_bytes(self) -> int:
        """What the code was given, as stored: about as much as its coroutine may hold."""
        return self._journal.bytes + self._draft.shelf.bytes

    @property
    def steps_running(self) -> int:
        """Attempts that have not reported their outcome."""
        return self._attempts.count

    # Entering.

    def begin(self, lease: Delivery, started: r.RunStarted, *, is_alone: bool = False) -> None:
        """Drive a start that has no journal.

        Nothing is launched before the first append, because others may be about to begin it too, and the mailbox may
        hold what decides whether the first step runs at all; unless the caller knows that this worker `is_alone`.
        """
        self._doorbells.own(lease)
        self._draft.begin_at(self._door.clock.ms_at(self._title.proven_s))
        self._draft.record(started)
        self._queue = started.queue
        self._reads_mailbox = not is_alone
        self._holds_first_turn = is_alone and self._draft.may_be_held
        if self._holds_first_turn:
            self._launch(self._title.proven_s)
            self._claim = self._crew.claims.call(self._append_first_turn, self._title.proven_s)
        self._go()

    def begin_again(self, lease: Delivery, started: r.RunStarted, claim: r.Claimed) -> None:
        """Drive a start that others may have had; `claim` is stored before its code runs."""
        self._doorbells.own(lease)
        self._draft.begin_at(self._door.clock.ms_at(self._title.proven_s))
        self._draft.begin_again(started, claim)
        self._queue = started.queue
        self._reads_mailbox = self._comes_in = True
        self._go()

    def resume(self, lease: Delivery, claim: r.Claimed | None, arrival: Arrival) -> None:
        """Drive a run whose history the draft has replayed; or, after `claim` is stored, the `arrival` will."""
        self._doorbells.take(lease, owner=self._crew.worker, epoch=self._epoch)
        self._takes_over = lease.delivered != 1 or relit_in(lease) is None
        self._title.proven_s = arrival.history.began_s
        self._is_resumed = True
        self._armed.suppose(self.state)
        self._draft.begin_at(self._door.clock.now_ms())
        if self.state.started is not None:
            self._queue = self.state.started.queue
        if is_quarantine(arrival.history.last):
            self._tried_up_to = self._journal.tail.sequence
        if claim is None:
            # It is brought forward by the message that woke it; what else came has a doorbell of its own.
            self._draft.carry_on()
        else:
            self._draft.claim(claim)
            self._arrival = arrival
            self._reads_mailbox = self._comes_in = True
        self._mailbox_alarm = self._door.clock.call_later(LIMITS.lease_s_max, self._renew_lease)
        self._go()

    def take_doorbell(self, delivery: Delivery) -> None:
        """A delivery for this run came, or was handed over: its token is this worker's to answer for."""
        self._doorbells.take(delivery, owner=self._crew.worker, epoch=self._epoch)
        if self._task is None:
            self._go()
        self._ring()

    def look_after_gap(self) -> None:
        """The worker was out of contact: make sure that the run is still its own, and hold its deliveries again."""
        self._title.proven_s = float("-inf")
        self._is_back = True
        if self._task is not None:
            self._ring()

    def hand_back(self) -> None:
        """Launch nothing more, and leave once the steps under way have ended."""
        self._hands_back = True
        if self._task is None:
            self._leave(())
        self._ring()

    def stop_steps(self) -> None:
        """Tell all running steps to stop."""
        self._attempts.stop()

    def discard(self) -> None:
        """Throw the activation away: nothing that it still does has an effect."""
        task, self._task = self._task, None
        if task is not None and task is not asyncio.current_task():
            task.cancel()
        self._cancel_alarms()
        self._attempts.close()
        self._draft.program.close()
        if self._arrival is not None:
            self._arrival.close()

    def _go(self) -> None:
        self._task = self._crew.loop.create_task(self._drive())

    # The loop.

    async def _drive(self) -> None:
        try:
            try:
                await self._turns()
            except Unfit as error:
                await self._park_as_unfit(error)
        except Displaced:
            self._leave(self._doorbells.held())
        except (KeyDestroyedError, UnavailableError, ProtocolError) as error:
            log.warning("delivery_postponed", run=self.run, error=str(error))
            await self._postpone()
        except Exception:  # noqa: BLE001 - the one supervisor of this actor
            log.error("run_actor_failed", run=self.run, exception=traceback.format_exc())
            await self._postpone()

    async def _postpone(self) -> None:
        """Have it come again later; whoever gets it then is not to take this worker for dead."""
        if 0 < self._claimed_as == self._journal.tail.number:
            try:
                await self._append_notes(r.Claimed(r.RESUMED))
            except Exception as error:  # noqa: BLE001 - whatever it is, the deliveries are to be given back
                log.warning("claim_stands", run=self.run, error=str(error))
        self._doorbells.postpone()
        self._leave(())

    async def _park_as_unfit(self, error: Unfit) -> None:
        """What no message can hold fits at no later try: the run waits for other code, or a person."""
        if self._journal.tail.number == 0 or self.state.parked is not None:
            raise error
        what = f"what its code asks for does not fit: {error}"
        parked = r.Parked("stuck", what, "", self._crew.programs.code)
        await self._append_notes(parked, *((r.Claimed(r.RESUMED),) if self.state.was_claimed else ()))
        self._doorbells.postpone()
        self._leave(())

    async def _turns(self) -> None:
        if self._holds_first_turn:
            await self._wait()
        if self._comes_in:
            async with self._crew.last_try.of(self.state):
                await self._come_in()
                if self._draft.records:
                    await self._append()
                if self._draft.begins_anew(self._attempts.running):
                    raise Displaced(None)
        draft, attempts, bells = self._draft, self._attempts, self._doorbells
        while True:
            if self._is_back:
                await self._hold_again()
            if self._hands_back and not attempts.running and not draft.records:
                return await self._hand_over()
            await self._take()
            if bells.changes_lease and not draft.records and (self._has_local_work() or bells.is_distrusted):
                # A doubtful delivery that leads to nothing needs none: the next one might be as doubtful, and so on.
                await self._ask_for_fresh_lease()
            if appends := bool(draft.records) and not self._holds_first_turn:
                await self._append()
            if draft.begins_anew(attempts.running):
                raise Displaced(None)
            if appends:
                if self._rung or bells.rung or self._reads_mailbox:
                    continue
                if attempts.running:
                    await self._wait()
                elif draft.state.end is not None and not self._has_local_work() and await self._let_go():
                    return None
            elif self._has_local_work():
                self._watch_clock()  # What came may have made no record: an alarm that was early, for example.
                await self._wait()
            elif self._hands_back and draft.state.end is None:
                # Its steps were stopped just now: to let it go would leave nobody who runs them.
                return await self._hand_over()
            elif await self._let_go():
                return None

    async def _come_in(self) -> None:
        """Store that the run is taken over before any of its code runs: that may have ended who had it before."""
        await self._append()
        end, self._claimed_as = self._journal.tail.sequence, self._journal.tail.number
        if self.state.is_quarantined:
            self._tried_up_to = end
        else:
            draft = self._draft if self._arrival is None else await self._arrival.replayed(end)
            if draft is None:
                raise Displaced(None)
            self._drive_by(draft)
            draft.begin_at(self._door.clock.now_ms())
            draft.carry_on()
        self._comes_in, self._arrival = False, None
        await self._take()
        if not self._draft.records:
            await self._go_on_with_steps()

    async def _wait(self) -> None:
        if not self._rung:
            self._bell = self._crew.loop.create_future()
            await self._bell
            self._bell = None
        self._rung = False

    def _ring(self) -> None:
        self._rung = True
        if self._bell is not None and not self._bell.done():
            self._bell.set_result(None)

    def _has_local_work(self) -> bool:
        is_at_work = self._attempts.running or self._attempts.outcomes or self._holds_first_turn
        return bool(is_at_work or self._alarm.due_ms is not None)

    # Taking what came.

    async def _take(self) -> None:
        draft, clock = self._draft, self._door.clock
        self._taken_s = clock.elapsed_s()
        now_ms = clock.ms_at(self._taken_s)
        draft.begin_at(now_ms)
        if draft.is_opening and not draft.records:
            draft.go_on()
        if self._attempts.outcomes:
            self._take_outcomes(now_ms)
        if self._holds_first_turn:
            return
        rung = tuple(self._doorbells.rung.values())
        if rung or self._reads_mailbox:
            await self._take_mail()
        draft.take_time()
        draft.keep_up(self._consumed)
        if not self._hands_back:
            draft.announce()
        if rung and not draft.records:  # Not before it is certain that they lead to no record.
            if is_anybodys(draft.state, self._journal.tail.at_ms, now_ms):
                self._title.proven_s = float("-inf")
            await self._title.prove()
            self._doorbells.answer(rung, cursor=self._cursor, all_read=not self._reads_mailbox)

    def _take_outcomes(self, now_ms: int) -> None:
        draft = self._draft
        for step, outcome in self._attempts.take():
            draft.take_outcome(step, outcome, now_ms)
            if isinstance(outcome, p.Beat):
                self._beats.record()
        self._holds_first_turn = False

    async def _take_mail(self) -> None:
        to_the_end, self._reads_mailbox = self._reads_mailbox, False
        mailbox = self._mailbox = self._mailbox or Mailbox(self._door, self._crew.subjects.wake(self._queue, self.run))
        rung = [one for one in self._doorbells.rung.values() if is_wake(one)]
        mails = await self._title.eventually(lambda: mailbox.read(rung, after=self._cursor, to_the_end=to_the_end))
        if self._draft.is_opening:
            # For code that has not begun yet. But one that continues over and over without waiting must have an end.
            mails = [one for one in mails if isinstance(one.wake, Terminate)]
            self._reads_mailbox = to_the_end
        for mail in mails:
            if mail.wake is not None:
                if references_in(mail.wake):
                    shelf, wakes = self._draft.shelf, (mail.wake,)
                    await self._title.eventually(partial(fill, self._door, self._crew.subjects, self.run, shelf, wakes))
                self._draft.take_message(mail.wake, mail.sequence, is_tried=mail.sequence < self._tried_up_to)
            self._cursor = mail.sequence
            self._consumed += 1
            if self._draft.is_opening:
                break  # What follows is for the new history, whose code has not begun yet.
        self._reads_mailbox |= mailbox.has_more or (bool(mails) and self._cursor < mails[-1].sequence)

    # Appending, and what may happen once the append is acknowledged.

    async def _append(self) -> None:
        draft, state, clock = self._draft, self._draft.state, self._door.clock
        is_first = self._journal.tail.number == 0
        consumed, records = draft.consumed, draft.take_records()
        if draft.shelf.pending:
            for digest, value in draft.shelf.take_pending(records).items():
                await self._title.eventually(partial(store, self._door, self._crew.subjects, self.run, digest, value))
        lease, doorbells = self._doorbells.lease, tuple(self._doorbells.rung.values())
        if is_first:
            await self._title.prove_start(lease)
        await self._journal.append(
            records,
            epoch=self._epoch,
            lease=lease.sequence if lease is not None else 0,
            cursor=self._cursor,
            at_ms=draft.at_ms,
            family=state.end is not None and has_family(state),
            # Who had it before may have stored what it did not live to record.
            values=state.end is not None and (draft.shelf.is_used or state.was_claimed),
            consumed=consumed,
            # Not earlier: each try that stores nothing would leave one more, and each of them leads to the next try.
            before=self._ask_for_fresh_lease if self._doorbells.changes_lease else None,
        )
        self._title.proven_s = self._taken_s
        now_s = clock.elapsed_s()
        purges = self._cursor > 0 and purges_mailbox(state, len(records), consumed=self._consumed)
        waits = draft.is_opening or purges or draft.shelf.is_used
        if now_s - self._title.proven_s > LIMITS.ack_wait_s / 2:
            if is_first:
                await self._title.prove_start(lease)
            await self._title.prove()
            now_s = clock.elapsed_s()
        if doorbells:
            self._doorbells.answer(doorbells, cursor=self._cursor, all_read=False)
        draft.program.emit_logs()
        report(self.run, records, state)
        if state.answers.given:
            tell_askers(self._door, self._crew.subjects, self.run, state.answers, draft.at_ms)
        if is_first:
            self._begin_to_look(now_s)
        if self._attempts.running:
            self._attempts.stop_cancelled()
        if draft.is_opening:
            self._ring()
            below = self._journal.opened
            await self._title.eventually(partial(self._door.purge, self._crew.subjects.log(self.run), below=below))
        if purges:
            await self._purge_mailbox()
        if waits:
            await self._go_on_with_steps()
        elif not self._hands_back:
            self._launch(now_s)
        if state.has_dues or self._alarm.due_ms is not None:
            self._watch_clock()

    async def _go_on_with_steps(self) -> None:
        if self._hands_back or self._comes_in:
            return
        if self._draft.shelf.is_used:
            try:
                await self._attempts.fetch_details(
                    partial(filled, self._door, self._crew.subjects, self.run), self._title
                )
            except ProtocolError as error:
                self._draft.park("stuck", str(error))
                self._ring()
        await self._title.prove()
        self._launch(self._door.clock.elapsed_s())

    def _begin_to_look(self, now_s: float) -> None:
        """Wakes that came before the journal were rung off. A short run need not look: it does before it lets go."""
        if self._claim is not None:
            self._claim.cancel()
            self._claim = None
        if self._draft.state.end is None:
            self._mailbox_alarm = self._crew.looks.call(self._read_mailbox_now, now_s)

    async def _purge_mailbox(self) -> None:
        """Remove what the journal has taken over; never the message that is held as the lease."""
        self._consumed = 0
        below = self._doorbells.needless_below(self._cursor)
        mailbox = self._crew.subjects.wake(self._queue, self.run)
        await self._title.eventually(lambda: self._door.purge(mailbox, below=below))

    async def _ask_for_fresh_lease(self) -> None:
        relights = self._crew.relights
        if self._journal.tail.number > 0 and self._doorbells.take_doubt(relights):
            publish = relights.publish if self._takes_over else relights.publish_in_doubt
            self._takes_over = False
            await self._title.while_owned(lambda: publish(self._queue, self.run, self._epoch))

    async def _hold_again(self) -> None:
        self._is_back = False
        if self._journal.tail.number > 0:
            await self._title.prove()
        self._doorbells.hold_again()

    def _read_mailbox_now(self) -> None:
        self._mailbox_alarm = self._door.clock.call_later(LIMITS.lease_s_max, self._renew_lease)
        self._reads_mailbox = True
        self._ring()

    def _renew_lease(self) -> None:
        """A delivery that is held for hours pins the consumer's floor: change it for a fresh one."""
        self._mailbox_alarm = self._door.clock.call_later(LIMITS.lease_s_max, self._renew_lease)
        self._doorbells.distrust_lease()
        self._ring()

    def _append_first_turn(self) -> None:
        """It has been held back for long enough: others are to see whose the run is."""
        self._claim = None
        if self._holds_first_turn and self._task is not None:
            self._holds_first_turn = False
            self._ring()

    def _launch(self, now_s: float) -> None:
        if not self._comes_in and (steps := self._attempts.launchable()):
            self._attempts.launch(steps, self._door.clock.ms_at(now_s))

    # Time.

    def _watch_clock(self) -> None:
        """Keep the next due time here while steps run, or if it is too near for letting go to pay."""
        due_ms = self._draft.next_due_ms()
        now_ms = self._door.clock.now_ms()
        if due_ms is not None and not self._attempts.running and due_ms - now_ms > LIMITS.retry_local_s * 1000:
            due_ms = None
        self._alarm.watch(due_ms, now_ms, self._ring)

    def _cancel_alarms(self) -> None:
        for alarm in (self._claim, self._mailbox_alarm):
            if alarm is not None:
                alarm.cancel()
        self._claim = self._mailbox_alarm = None
        self._alarm.cancel()
        self._beats.close()

    # Leaving.

    async def _let_go(self) -> bool:
        """Leave the run to its mailbox; False if something came in the meantime."""
        await self._title.prove()
        if self.state.end is not None:
            await self._finish()
            return True
        if self.state.is_suspect:
            self._draft.record(r.Claimed(r.RESUMED))  # Whoever died had it by chance.
            return False
        await self._arm()
        mailbox = self._crew.subjects.wake(self._queue, self.run)
        following = await self._title.eventually(partial(self._door.next, mailbox, after=self._cursor))
        if following is not None:
            self._reads_mailbox = True
            return False
        await self._title.prove()
        if self._rung or self._attempts.outcomes or self._doorbells.newest_unread(self._cursor):
            self._rung = False
            return False
        self._doorbells.ring_off()
        self._task = None
        self._crew.rests(self)
        return True

    async def _finish(self) -> None:
        client = (self.state.started.client if self.state.started is not None else "") or "-"
        if self._armed.due_ms is not None or (self._is_resumed and self.state.has_dues):
            end = self._journal.tail.sequence  # A later run of this id, if this process was stopped, has others.
            await self._title.eventually(lambda: self._door.purge(self._crew.subjects.timers(self.run), below=end))
        if has_family(self.state):
            await self._title.while_owned(lambda: tell_family(self._door, self._crew.subjects, self.run, self.state))
        self._door.notify(self._crew.subjects.done(client, self.run), notice_of(self.state.end))
        unread = self._doorbells.newest_unread(self._cursor)
        if unread and not has_family(self.state):
            # Nobody reads them any more; whoever gets this id after the retirement must not find them.
            mailbox = self._crew.subjects.wake(self._queue, self.run)
            await self._title.eventually(lambda: self._door.purge(mailbox, below=unread + 1))
        self._doorbells.ring_off()
        self._leave(())

    async def _arm(self) -> None:
        """Have the server wake the run when time will bring it forward."""
        alarm = self._armed.missing(self.state, self._draft.at_ms)
        if alarm is None:
            return
        subjects, message = self._crew.subjects, encode(alarm.message)
        timer, mailbox = subjects.timer(self.run, alarm.timer), subjects.wake(self._queue, self.run)
        await self._title.while_owned(lambda: self._door.schedule(timer, message, target=mailbox, due_ms=alarm.due_ms))
        if self._armed.note(alarm, self._door.clock.now_ms()):
            timers, below = subjects.timers(self.run), self._journal.tail.sequence
            await self._title.while_owned(lambda: self._door.purge(timers, below=below))

    async def _hand_over(self) -> None:
        """Give the leases back. Who gets them may ask when this worker is gone, and must not take it for dead."""
        if (self.state.has_work or self.state.is_suspect) and self._journal.tail.number > 0:
            await self._append_notes(r.Claimed(r.LEFT))
        self._doorbells.give_back()
        self._leave(())

    async def _append_notes(self, *notes: r.Note) -> None:
        lease, cursor, at_ms = 0 if self.lease is None else self.lease.sequence, self._journal.cursor, self._draft.at_ms
        before = self._ask_for_fresh_lease
        await self._journal.append(notes, epoch=self._epoch, lease=lease, cursor=cursor, at_ms=at_ms, before=before)

    def _leave(self, unfinished: Sequence[Delivery]) -> None:
        self._doorbells.drop()
        self.discard()
        self._crew.leaves(self, unfinished)
