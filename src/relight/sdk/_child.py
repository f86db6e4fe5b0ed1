"""Child runs: started and awaited by a workflow, carried by whoever works in their queue."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from hashlib import blake2b
from typing import TYPE_CHECKING, Any, Generic, TypeVar, cast, final

import msgspec

from relight.actors.family import CLOSES
from relight.config.limits import LIMITS
from relight.errors import InvalidValueError, PayloadTooLargeError, RefusedError, StepFailed
from relight.sdk._outcome import outcome_of
from relight.sdk._place import caller
from relight.sdk._sending import CANCEL_CHILD, SEND_SIGNAL, START_AGAIN, START_CHILD
from relight.sdk._starting import result_type_of, run_started, start_message
from relight.sdk._unawaited import to_await
from relight.sdk._values import ValueType
from relight.sdk._workflow import ChildOptions, StartOptions
from relight.subjects.codec import encode
from relight.subjects.ids import name_of, token
from relight.subjects.records import NULL, ChildScheduled
from relight.subjects.references import with_values

if TYPE_CHECKING:
    from relight.sdk._activation import Activation

__all__ = ("Child", "ChildCall", "to_the_end")

R = TypeVar("R")

_to_await = to_await("child", lambda child: child._activation)


@final
class Child(Generic[R]):
    """A run that this run has started.

    Attributes:
        id: Names the child.
    """

    __slots__ = ("_activation", "_queue", "_type", "id")

    def __init__(self, activation: Activation, id: str, queue: str, type: ValueType[R]) -> None:
        self.id = id
        self._activation = activation
        self._queue = queue
        self._type = type

    @_to_await
    async def result(self) -> R:
        """Wait for the end, holding nothing, and return the result. To be cancelled here leaves the child alone.

        Raises:
            RunFailed: The child's workflow raised.
            RunCancelled: It was cancelled.
            RunTerminated: It was terminated.
            RunTimedOut: Its time-out passed.
        """
        return await self._result(caller())

    async def _result(self, place: str) -> R:
        end = await self._activation.wait_end(self.id, place)
        try:
            return outcome_of(self.id, end, self._type)
        except InvalidValueError as error:
            return await self._activation.wait_for_other_code(error)

    @_to_await
    async def signal(self, name: str, data: object = None) -> None:
        """Send it a signal, once. Raises `StepFailed` if its mailbox is full or it has ended."""
        name_of("signal name", name)
        await self._activation.call_step(SEND_SIGNAL, (self.id, name, data), {})

    @_to_await
    async def cancel(self, *, reason: str = "") -> None:
        """Ask it to stop; it has ended when `result()` raises. One that has ended already does not mind."""
        await self._activation.call_step(CANCEL_CHILD, (self.id, self._queue, self._activation.run, reason), {})

    async def stop(self) -> None:
        """Cancel it and wait for its end, its clean-up included."""
        await self.cancel(reason="its call was cancelled")
        await self._activation.wait_end(self.id, "")


class ChildCall(Generic[R]):
    """One `ctx.start` or `ctx.call`: the child as its parent's history announces it."""

    def __init__(
        self, activation: Activation, workflow: object, args: tuple[object, ...], type: object, options: ChildOptions
    ) -> None:
        _check_options(options)
        self._activation = activation
        self._place = caller()
        close = options.get("on_parent_close", "cancel")
        key = activation.occurrence("relight.child")
        own = activation.started
        started = run_started(
            workflow,
            args,
            cast("StartOptions", {name: value for name, value in options.items() if name != "on_parent_close"}),
            seed=blake2b(f"{own.seed} {key}".encode(), digest_size=16).hexdigest(),
            client="",
            now_ms=activation.at_ms,
        )
        self._started = msgspec.structs.replace(
            started,
            parent=activation.run,
            parent_queue=own.queue,
            asked_ms=0 if close == "detach" else activation.at_ms,
            headers=own.headers,
            deadline_ms=activation.deadline_ms,
        )
        id = token("run id", options["id"]) if "id" in options else _child_id(activation.run, key)
        self.child: Child[R] = Child(activation, id, started.queue, result_type_of(workflow, type))
        self._is_first = not activation.knows_child(id)
        self._sending: asyncio.Task[Any] | None = None
        activation.schedule_child(ChildScheduled(id, started.workflow, started.queue, close, self._place), self)

    async def start(self) -> Child[R]:
        """Return when the start is durable; also when cancelled meanwhile, so that it is certain that there is one."""
        data = encode(self._started)
        self._check_size(data)
        step = START_CHILD if self._is_first else START_AGAIN
        call = self._activation.call_step(step, (self.child.id, data.decode()), {}, self._place)
        self._sending = self._activation.loop.create_task(call)
        self._sending.add_done_callback(self._forget_if_refused)
        try:
            await to_the_end(self._sending)
        except StepFailed:
            if self._is_refused():
                raise
        return self.child

    def _check_size(self, data: bytes) -> None:
        """What is too large is refused here, where the code can handle it; large arguments are stored apart."""
        inline_bytes_max = self._activation.inline_bytes_max
        try:
            if len(data) > LIMITS.value_bytes_max:
                raise PayloadTooLargeError("the start", size_bytes=len(data), limit_bytes=LIMITS.value_bytes_max)
            if len(data) > LIMITS.payload_bytes_max:
                start_message(with_values(self._started, lambda one: NULL if len(one) > inline_bytes_max else one))
        except PayloadTooLargeError:
            self._forget()
            raise

    async def run(self) -> R:
        """Start it and return its result; to be cancelled here cancels the child, and waits for its end."""
        try:
            await self.start()
            return await self.child._result(self._place)  # pyright: ignore[reportPrivateUsage]
        except asyncio.CancelledError:
            await to_the_end(self._activation.loop.create_task(self.wait_end(stops=True)))
            raise

    async def wait_end(self, *, stops: bool) -> None:
        """Wait for its end, or `stop` it; not if its start is refused, which may not be known yet."""
        assert self._sending is not None, "its start was begun"
        if not self._sending.done():
            with suppress(StepFailed):
                await asyncio.shield(self._sending)
        if not self._is_refused():
            await (self.child.stop() if stops else self._activation.wait_end(self.child.id, ""))

    def _forget_if_refused(self, sending: asyncio.Task[Any]) -> None:
        if self._is_refused():
            self._forget()

    def _forget(self) -> None:
        self._activation.forget_child(self, is_first=self._is_first)

    def _is_refused(self) -> bool:
        """Whether there is no such child. One that has ended may be retired when its start is sent again."""
        sending = self._sending
        if sending is None or not sending.done() or sending.cancelled() or sending.exception() is None:
            return False
        return not (self._is_first and self._activation.has_ended(self.child.id))


async def to_the_end(task: asyncio.Future[Any]) -> None:
    """Wait for a task, which goes on when whoever waits is cancelled."""
    try:
        await asyncio.shield(task)
    except asyncio.CancelledError:
        with suppress(StepFailed):
            # Awaited once more, in vain if whoever cancels does so again and again, as anyio's scopes do.
            await asyncio.shield(task)
        raise


def _child_id(parent: str, key: str) -> str:
    """Derive the id from parent and call: readable as long as it fits."""
    number = key.rpartition("#")[2]
    readable = f"{parent}-child-{number}"
    if len(readable) <= LIMITS.id_characters_max:
        return readable
    return f"child-{number}-{blake2b(f'{parent} {key}'.encode(), digest_size=16).hexdigest()}"


def _check_options(options: Mapping[str, object]) -> None:
    unknown = set(options) - {*StartOptions.__annotations__, *ChildOptions.__annotations__}
    if unknown:
        raise TypeError(f"unknown options of a child: {', '.join(sorted(unknown))}")
    if options.get("on_parent_close", "cancel") not in CLOSES:
        raise RefusedError(
            f"on_parent_close={options['on_parent_close']!r} is unknown; pass one of {', '.join(CLOSES)}"
        )
    if options.get("on_conflict", "fail") != "fail":
        raise RefusedError("a child can't attach to a run of others; leave on_conflict= out")
    if "at" in options and "delay" in options:
        raise RefusedError("at= and delay= exclude each other; pass one")
