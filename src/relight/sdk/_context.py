"""`WorkflowContext`: what a workflow may ask for."""

from __future__ import annotations

import asyncio
import random
import uuid
from collections.abc import AsyncIterator, Callable, Coroutine, Generator, Iterable
from contextlib import AbstractAsyncContextManager, nullcontext
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING, Any, Generic, NoReturn, ParamSpec, TypeVar, cast, final, overload

import structlog
from msgspec import Raw
from typing_extensions import TypeForm, TypeVarTuple, Unpack

from relight.errors import InvalidValueError, RefusedError, WaitTimedOut
from relight.sdk._any_value import encode_any
from relight.sdk._child import Child, ChildCall
from relight.sdk._durations import Duration, moment, moment_ms, seconds
from relight.sdk._map import Mapping
from relight.sdk._place import caller
from relight.sdk._request import Request, requests_of
from relight.sdk._sending import SEND_SIGNAL
from relight.sdk._step import Async, Policy, Step
from relight.sdk._unawaited import to_await
from relight.sdk._values import ValueType, value_type
from relight.sdk._workflow import ChildOptions, Runnable, Workflow
from relight.subjects import records as r
from relight.subjects.ids import name_of, token

if TYPE_CHECKING:
    from relight.sdk._activation import Activation

__all__ = ("Awakeable", "WorkflowContext")

P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T")
Ts = TypeVarTuple("Ts")

_to_await = to_await("ctx", lambda ctx: ctx._activation)


@final
class WorkflowContext:
    """What a workflow may ask for. Every answer is the same in each replay. A forgotten `await` fails the run.

    Attributes:
        random: Seeded by the run.
        log: A structlog logger; its lines are written once, when their turn is durable.
    """

    __slots__ = ("_activation", "_log", "_random")

    def __init__(self, activation: Activation) -> None:
        self._activation = activation
        self._random: random.Random | None = None
        self._log: Any = None

    # Plain values.

    @property
    def run_id(self) -> str:
        return self._activation.run

    @property
    def workflow(self) -> str:
        return self._activation.started.workflow

    @property
    def queue(self) -> str:
        return self._activation.started.queue

    @property
    def parent_id(self) -> str | None:
        return self._activation.started.parent

    @property
    def started_at(self) -> datetime:
        return moment(self._activation.started_at_ms)

    @property
    def deadline(self) -> datetime | None:
        """When the run's `timeout=` passes; of a child that of its parent, if it is earlier. Steps see it too."""
        deadline_ms = self._activation.deadline_ms
        return None if deadline_ms is None else moment(deadline_ms)

    @property
    def is_replaying(self) -> bool:
        return self._activation.is_replaying

    @property
    def random(self) -> random.Random:
        if self._random is None:
            self._random = random.Random(self._activation.started.seed)
        return self._random

    @property
    def log(self) -> Any:
        if self._log is None:
            self._log = _logger(self._activation)
        return self._log

    def now(self) -> datetime:
        """The time of the turn: it moves when something happens, never while the code runs, never back."""
        return moment(self._activation.at_ms)

    def uuid4(self) -> uuid.UUID:
        return uuid.UUID(int=self.random.getrandbits(128), version=4)

    def set_details(self, value: object) -> None:
        """Leave a value that `run.describe()` shows; the latest counts.

        Raises:
            InvalidValueError: It can't be written as JSON.
            PayloadTooLargeError: It is larger than the setting `value_bytes_max`.
        """
        details = encode_any(value, what="details", bytes_max=self._activation.value_bytes_max)
        self._activation.ask(r.DetailsSet(Raw(details)))

    def patched(self, change_id: str) -> bool:
        """Whether this run takes the new way of a change in the code: True unless it had passed this point before it.

        Write `if ctx.patched("faster-route"): new() else: old()`. When no run is left that began before the change,
        remove the call and the old way.

        Raises:
            InvalidIdError: The id can't be one.
        """
        return self._activation.takes_new_way(name_of("change id", change_id))

    def compensate(self, undo: Step[P, Any], /, *args: P.args, **kwargs: P.kwargs) -> None:
        """Register the call of a step that undoes something. If the run fails or is cancelled, it is executed.

        The undos run when the workflow's code has ended, one after the other, the latest first, with the arguments as
        they are now and the step's own options. If one fails the others still run; the run ends with what ended it, and
        its `not_undone` names the undo. Another cancellation does not stop them. A run that is terminated or that times
        out runs none of its code any more, no undo either; one that continues as new keeps none.

        Register it before the step that is to be undone if that may have had an effect although it failed.

        Raises:
            InvalidValueError: An argument can't be written as JSON.
            TypeError: It is no step, or can't be called so.
        """
        self._activation.compensate(undo, args, kwargs)

    def continue_as_new(self, *args: object) -> NoReturn:
        """Go on under the same id with a new, empty history: the workflow's code begins anew with these arguments.

        What clients know of the run stays: `result()` waits across it, signals that nobody has received are kept, and
        so are early answers, tags, the parent, the time-out and children, which are cancelled when the run ends. Steps,
        timers, suspensions and awakeables that are open are cancelled. `finally` blocks run before it. Details are set
        anew. A run that was asked to cancel is cancelled instead.

        Raises:
            InvalidValueError: An argument does not fit its annotation.
            PayloadTooLargeError: The arguments with the unread signals, 1 KiB more for each, and 1 KiB for each child
                that has not ended, are larger than `limits.payload_bytes_max`.
            RefusedError: It is called in a task of the workflow.
        """
        self._activation.continue_as_new(args)

    # Recorded, awaited.

    @overload
    def step(
        self, name: str, function: Callable[P, Coroutine[Any, Any, R]], /, *args: P.args, **kwargs: P.kwargs
    ) -> Async[R]: ...
    @overload
    def step(self, name: str, function: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> Async[R]: ...
    def step(self, name: str, function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Async[Any]:
        """Run a function as a step of this name; its options, if any, are those of `step(fn, …)`."""
        if isinstance(function, Step):
            named = cast("Step[..., Any]", function).options(name=name)
        else:
            named = Step(function, name, Policy())
        return self._activation.call_step(named, args, kwargs)

    @_to_await
    async def sleep(self, duration: Duration) -> None:
        """Wait; a worker is needed only at the end. Raises `InvalidValueError` for a negative duration."""
        await asyncio.sleep(seconds("sleep", duration))

    @_to_await
    async def sleep_until(self, time: datetime) -> None:
        """Wait until a moment; one in the past is now, one after 2262 never comes.

        Raises:
            InvalidValueError: The datetime is naive.
        """
        await asyncio.sleep(max(0, moment_ms("sleep_until", time) - self._activation.at_ms) / 1000)

    @overload
    async def suspend(self, name: str, data: object = None, *, timeout: Duration | None = None) -> object: ...
    @overload
    async def suspend(
        self, name: str, data: object = None, *, type: TypeForm[T], timeout: Duration | None = None
    ) -> T: ...
    @_to_await
    async def suspend(
        self, name: str, data: object = None, *, type: Any = object, timeout: Duration | None = None
    ) -> Any:
        """Wait for `run.resume(name, answer)`, holding nothing. An answer that came early is taken at once.

        An answer that is no `type` does not count: a warning is logged, the suspension stays open, and `describe()`
        says why.

        Raises:
            WaitTimedOut: No answer within `timeout`.
        """
        name_of("suspension name", name)
        place = caller()
        what = f"the data of suspension {name!r}"
        shown = Raw(encode_any(data, what=what, bytes_max=self._activation.value_bytes_max))
        kind = value_type(type)
        async with _limit(f"suspension {name!r}", timeout):
            problem = ""
            while True:
                answer = await self._activation.wait_answer(name, shown, place, problem)
                try:
                    return kind.receive(answer, what=f"the answer to {name!r}")
                except InvalidValueError as error:
                    self.log.warning("answer_passed_over", suspension=name, problem=str(error))
                    problem = str(error)

    @_to_await
    async def wait_for_signal(self, name: str, *, type: TypeForm[T], timeout: Duration | None = None) -> T:
        """Wait for the next signal of this name; those that came early are kept, in order.

        A signal that is no `type` is passed over, and a warning logged.

        Raises:
            WaitTimedOut: None came within `timeout`.
        """
        name_of("signal name", name)
        place = caller()
        kind = value_type(type)
        async with _limit(f"signal {name!r}", timeout):
            problem = ""
            while True:
                data = await self._activation.wait_signal(name, place, problem)
                try:
                    return cast("T", kind.receive(data, what=f"signal {name!r}"))
                except InvalidValueError as error:
                    self.log.warning("signal_passed_over", signal=name, problem=str(error))
                    problem = str(error)

    async def signals(self, name: str, *, type: TypeForm[T]) -> AsyncIterator[T]:
        """Iterate over the signals of this name, for as long as the run lives."""
        while True:
            yield await self.wait_for_signal(name, type=type)

    def requests(self, name: str, *, type: TypeForm[T]) -> AsyncIterator[Request[T]]:
        """Iterate over what is asked of the run by `run.request(name, …)`, for as long as it lives.

        Each request comes once and is answered once, by `reply` or `reject`; it may be handed to a task. Those that
        came early are kept, in order. Data that is no `type` is rejected without being seen here. Who has asked and got
        no answer hears when the run ends.
        """
        requests = self._activation.requests
        return requests_of(requests, name_of("request name", name), value_type(type), caller())

    def awakeable(self, *, type: TypeForm[T], timeout: Duration | None = None) -> Awakeable[T]:
        """Make a token by which anybody may answer, once: `client.complete(token, value)`, `client.fail(token, …)`.

        Awaiting it raises `StepFailed` if it was failed, `WaitTimedOut` if nobody answers within `timeout`, counted
        from the await. A value that is no `type` parks the run as `stuck`; it goes on with code that can read it.
        """
        timeout_s = None if timeout is None else seconds("timeout", timeout)
        number, made = self._activation.make_awakeable(caller())
        return Awakeable(self._activation, number, made, value_type(type), timeout_s)

    def signal(self, run_id: str, name: str, data: object = None) -> Async[None]:
        """Send a signal to another run; it counts once, however often this is replayed or repeated.

        Raises:
            StepFailed: The run is unknown or has ended, or its mailbox is full.
        """
        token("run id", run_id)
        name_of("signal name", name)
        return self._activation.call_step(SEND_SIGNAL, (run_id, name, data), {})

    # Children.

    @overload
    async def start(self, workflow: Runnable[*Ts, R], /, *args: *Ts, **options: Unpack[ChildOptions]) -> Child[R]: ...
    @overload
    async def start(
        self, workflow: str, /, *args: object, type: TypeForm[T], **options: Unpack[ChildOptions]
    ) -> Child[T]: ...
    # mypy can't compare an implementation with a TypeVarTuple overload; pyright can.
    @_to_await  # type: ignore[misc]
    async def start(self, workflow: Callable[..., Any] | str, /, *args: Any, type: Any = object, **options: Any) -> Any:
        """Start a child run, exactly once; return when it is durable. It runs wherever its queue is worked on.

        Without `id=` its id derives from this run and the call. When this run ends first it is cancelled; with
        `on_parent_close="detach"` it goes on, with `"wait"` this run's end waits for it. Its deadline is at
        most this run's own.

        Raises:
            StepFailed: The id belongs to another run.
            InvalidValueError: An argument does not fit its annotation.
            PayloadTooLargeError: The arguments together are larger than `limits.payload_bytes_max`.
        """
        call: ChildCall[Any] = ChildCall(self._activation, workflow, args, type, cast("ChildOptions", options))
        return await call.start()

    @overload
    async def call(self, workflow: Runnable[*Ts, R], /, *args: *Ts, **options: Unpack[ChildOptions]) -> R: ...
    @overload
    async def call(self, workflow: str, /, *args: object, type: TypeForm[T], **options: Unpack[ChildOptions]) -> T: ...
    # mypy can't compare an implementation with a TypeVarTuple overload; pyright can.
    @_to_await  # type: ignore[misc]
    async def call(self, workflow: Callable[..., Any] | str, /, *args: Any, type: Any = object, **options: Any) -> Any:
        """Start a child run and wait for its result, holding nothing. To be cancelled here cancels the child first.

        Raises what `start` and `Child.result` raise.
        """
        call: ChildCall[Any] = ChildCall(self._activation, workflow, args, type, cast("ChildOptions", options))
        return await call.run()

    @overload
    async def map(
        self,
        function: Step[[T], R],
        items: Iterable[T],
        *,
        concurrency: int = 100,
        max_failures: int = 0,
        min_success: int | None = None,
    ) -> list[R]: ...
    @overload
    async def map(
        self,
        function: Workflow[[T], R],
        items: Iterable[T],
        *,
        concurrency: int = 100,
        max_failures: int = 0,
        min_success: int | None = None,
    ) -> list[R]: ...
    @_to_await
    async def map(
        self,
        function: Step[[Any], Any] | Workflow[[Any], Any],
        items: Iterable[Any],
        *,
        concurrency: int = 100,
        max_failures: int = 0,
        min_success: int | None = None,
    ) -> list[Any]:
        """Call a step, or start a child, for each item; at most `concurrency` are open at a time.

        Returns the results in the items' order. Failures, up to `max_failures`, are left out. Once `min_success` have
        succeeded the rest is cancelled and not begun.

        Raises:
            MapFailed: More than `max_failures` failed. It has the results of the others; what was open was cancelled.
            InvalidValueError: A bound is out of range.
            RefusedError: The function is no step and no workflow.
        """
        if not isinstance(function, Step | Workflow):  # pyright: ignore[reportUnnecessaryIsInstance]  # what users may pass
            raise RefusedError(f"{function!r} is no step and no workflow; decorate it with @step or @workflow")
        call = function if isinstance(function, Step) else partial(self.call, cast("Any", function))
        bounds = {"concurrency": concurrency, "max_failures": max_failures}
        return await Mapping(call, items, **bounds, min_success=min_success).run()


@final
class Awakeable(Generic[R]):
    """An answer by somebody who has only the token. Awaiting it more than once gives the same."""

    __slots__ = ("_activation", "_number", "_timeout_s", "_type", "token")

    def __init__(
        self, activation: Activation, number: int, token: str, type: ValueType[R], timeout_s: float | None
    ) -> None:
        self._activation = activation
        self._number = number
        self._type = type
        self._timeout_s = timeout_s
        self.token = token

    def __await__(self) -> Generator[Any, Any, R]:
        return self._answer().__await__()

    async def _answer(self) -> R:
        async with _limit(f"awakeable {self._number}", self._timeout_s):
            data = await self._activation.wait_awakeable(self._number)
        try:
            return self._type.receive(data, what=f"what awakeable {self._number} was completed with")
        except InvalidValueError as error:
            # It can't be asked for again, as it is with a suspension.
            return await self._activation.wait_for_other_code(error)


def _limit(what: str, timeout: Duration | None) -> AbstractAsyncContextManager[object]:
    return nullcontext() if timeout is None else _Timeout(what, seconds("timeout", timeout))


class _Timeout:
    """`asyncio.timeout` whose error says what was waited for."""

    def __init__(self, what: str, timeout_s: float) -> None:
        self._what = what
        self._timeout_s = timeout_s
        self._timeout = asyncio.timeout(timeout_s)

    async def __aenter__(self) -> None:
        await self._timeout.__aenter__()

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: Any) -> None:
        try:
            await self._timeout.__aexit__(kind, error, trace)
        except TimeoutError as late:
            if not self._timeout.expired():
                raise
            raise WaitTimedOut(f"{self._what} had no answer within {self._timeout_s:g} s") from late


class _Lines:
    """The end of a workflow's logger: lines wait here for their turn."""

    def __init__(self, activation: Activation) -> None:
        self._activation = activation

    def __getattr__(self, level: str) -> Callable[..., None]:
        def write(**line: Any) -> None:
            self._activation.write_line(level, line)

        return write


def _logger(activation: Activation) -> Any:
    lines = structlog.wrap_logger(
        _Lines(activation),
        # A traceback is written down where it is: the line itself waits for its turn.
        processors=[structlog.processors.format_exc_info],
        wrapper_class=structlog.stdlib.BoundLogger,
        context_class=dict,
    )
    return lines.bind(run=activation.run, workflow=activation.started.workflow)
