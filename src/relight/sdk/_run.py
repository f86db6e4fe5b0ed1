"""`Run`: the handle of one run."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from typing import TYPE_CHECKING, Any, Generic, Literal, Protocol, TypeAlias, TypeVar, cast, final

from msgspec import Raw
from msgspec.structs import replace
from typing_extensions import TypeForm

from relight.actors import letters
from relight.actors.door import Door
from relight.actors.fork import Cut, cut_after, cut_before
from relight.actors.letters import Letterbox, how_children_stand
from relight.actors.starts import read_seal
from relight.actors.values import filled
from relight.errors import (
    RefusedError,
    RelightError,
    RequestRejected,
    RunNotFoundError,
    UnavailableError,
    WaitTimedOut,
)
from relight.sdk._any_value import checked_text, encode_sent
from relight.sdk._description import RunDescription, describe
from relight.sdk._durations import Duration, moment, seconds
from relight.sdk._interceptors import Interceptors, RequestCall, SignalCall, through
from relight.sdk._outcome import outcome_of
from relight.sdk._values import ValueType, value_type
from relight.subjects import messages as m
from relight.subjects import records as r
from relight.subjects.envelope import header_in
from relight.subjects.ids import name_of
from relight.subjects.references import references_in
from relight.subjects.turn import Turn

if TYPE_CHECKING:
    from relight.sdk._client import Relight

__all__ = ("Parked", "Record", "Run", "RunStatus")

R = TypeVar("R")
T = TypeVar("T")

_LAST_LOOK_S = 1.0
"""Longer nobody waits beyond the time-out that he has given."""

RunStatus: TypeAlias = Literal[
    "queued", "running", "waiting", "paused", "parked", "completed", "failed", "cancelled", "terminated", "timed_out"
]
"""`parked` needs a person; `RunDescription.parked` says why."""

Parked: TypeAlias = Literal["stuck", "corrupt", "unknown_outcome", "retries_exhausted", "quarantined"]


class Record(Protocol):
    """One recorded fact of a run. (An *event* is what is published on a topic: one word, one meaning.)"""

    @property
    def sequence(self) -> int: ...
    @property
    def kind(self) -> str: ...
    @property
    def at(self) -> datetime: ...


@final
class StoredRecord:
    """A record with its place in the history: `sequence` counts records from 1; `data` is the record itself.

    `sealed` says how its turn is sealed, if that could not be opened here: then there are placeholders in `data`.
    """

    __slots__ = ("at", "data", "epoch", "run_id", "sealed", "sequence", "worker")

    def __init__(self, run_id: str, sequence: int, turn: Turn, data: r.Record) -> None:
        self.run_id = run_id
        self.sequence = sequence
        self.at = moment(turn.at_ms)
        self.worker = turn.owner
        self.epoch = turn.epoch
        self.data = data
        self.sealed = turn.sealed

    @property
    def kind(self) -> str:
        return type(self.data).__name__

    def __repr__(self) -> str:
        return f"<{self.sequence} {self.kind} at {self.at:%H:%M:%S.%f}>"


@final
class Run(Generic[R]):
    """The handle of one run; as many as you like, from anywhere.

    Attributes:
        id: Names the run.
    """

    def __init__(self, relight: Relight, id: str, type: ValueType[Any], *, queue: str = "") -> None:
        _ = relight.door  # It says so if it is not open.
        self.id = id
        self._relight = relight
        self._type = type
        self._queue = queue
        self._known_s = relight.door.clock.elapsed_s() if queue else 0.0
        self._kept: tuple[Door, Letterbox] | None = None

    @property
    def _letterbox(self) -> Letterbox:
        """Made when it is needed: who only waits for the result needs none. It holds the connection that is open."""
        door = self._relight.door  # It says so if it is not open.
        if self._kept is None or self._kept[0] is not door:
            subjects = self._relight.subjects
            self._kept = door, Letterbox(door, subjects, self.id, queue=self._queue, known_s=self._known_s)
        return self._kept[1]

    async def result(self, *, timeout: Duration | None = None) -> R:
        """Wait for the end and return the result.

        Raises:
            RunFailed: The workflow raised.
            RunCancelled: It was cancelled.
            RunTerminated: It was terminated.
            RunTimedOut: Its own time-out passed.
            WaitTimedOut: No end within `timeout`; the run goes on.
            RunNotFoundError: The run is not known, or was retired.
        """
        if timeout is None:
            end = await self._relight.ends.end_of(self.id)
        else:
            end = await self._end_within(seconds("timeout", timeout))
        if references_in(end):
            end = await self._filled(end)
        return cast("R", outcome_of(self.id, end, self._type))

    async def _end_within(self, limit_s: float) -> r.Record:
        limit = asyncio.timeout(limit_s)
        try:
            async with limit:
                return await self._relight.ends.end_of(self.id)
        except TimeoutError as error:
            if not limit.expired():
                raise
            end = await self._last_look()
            if end is not None:
                return end
            raise WaitTimedOut(f"run {self.id!r} had no result within {limit_s:g} s; it goes on") from error

    async def _last_look(self) -> r.Record | None:
        """Before it is said that a run goes on: the time-out may be too short for any look, or a notice was lost."""
        with suppress(UnavailableError, TimeoutError):
            async with asyncio.timeout(_LAST_LOOK_S):
                return await self._relight.ends.look(self.id)
        return None

    async def resume(self, name: str, data: object = None) -> None:
        """Answer a suspension. Returns when durable. The first answer wins; one that comes early is kept.

        Raises:
            AlreadyAnsweredError: It was answered already, or has timed out.
            MailboxFullError: The run has `limits.mailbox_messages_max` unread messages.
            RunEndedError: The run has ended.
            RunNotFoundError: The run is not known.
            InvalidValueError: The data can't be written as JSON, or would not be read as it is.
            PayloadTooLargeError: It is larger than the setting `value_bytes_max`.
        """
        name_of("suspension name", name)
        answer = self._encoded(data, what=f"the answer to {name!r}")
        await self._post_once(m.Answer(name=name, data=answer), name)

    async def signal(self, name: str, data: object = None, *, id: str | None = None) -> None:
        """Send a signal. Returns when durable.

        With an `id` it counts once, however often it is sent. A run that has had it refuses it never.

        Raises:
            MailboxFullError: The run has `limits.mailbox_messages_max` unread messages.
            RefusedError: It is parked for the length of its history.
            RunEndedError: The run has ended.
            RunNotFoundError: The run is not known.
            InvalidValueError: The data can't be written as JSON, or would not be read as it is.
            PayloadTooLargeError: It is larger than the setting `value_bytes_max`.
        """
        await self.signal_through(self._relight.interceptors, name, data, id=id)

    async def signal_through(self, interceptors: Interceptors, name: str, data: object, *, id: str | None) -> None:
        """What `signal` does, with these interceptors around it."""
        name_of("signal name", name)
        if id is not None:
            name_of("signal id", id)
        value = self._encoded(data, what=f"signal {name!r}")

        async def post(call: SignalCall) -> None:
            signal = m.Signal(name=name, data=value, id=id or "", headers=call.headers)
            await self._letterbox.post(signal, self._relieved)

        call = SignalCall(run_id=self.id, name=name, headers={})
        await through(interceptors, "signal", post)(call)

    async def request(
        self,
        name: str,
        data: object = None,
        *,
        type: TypeForm[T],
        timeout: Duration | None = None,
        id: str | None = None,
    ) -> T:
        """Ask the run something and return its answer, which is recorded before this returns.

        It counts once. With an `id` of one's own that also holds for another process that asks again: it gets the
        answer that was given. Without `timeout` it waits for as long as the run lives; also while it is parked.

        Raises:
            RequestRejected: The workflow has refused it, or the data does not fit what it takes (`path` says where).
            RunEndedError: The run has ended, or ended meanwhile, without an answer. It may have seen the request.
            WaitTimedOut: No answer within `timeout`. It may still be handled; asking again with its `id`, which the
                error names, attaches to it.
            RunNotFoundError: The run is not known.
            RefusedError: This `id` was answered long before the run continued as new; the answer was not kept.
            MailboxFullError: The run has `limits.mailbox_messages_max` unread messages.
            InvalidValueError: The data can't be sent as JSON that is read as it is, or the answer is no `type`.
            PayloadTooLargeError: The data is larger than the setting `value_bytes_max`.
            UnavailableError: It could not be sent within 30 s. The run may have been asked; ask again with its `id`.
        """
        name_of("request name", name)
        request = m.Request(
            name=name,
            id=self._relight.new_id() if id is None else name_of("request id", id),
            data=self._encoded(data, what=f"request {name!r}"),
            client=self._relight.answers.client,
        )
        kind = value_type(type)
        limit_s = None if timeout is None else seconds("timeout", timeout)

        async def ask(call: RequestCall) -> T:
            asked = replace(request, headers=call.headers)
            return await self._answer_to(asked, kind, limit_s, is_new=id is None)

        call = RequestCall(run_id=self.id, name=name, headers={})
        return cast("T", await through(self._relight.interceptors, "request", ask)(call))

    async def _answer_to(self, request: m.Request, kind: ValueType[T], limit_s: float | None, *, is_new: bool) -> T:
        what = f"request {request.name!r} (id {request.id!r}) to run {self.id!r}"
        limit = asyncio.timeout(limit_s)
        try:
            async with limit:
                answer = await self._relight.answers.answer_of(
                    self.id, request.id, lambda: self._letterbox.deposit(request, self._relieved), is_new=is_new
                )
        except TimeoutError as error:
            if not limit.expired():
                raise
            raise WaitTimedOut(f"{what} had no answer within {limit_s:g} s; it may still be handled") from error
        if isinstance(answer, r.RequestRejected):
            raise RequestRejected(answer.reason, request=request.name, path=answer.path)
        answer = await self._filled(answer)
        return kind.decode(answer.result, what=f"the answer to {what}")

    async def answer_awakeable(self, token: str, wake: m.Wake) -> None:
        """What `client.complete` and `client.fail` do."""
        await self._post_once(wake, token)

    async def _post_once(self, wake: m.Wake, name: str) -> None:
        """Put in an answer, if it is the first one."""
        await self._letterbox.post_once(wake, name, self._relieved)

    def _encoded(self, data: object, *, what: str) -> Raw:
        return Raw(encode_sent(data, what=what, bytes_max=self._relight.settings.value_bytes_max))

    async def _filled(self, record: T) -> T:
        """Return a record with the large values that are stored apart."""
        return await filled(self._relight.door, self._relight.subjects, self.id, record)

    async def _relieved(self, wake: m.Wake) -> m.Wake:
        return await self._relight.relieved(self.id, wake, what=type(wake).__name__)

    async def cancel(self, *, reason: str = "") -> None:
        """Ask the run to stop: its current await raises `CancelledError`, clean-up steps run. Returns when durable.

        Raises:
            RunEndedError: The run has ended.
            RunNotFoundError: The run is not known.
        """
        await self._letterbox.post(m.Cancel(reason=checked_text(reason, what="the reason")))

    async def terminate(self, *, reason: str = "") -> None:
        """End the run; none of its code runs any more. Returns when durable. Raises like `cancel`."""
        await self._letterbox.post(m.Terminate(reason=checked_text(reason, what="the reason")))

    async def pause(self) -> None:
        """Hold the run between steps, until `unpause`. Returns when durable; one that is paused already does not mind.

        Steps under way end and are recorded; no other is launched and the code does not go on. Signals and answers are
        kept, timers that fall due meanwhile take effect afterwards. The run's own time-out still ends it. To cancel it
        unpauses it first; its children are not paused.

        Raises:
            RefusedError: The run has ended.
            RunNotFoundError: The run is not known.
        """
        await self._letterbox.post(m.Pause())

    async def unpause(self) -> None:
        """Let a paused run go on. Returns when durable.

        Raises:
            RefusedError: The run is not paused.
            RunNotFoundError: The run is not known.
        """
        await self._letterbox.post_to_paused(m.Unpause())

    async def retry(self) -> None:
        """Let a parked run go on: after a fix was deployed, or from the step whose retries were used up.

        Raises:
            RefusedError: The run is not parked, or a decision that it has not read yet was put in before.
            RunNotFoundError: The run is not known.
        """
        await self._letterbox.post_to_parked(m.Retry())

    async def resolve(self, step: str, *, result: object = None, error: str | None = None, rerun: bool = False) -> None:
        """Say what happened to a step with unknown outcome: its result, its failure, or "run it again".

        Args:
            step: Its key (`send_email#1`), or its name if only one call of it is open.
            result: What it returned.
            error: Why it failed.
            rerun: Run it again.

        Raises:
            RefusedError: No such step waits for a person, or two of the three are given, or a decision that the run
                has not read yet was put in before.
            RunNotFoundError: The run is not known.
        """
        letters.check_one_answer(result, error, rerun=rerun)
        value = self._encoded(result, what="the result")
        if error is not None:
            checked_text(error, what="the error")
        key = await self._letterbox.parked_step(step)
        await self._letterbox.post_to_parked(
            m.Resolve(step=key, result=value, error=error, rerun=rerun), self._relieved
        )

    async def fork(
        self,
        *,
        after: str,
        replace: Mapping[str, object] | None = None,
        args: Sequence[object] | None = None,
        id: str | None = None,
    ) -> Run[R]:
        """Start a new run from a copy of this one's history, up to the outcome of step `after`. This one is untouched.

        Steps of the copied part are never executed again; those after it are, under the new run's idempotency keys, by
        today's code, which sees the time at which it goes on there: time-outs that it sets count from then. If it asks
        for something else than the copied part has, the new run is parked as stuck. Returns when durable; with an `id`,
        repeating it completes it or finds it done.

        Args:
            after: Key of a step that has an outcome, for example `charge_card#1`.
            replace: Results instead of those that steps of the copied part had, by key.
            args: Other arguments of the workflow, all of them. Those of which the copied part depends must stay.
            id: Of the new run.

        Raises:
            ConflictError: The id belongs to another run.
            RefusedError: There is no such outcome, or the copied part has children or awakeables.
            RunNotFoundError: The run is not known, has not begun, or was retired.
            InvalidValueError: A result or an argument can't be written as JSON.
            PayloadTooLargeError: A result or an argument is larger than the setting `value_bytes_max`.
        """
        results = {key: self._encoded(one, what=f"the result of {key!r}") for key, one in (replace or {}).items()}
        return await self._forked(cut_after(after), results, step=after, args=args, id=id)

    async def restart_from(self, step: str, *, id: str | None = None) -> Run[R]:
        """Fork this run just before `step` was asked for: it is executed again, in a new run. Raises like `fork`."""
        return await self._forked(cut_before(step), {}, step=step, args=None, id=id)

    async def _forked(
        self, cut: Cut, replace: Mapping[str, Raw], *, step: str, args: Sequence[object] | None, id: str | None
    ) -> Run[R]:
        fork_id, queue = await self._relight.fork(self.id, cut, replace, step=step, args=args, id=id)
        return Run(self._relight, fork_id, self._type, queue=queue)

    async def shred(self) -> None:
        """Destroy the data key of an encrypted run: nobody will ever read what users put in. Repeating it is harmless.

        Its chain, kinds, names and times stay. Processes that have just read the run know the key for up to five
        minutes. A run that has not ended stands still; terminate it before.

        Raises:
            RefusedError: It has none, because it was not encrypted. Nothing was destroyed.
            RunNotFoundError: The run is not known, or was retired, which has destroyed its data key.
            UnavailableError: No answer in time. It may have been destroyed; do it again.
        """
        door, subjects = self._relight.door, self._relight.subjects
        sealed = await read_seal(door, subjects, self.id)
        if sealed is None:
            raise RunNotFoundError(self.id)
        if not sealed or header_in(sealed)[1] == "-":
            raise RefusedError(f"run {self.id!r} was not encrypted; there is no data key to destroy")
        keys = subjects.key(self.id, "*")
        await door.last(keys)  # Whoever looks has the bucket made.
        await door.purge(keys)

    async def describe(self) -> RunDescription:
        """Say how the run stands, in words: status, what it waits for, since when, last error, worker, sizes.

        Raises:
            RunNotFoundError: The run is not known, or was retired.
        """
        sight = await self._letterbox.look()
        return describe(sight, await how_children_stand(self._relight.door, self._relight.subjects, sight))

    async def history(self, *, follow: bool = False, after: int = 0) -> AsyncIterator[Record]:
        """Iterate over the run's records from the one after `after`; with `follow` until the run ends.

        Of a run that has continued as new: those since then. Who follows waits while the server is away.

        Raises:
            RunNotFoundError: The run is not known, or was retired.
            ProtocolError: Here its history is damaged, or of a later version. Nothing behind the break is believed.
            UnavailableError: The server was not reached; with `follow`: at the first look.
        """
        sequence = 0
        letterbox = self._letterbox
        async for turn in letterbox.turns(follow=follow, check_open=lambda: self._check_still(letterbox)):
            for record in turn.records:
                sequence = (record.records if isinstance(record, r.Continued) else sequence) + 1
                if sequence > after:
                    yield StoredRecord(self.id, sequence, turn, record)

    def _check_still(self, letterbox: Letterbox) -> None:
        if self._letterbox is not letterbox:
            raise RelightError(f"the client was closed while it followed run {self.id!r}, which goes on")

    def __repr__(self) -> str:
        return f"<run {self.id}>"
