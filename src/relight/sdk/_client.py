"""`Relight`: the connection from which runs are started, found and answered."""

from __future__ import annotations

import asyncio
import os
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path
from typing import Any, Self, TypeVar, cast, final, overload

import msgspec
from msgspec import Raw
from typing_extensions import TypeForm, TypeVarTuple, Unpack

from relight.actors.answers import Answers
from relight.actors.backoff import Backoff
from relight.actors.codecs import Codec, Encryption, Keys
from relight.actors.door import Door, Stored
from relight.actors.ends import Ends
from relight.actors.fork import Arguments, Copy, Cut, copied, is_start_of, planned, read_origin, started_in
from relight.actors.letters import Letterbox
from relight.actors.sealing import with_codecs
from relight.actors.starts import read_start, refused_by, start_in
from relight.actors.values import copy, referring, store_all
from relight.config.limits import LIMITS
from relight.config.settings import Settings
from relight.errors import (
    ConflictError,
    FencedError,
    InvalidIdError,
    RefusedError,
    RelightError,
    RunNotFoundError,
    SealedError,
    UnavailableError,
)
from relight.sdk._any_value import checked_text, encode_sent
from relight.sdk._backend import Backend, JetStreamBackend
from relight.sdk._interceptors import Interceptor, Interceptors, SignalCall, StartCall, joined, through
from relight.sdk._listing import listed
from relight.sdk._run import Run, RunStatus
from relight.sdk._starting import arguments_of, result_type_of, run_started, start_message
from relight.sdk._values import value_type
from relight.sdk._workflow import Runnable, StartOptions
from relight.subjects.codec import encode
from relight.subjects.grammar import Subjects
from relight.subjects.ids import name_of, token
from relight.subjects.messages import AnswerAwakeable, FailAwakeable, ParentOver, Signal, Start, Wake
from relight.subjects.records import RunStarted, SignalReceived
from relight.subjects.turn import VERSION

__all__ = ("Relight",)

R = TypeVar("R")
T = TypeVar("T")
Ts = TypeVarTuple("Ts")

_START_S = 30.0


def _random_hex(size_bytes: int) -> str:
    return os.urandom(size_bytes).hex()


@final
class Relight:
    """A connection. Open it with `async with`.

    Args:
        url: Server addresses; else `RELIGHT_URL`. Without either, opening it is refused.
        namespace: Keeps deployments in one NATS account apart; else `RELIGHT_NAMESPACE`.
        credentials: Path of a `.creds` file; else `RELIGHT_CREDENTIALS`.
        tls: An `ssl.SSLContext`; else what `RELIGHT_TLS_CA`, `RELIGHT_TLS_CERT` and `RELIGHT_TLS_KEY` say.
        interceptors: Around the starts and signals that it sends.
        codecs: What users put in goes through these before it leaves the process, in this order, in runs that are
            started here; its workers are given the same. None: `Encryption` if `RELIGHT_ENCRYPTION_KEYS` is set.
    """

    def __init__(
        self,
        url: str | Sequence[str] | None = None,
        *,
        namespace: str | None = None,
        credentials: str | Path | None = None,
        tls: object = None,
        interceptors: Sequence[Interceptor] = (),
        codecs: Sequence[Codec] | None = None,
    ) -> None:
        settings = Settings.read(url=url, namespace=namespace, credentials=credentials)
        self._set_up(settings, JetStreamBackend(settings, is_local=False, tls=tls), interceptors, codecs)

    @classmethod
    def local(
        cls,
        directory: str | Path | None = None,
        *,
        namespace: str | None = None,
        interceptors: Sequence[Interceptor] = (),
        codecs: Sequence[Codec] | None = None,
    ) -> Relight:
        """A real nats-server of its own, data under `directory`, loopback only: for development, tests and demos.

        A second process in the same directory joins the server that runs there; it stops with its last user. The
        directory is the argument, else `RELIGHT_LOCAL_DIRECTORY`, else `.relight`.
        """
        # One server is all that there is, whatever variables say that are meant for another one.
        settings = Settings.read(local_directory=directory, namespace=namespace, replicas=1)
        return cls._on(settings, JetStreamBackend(settings, is_local=True), interceptors, codecs=codecs)

    @classmethod
    def _on(
        cls,
        settings: Settings,
        backend: Backend,
        interceptors: Sequence[Interceptor] = (),
        tokens: Callable[[int], str] = _random_hex,
        codecs: Sequence[Codec] | None = None,
    ) -> Relight:
        relight = cls.__new__(cls)
        relight._set_up(settings, backend, interceptors, codecs, tokens)
        return relight

    def _set_up(
        self,
        settings: Settings,
        backend: Backend,
        interceptors: Sequence[Interceptor],
        codecs: Sequence[Codec] | None,
        tokens: Callable[[int], str] = _random_hex,
    ) -> None:
        self.settings = settings
        self.backend = backend
        self.subjects = Subjects(settings.namespace)
        self.interceptors = tuple(interceptors)
        self.codecs = _codecs(settings) if codecs is None else tuple(codecs)
        self._token = tokens
        self._client = tokens(6)
        self._stack: AsyncExitStack | None = None
        self._door: Door | None = None
        self._ends: Ends | None = None
        self._answers: Answers | None = None

    async def __aenter__(self) -> Self:
        """Connect; make or check the streams.

        Raises:
            RefusedError: It is open already.
            InvalidValueError: No server is named.
            UnavailableError: None answers.
            UnsuitableServerError: It has no JetStream, or is too old.
            IncompatibleStreamError: A stream exists with settings that Relight can't work with.
        """
        if self._stack is not None:
            raise RefusedError("this client is open already; make another Relight to have a second one")
        async with AsyncExitStack() as stack:
            self._door = self.sealing(await stack.enter_async_context(self.backend.client_door()))
            self._ends = await stack.enter_async_context(Ends(self._door, self.subjects, self._client))
            self._answers = Answers(self._door, self.subjects, self._client)
            stack.push_async_callback(self._answers.close)
            self._stack = stack.pop_all()
        return self

    async def __aexit__(self, *error: object) -> None:
        stack, self._stack, self._door = self._stack, None, None
        if stack is not None:
            await stack.aclose()

    def sealing(self, door: Door) -> Door:
        """Return a door of this client or of one of its workers as the codecs ask for."""
        return with_codecs(door, self.subjects, self.codecs)

    @property
    def door(self) -> Door:
        """The connection inside, while it is open."""
        if self._door is None:
            raise RelightError("this Relight is not open; use `async with Relight(…) as client:`")
        return self._door

    @property
    def ends(self) -> Ends:
        """Who waits for the ends of runs here."""
        _ = self.door
        assert self._ends is not None, "open, as `door` has checked"
        return self._ends

    @property
    def answers(self) -> Answers:
        """Who asks runs here."""
        _ = self.door
        assert self._answers is not None, "open, as `door` has checked"
        return self._answers

    async def relieved(self, run_id: str, message: T, *, what: str) -> T:
        """Return a record or message as it is sent to a run: with its large values stored for the run.

        Raises:
            PayloadTooLargeError: A value is larger than the setting `value_bytes_max`. Nothing was sent.
            UnavailableError: Not all was stored. Nothing was sent.
        """
        sent, values = await self._referring(message, what=what)
        await store_all(self.door, self.subjects, run_id, values)
        return sent

    async def _referring(self, message: T, *, what: str) -> tuple[T, Mapping[str, bytes]]:
        """Return a record or message as it is sent, and what is to be stored before."""
        inline_bytes_max, bytes_max = self.settings.value_inline_bytes_max, self.settings.value_bytes_max
        return await referring(message, inline_bytes_max=inline_bytes_max, bytes_max=bytes_max, what=what)

    async def _until_answered(self, operation: Callable[[], Awaitable[T]]) -> T:
        """Repeat what comes before a start for as long as a start is."""
        backoff = Backoff(self.door.clock, LIMITS.append_retry_s, LIMITS.append_retry_max_s)
        give_up_s = self.door.clock.elapsed_s() + _START_S
        while True:
            try:
                return await operation()
            except UnavailableError:
                if self.door.clock.elapsed_s() > give_up_s:
                    raise
            await backoff.wait()

    def new_id(self) -> str:
        """Return an id that nobody has used."""
        return self._token(12)

    # Starting.

    @overload
    async def start(self, workflow: Runnable[*Ts, R], /, *args: *Ts, **options: Unpack[StartOptions]) -> Run[R]: ...
    @overload
    async def start(
        self, workflow: str, /, *args: object, type: TypeForm[T], **options: Unpack[StartOptions]
    ) -> Run[T]: ...
    # mypy can't compare an implementation with a TypeVarTuple overload; pyright can.
    async def start(  # type: ignore[misc]
        self, workflow: Callable[..., Any] | str, /, *args: Any, **options: Any
    ) -> Any:
        """Start a run and return when it is durable: from then on it will run, whatever happens.

        The same id with the same workflow and arguments attaches to that run, also when it has ended. The JSON of the
        arguments is compared, which with a workflow given by name is as they are, not as it annotates them.

        Raises:
            ConflictError: The id belongs to a run of another workflow or with other arguments, or it is taken and
                `on_conflict="fail"`.
            InvalidValueError: An argument does not fit its annotation, or would not survive being recorded; or `at` is
                after 2262.
            InvalidIdError: The id or the queue can't be one.
            PayloadTooLargeError: An argument is larger than the setting `value_bytes_max`, or what is left of the
                start without the large ones than `limits.payload_bytes_max`.
            UnavailableError: No acknowledgement within 30 s. It may have been started; start it again with this id.
        """
        run, _ = await self._start(workflow, args, options)
        return run

    @overload
    async def signal_with_start(
        self,
        workflow: Runnable[*Ts, R],
        /,
        *args: *Ts,
        signal: str,
        data: object = None,
        signal_id: str | None = None,
        **options: Unpack[StartOptions],
    ) -> Run[R]: ...
    @overload
    async def signal_with_start(
        self,
        workflow: str,
        /,
        *args: object,
        signal: str,
        data: object = None,
        signal_id: str | None = None,
        type: TypeForm[T],
        **options: Unpack[StartOptions],
    ) -> Run[T]: ...
    # mypy can't compare an implementation with a TypeVarTuple overload; pyright can.
    async def signal_with_start(  # type: ignore[misc]
        self,
        workflow: Callable[..., Any] | str,
        /,
        *args: Any,
        signal: str,
        data: object = None,
        signal_id: str | None = None,
        **options: Any,
    ) -> Any:
        """Send a signal to the run with this `id=`, which is started first if there is none. Returns when durable.

        A run that is started so has the signal from its first moment: it is part of the start. With a `signal_id`
        it counts once, however often this is repeated, whichever of the two it did before.

        Raises:
            RunEndedError: The run with this id has ended, and never had this signal.
            MailboxFullError: It has `limits.mailbox_messages_max` unread messages.
            Exception: What `start` raises. After `UnavailableError` repeat it with this id and `signal_id`.
        """
        received = SignalReceived(
            name_of("signal name", signal),
            Raw(encode_sent(data, what=f"signal {signal!r}", bytes_max=self.settings.value_bytes_max)),
            self.new_id() if signal_id is None else name_of("signal id", signal_id),
        )
        options["id"] = token("run id", options["id"]) if "id" in options else self.new_id()

        async def deliver(call: SignalCall) -> Run[Any]:
            sent = msgspec.structs.replace(received, headers=call.headers)
            run, is_new = await self._start(workflow, args, dict(options), sent)
            if not is_new:
                wake = Signal(name=sent.name, data=sent.data, id=sent.id, headers=sent.headers)
                relieve = partial(self.relieved, run.id, what=f"signal {signal!r}")
                await Letterbox(self.door, self.subjects, run.id).post(wake, relieve)
            return run

        call = SignalCall(run_id=options["id"], name=signal, headers={})
        return await through(self.interceptors, "signal", deliver)(call)

    async def _start(
        self,
        workflow: Callable[..., Any] | str,
        args: tuple[Any, ...],
        options: dict[str, Any],
        signal: SignalReceived | None = None,
    ) -> tuple[Run[Any], bool]:
        """Start a run; return it, and whether it was this very start that made it."""
        result_type = result_type_of(workflow, options.pop("type", object))
        chosen = cast("StartOptions", options)
        if chosen:
            _check_options(chosen)
        now_ms = self.door.clock.now_ms()
        started = run_started(workflow, args, chosen, seed=self._token(16), client=self._client, now_ms=now_ms)
        run_id = token("run id", options["id"]) if "id" in options else self._token(12)
        if signal is not None:
            started = msgspec.structs.replace(started, signal=signal)
        on_conflict = chosen.get("on_conflict", "attach")
        if not self.interceptors:
            taken = await self._begin(run_id, started, on_conflict)
        else:
            call = StartCall(run_id=run_id, workflow=started.workflow, headers=dict(started.headers))

            async def publish(call: StartCall) -> RunStarted:
                named = msgspec.structs.replace(started, headers=call.headers)
                return await self._begin(run_id, named, on_conflict)

            taken = await through(self.interceptors, "start", publish)(call)
        return Run(self, run_id, result_type, queue=taken.queue), taken.seed == started.seed

    async def _begin(self, run_id: str, started: RunStarted, on_conflict: str) -> RunStarted:
        started, values = await self._referring(started, what="an argument")
        if values:
            stored = await self._until_answered(lambda: self.door.last(self.subjects.start_any_queue(run_id)))
            if stored is not None:  # Nobody would remove what is stored for a run that is another one.
                return self._attached(run_id, started, stored, on_conflict)
            await self._until_answered(lambda: store_all(self.door, self.subjects, run_id, values))
        return await self._publish_start(run_id, started, on_conflict)

    @overload
    async def call(self, workflow: Runnable[*Ts, R], /, *args: *Ts, **options: Unpack[StartOptions]) -> R: ...
    @overload
    async def call(self, workflow: str, /, *args: object, type: TypeForm[T], **options: Unpack[StartOptions]) -> T: ...
    # mypy can't compare an implementation with a TypeVarTuple overload; pyright can.
    async def call(  # type: ignore[misc]
        self, workflow: Callable[..., Any] | str, /, *args: Any, **options: Any
    ) -> Any:
        """Start a run and wait for its result. Raises what `start` and `Run.result` raise."""
        run = await self.start(cast("Any", workflow), *args, **options)
        return await run.result()

    async def start_many(
        self, workflow: Runnable[T, R], inputs: Iterable[T], /, *, id: Callable[[T], str] | None = None
    ) -> AsyncIterator[Run[R]]:
        """Start a run for each input, many at a time, and iterate over them in the inputs' order.

        With `id` a repetition after a crash attaches to those that were started before.

        Raises:
            Exception: What `start` raises for an input, at its place. Those after it may have been started.
        """
        starting: deque[asyncio.Task[Run[R]]] = deque()
        try:
            for one in inputs:
                options: StartOptions = {} if id is None else {"id": id(one)}
                starting.append(asyncio.create_task(self.start(workflow, one, **options)))
                if len(starting) == LIMITS.starts_at_once:
                    yield await starting.popleft()
            while starting:
                yield await starting.popleft()
        finally:
            for task in starting:
                task.cancel()

    async def _publish_start(self, run_id: str, started: RunStarted, on_conflict: str) -> RunStarted:
        data = start_message(started)
        give_up_s = self.door.clock.elapsed_s() + _START_S
        backoff: Backoff | None = None
        with self.ends.starting(run_id, started.client) as expect:
            while True:
                try:
                    await self._store_start(run_id, started.queue, data)
                    expect()
                    return started
                except FencedError:
                    stored = await self.door.last(self.subjects.start_any_queue(run_id))
                    if stored is not None:
                        return self._attached(run_id, started, stored, on_conflict)
                except UnavailableError as error:
                    if self.door.clock.elapsed_s() > give_up_s:
                        remedy = f"it may have been started; start it again with id={run_id!r}"
                        raise UnavailableError(f"{error}; {remedy}") from error
                backoff = backoff or Backoff(self.door.clock, LIMITS.append_retry_s, LIMITS.append_retry_max_s)
                await backoff.wait()

    async def fork(
        self,
        run_id: str,
        cut: Cut,
        replace: Mapping[str, Raw],
        *,
        step: str,
        args: Sequence[object] | None,
        id: str | None,
    ) -> tuple[str, str]:
        """What `Run.fork` and `Run.restart_from` do: copy, then start. Returns the new id and its queue."""
        fork_id = token("run id", id) if id is not None else self._token(12)
        results, values = await self._referring(RunStarted("", "", tuple(replace.values())), what="a result")
        try:
            origin = await read_origin(self.door, self.subjects.log(run_id), run_id)
        except RunNotFoundError:
            if await read_start(self.door, self.subjects, run_id) is None:
                raise
            raise RefusedError(f"run {run_id!r} has not begun; fork it when it has a history") from None
        arguments: Arguments | None = None
        if args is not None:
            arguments = arguments_of(origin.started.workflow, args, bytes_max=self.settings.value_bytes_max)
            given, more = await self._referring(RunStarted("", "", arguments.values), what="an argument")
            arguments, values = arguments._replace(values=given.arguments), {**values, **more}
        plan = planned(
            origin,
            run_id,
            cut,
            dict(zip(replace, results.arguments, strict=True)),
            step=step,
            client=self._client,
            now_ms=self.door.clock.now_ms(),
            arguments=arguments,
            forked_at_ms=None if origin.started.origin is None else await self._began_ms(run_id),
        )
        found = await read_start(self.door, self.subjects, fork_id)
        if found is not None:  # Nothing is stored for another run, and nothing copied into its journal.
            if is_start_of(found.started, plan):
                return fork_id, found.queue
            raise ConflictError(f"run {fork_id!r} exists, and is another one; choose another id")
        _ = start_message(started_in(plan))  # Refused before the copy takes the id.
        await self._until_answered(lambda: store_all(self.door, self.subjects, fork_id, values))
        started = await self._copied(run_id, fork_id, plan)
        taken = await self._publish_start(fork_id, started, "fail")
        return fork_id, taken.queue

    async def _began_ms(self, run_id: str) -> int | None:
        start = await read_start(self.door, self.subjects, run_id)
        return None if start is None else start.stored_at_ms

    async def _copied(self, run_id: str, fork_id: str, plan: Copy) -> RunStarted:
        for turn in plan:
            for record in turn.records:
                if not await copy(self.door, self.subjects, record, source=run_id, target=fork_id):
                    raise RefusedError(f"a large value of run {run_id!r} is gone: the run is being retired")
        return await copied(
            self.door,
            self.subjects.log(fork_id),
            fork_id,
            plan,
            new_append_id=lambda: f"{self._client}.{self._token(8)}",
        )

    async def _store_start(self, run_id: str, queue: str, data: bytes) -> None:
        subject, any_queue = self.subjects.start_fenced(queue, run_id)
        await self.door.publish(subject, data, fence=0, fence_subject=any_queue)

    def _attached(self, run_id: str, started: RunStarted, stored: Stored, on_conflict: str) -> RunStarted:
        """The id is taken: by this very start, by an equal one, or by another."""
        found = start_in(stored)
        if found is None:
            self.ends.forget(run_id)
            raise ConflictError(f"run {run_id!r} has ended and was retired; its id is free again later; choose another")
        if found.sealed:
            self.ends.forget(run_id)
            raise SealedError(f"run {run_id!r} exists, and is sealed; use the codecs and keys of its workers")
        taken = found.started
        if taken.seed == started.seed and taken.origin_hash == started.origin_hash:
            return taken
        self.ends.forget(run_id)
        if taken.workflow != started.workflow:
            raise ConflictError(f"run {run_id!r} exists, of workflow {taken.workflow!r}; choose another id")
        if taken.digest != started.digest:
            raise ConflictError(f"run {run_id!r} exists with other arguments; choose another id")
        if on_conflict == "fail":
            raise ConflictError(f"run {run_id!r} exists already, and on_conflict='fail'")
        return taken

    async def start_child(self, run_id: str, started: RunStarted, *, around: Interceptors) -> None:
        """What the step behind `ctx.start` does: sending it twice is harmless.

        Raises:
            ConflictError: The id belongs to another run.
            UnavailableError: No acknowledgement. It may have been started; send it again.
        """
        call = StartCall(run_id=run_id, workflow=started.workflow, headers=dict(started.headers))

        async def publish(call: StartCall) -> None:
            named = msgspec.structs.replace(started, headers=call.headers)
            named = await self.relieved(run_id, named, what="an argument")
            try:
                await self._store_start(run_id, named.queue, encode(Start(v=VERSION, run=named)))
            except FencedError:
                found = await refused_by(self.door, self.subjects, run_id)
                # A fork has its origin's seed, but other children.
                if found is None or (found.started.seed, found.started.parent) != (started.seed, started.parent):
                    raise ConflictError(f"run {run_id!r} exists already; choose another id") from None

        await through(joined(around, self.interceptors), "start", publish)(call)

    async def cancel_child(self, run_id: str, queue: str, parent: str, reason: str) -> None:
        """What the step behind `Child.cancel` does. Raises `UnavailableError`."""
        await self.door.publish(self.subjects.wake(queue, run_id), encode(ParentOver(parent=parent, reason=reason)))

    # Finding.

    @overload
    def get_run(self, id: str) -> Run[object]: ...
    @overload
    def get_run(self, id: str, *, type: TypeForm[T]) -> Run[T]: ...
    def get_run(self, id: str, *, type: Any = object) -> Any:
        """Return the handle of a run by its id. Whether it exists shows when it is used.

        Raises:
            InvalidIdError: The id can't be one.
        """
        run: Run[Any] = Run(self, token("run id", id), value_type(type))
        return run

    async def runs(
        self, *, workflow: str | None = None, status: RunStatus | None = None, tags: Mapping[str, str] | None = None
    ) -> AsyncIterator[Run[object]]:
        """Iterate over the newest runs, at most `limits.runs_listed_max` of them, the newest first.

        It scans subjects; with `status` it reads each run's history. A run that can't be read, because it is damaged or
        of a later version, is left out, and a warning logged: nobody knows how it stands.

        Raises:
            InvalidValueError: The status is none that runs have, or the tags are no mapping.
            InvalidIdError: A tag's name or value can't be one.
        """
        async for run in listed(self, workflow=workflow, status=status, tags=tags or {}):
            yield run

    # Answering.

    async def complete(self, token: str, value: object = None) -> None:
        """Answer an awakeable by its token. Returns when durable.

        Raises:
            InvalidIdError: It is no token of an awakeable that its run has made.
            AlreadyAnsweredError, RunEndedError, RunNotFoundError: It was answered; its run ended, or is not known.
            MailboxFullError: Its run has `limits.mailbox_messages_max` unread messages.
        """
        data = Raw(encode_sent(value, what="the answer", bytes_max=self.settings.value_bytes_max))
        await self._answer_awakeable(token, AnswerAwakeable(token=token, data=data))

    async def fail(self, token: str, reason: str) -> None:
        """Let the await of an awakeable raise `StepFailed` with this reason. Raises like `complete`."""
        await self._answer_awakeable(token, FailAwakeable(token=token, reason=checked_text(reason, what="the reason")))

    async def _answer_awakeable(self, made: str, wake: Wake) -> None:
        parts = str(made).rsplit("~", 2)
        if len(parts) != 3:
            raise InvalidIdError("awakeable token", made, "is none; pass what ctx.awakeable().token was")
        await self.get_run(parts[0]).answer_awakeable(made, wake)

    async def send_signal(self, run_id: str, name: str, data: object, *, id: str, around: Interceptors) -> None:
        """What the step behind `ctx.signal` does."""
        await self.get_run(run_id).signal_through(joined(around, self.interceptors), name, data, id=id)


def _check_options(options: StartOptions) -> None:
    unknown = set(options).difference(StartOptions.__annotations__)
    if unknown:
        raise TypeError(f"unknown options of start: {', '.join(sorted(unknown))}")
    if options.get("on_conflict", "attach") not in ("attach", "fail"):
        raise RefusedError(f"on_conflict={options.get('on_conflict')!r} is unknown; pass 'attach' or 'fail'")
    if "at" in options and "delay" in options:
        raise RefusedError("at= and delay= exclude each other; pass one")


def _codecs(settings: Settings) -> tuple[Codec, ...]:
    keys = settings.encryption_keys
    return () if keys is None else (Encryption(Keys.read(keys.get_secret_value())),)
