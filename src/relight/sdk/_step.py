"""`step`: the decorator, its options, and what a step can ask about itself."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Generic, Literal, ParamSpec, Protocol, TypeAlias, TypedDict, TypeVar, cast, final, overload

from msgspec import Struct
from typing_extensions import TypeForm, Unpack

from relight.errors import InvalidValueError, NotDurableError, RelightError
from relight.sdk._durations import Duration, seconds
from relight.sdk._loop_refusals import PureLoop
from relight.sdk._scope import SCOPE, StepInfo, StepScope, faked, fresh_scope, step_scope
from relight.sdk._values import Signature, signature_types, value_type
from relight.subjects.ids import name_of

__all__ = ("Async", "Effect", "PendingStep", "Policy", "Retry", "Step", "StepOptions", "step")

P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T")

Async: TypeAlias = Coroutine[Any, Any, R]
"""Steps return a coroutine (not a bare awaitable): `TaskGroup.create_task` takes it, and both checkers report one that
nobody awaits."""

Effect: TypeAlias = Literal["read", "idempotent", "unsafe"]
"""What an interrupted call does: `read` and `idempotent` run again, `unsafe` parks as unknown outcome."""

_FACTOR_MAX = 1_000
"""To the power of 100 it is still a number that a float can hold."""


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _are_errors(value: Any) -> bool:
    return isinstance(value, tuple) and all(
        isinstance(one, type) and issubclass(one, BaseException) for one in cast("tuple[object, ...]", value)
    )


@dataclass(frozen=True, kw_only=True)
class Retry:
    """How failed attempts of a step are repeated.

    Attributes:
        attempts: All of them, the first included; None: for ever.
        delay: Before the second attempt.
        factor: By which the delay grows with each attempt: 1 to 1,000.
        delay_max: Upper bound of the delay, before the jitter.
        jitter: Share of the delay by which it may be longer or shorter, at random.
        never: Errors after which there is no further attempt.
    """

    attempts: int | None = 5
    delay: Duration = 1.0
    factor: float = 2.0
    delay_max: Duration = 60.0
    jitter: float = 0.1
    never: tuple[type[BaseException], ...] = ()

    def __post_init__(self) -> None:
        seconds("Retry.delay", self.delay)
        seconds("Retry.delay_max", self.delay_max)
        if self.attempts is not None and not (type(self.attempts) is int and self.attempts >= 1):
            problem = f"{self.attempts!r} is no whole number, or less than 1"
            raise InvalidValueError("Retry.attempts", "", problem, "pass 1 or more, or None")
        if not (_is_number(self.factor) and 1 <= self.factor <= _FACTOR_MAX):
            raise InvalidValueError(
                "Retry.factor", "", f"{self.factor!r} is out of range", f"pass 1 to {_FACTOR_MAX:,}"
            )
        if not (_is_number(self.jitter) and 0 <= self.jitter <= 1):
            raise InvalidValueError("Retry.jitter", "", f"{self.jitter!r} is no share", "pass 0 to 1")
        if not _are_errors(self.never):
            problem = f"{self.never!r} is no tuple of exception classes"
            raise InvalidValueError("Retry.never", "", problem, "pass a tuple like (ValueError,)")


class StepOptions(TypedDict, total=False):
    """Options of a step.

    `timeout` is one attempt's, `total_timeout` that of all attempts and the waits between them. `on_exhausted` says
    what happens when the attempts are used up: the step fails, or the run parks for a person.
    """

    name: str
    retry: Retry
    timeout: Duration
    total_timeout: Duration
    effect: Effect
    on_exhausted: Literal["fail", "park"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """Options, checked and in seconds."""

    retry: Retry = Retry()
    timeout_s: float | None = None
    total_timeout_s: float | None = None
    effect: Effect = "idempotent"
    on_exhausted: Literal["fail", "park"] = "fail"

    @property
    def is_limited(self) -> bool:
        """Whether an attempt may take only so long."""
        return self.timeout_s is not None or self.total_timeout_s is not None

    def changed(self, options: StepOptions) -> Policy:
        policy = self
        if "retry" in options:
            policy = replace(policy, retry=_retry(options["retry"]))
        if "timeout" in options:
            policy = replace(policy, timeout_s=seconds("timeout", options["timeout"]))
        if "total_timeout" in options:
            policy = replace(policy, total_timeout_s=seconds("total_timeout", options["total_timeout"]))
        if "effect" in options:
            policy = replace(policy, effect=_one_of("effect", options["effect"], "read", "idempotent", "unsafe"))
        if "on_exhausted" in options:
            park = _one_of("on_exhausted", options["on_exhausted"], "fail", "park")
            policy = replace(policy, on_exhausted=park)
        return policy


def _retry(value: object) -> Retry:
    if not isinstance(value, Retry):
        raise InvalidValueError("retry", "", f"{value!r} is no Retry", "pass one, like Retry(attempts=3)")
    return value


def _one_of(what: str, value: Any, *allowed: str) -> Any:
    if value not in allowed:
        raise InvalidValueError(what, "", f"{value!r} is unknown", f"pass one of {', '.join(allowed)}")
    return value


_OPTIONS = frozenset(StepOptions.__annotations__)


class Step(Generic[P, R]):
    """A function whose calls are recorded.

    Inside a run: recorded once, then never repeated. Inside another step or outside a run: simply runs (a sync function
    in a thread).

    Attributes:
        name: By which its calls are matched in replay.
        function: The undecorated function.
        policy: Its options.
        what: Names its result in errors.
    """

    name: str
    function: Callable[P, R | Awaitable[R]]

    def __init__(self, function: Callable[P, R | Awaitable[R]], name: str, policy: Policy) -> None:
        self.name = name_of("step name", name)
        self.function = function
        self.policy = policy
        self.is_async = inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(
            getattr(function, "__call__", None)  # noqa: B004 - an object whose call is a coroutine function
        )
        self.what = f"the result of step {name!r}"
        self.__doc__ = getattr(function, "__doc__", None)
        self.__name__ = getattr(function, "__name__", name)
        self.__wrapped__ = function

    @cached_property
    def signature(self) -> Signature:
        """Made at the first call, when all annotations can be resolved."""
        return signature_types(self.function)

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> Async[R]:
        run = SCOPE.get()
        if run is None and isinstance(asyncio._get_running_loop(), PureLoop):
            what = f"a call of step {self.name!r} in a context of its own"
            raise NotDurableError(what, "make the task without context=, or with contextvars.copy_context()")
        if run is None or isinstance(run, StepScope):
            return self._simply_run(args, kwargs)
        coroutine: Async[R] = run.call_step(self, args, kwargs)
        return coroutine

    def options(self, **options: Unpack[StepOptions]) -> Step[P, R]:
        """Return the same step with other options.

        Raises:
            InvalidValueError: An option is out of range.
            TypeError: There is no such option.
            InvalidIdError: The name is not one line of printable text.
        """
        unknown = set(options) - _OPTIONS
        if unknown:
            raise TypeError(f"unknown options of step {self.name!r}: {', '.join(sorted(unknown))}")
        return Step(self.function, options.get("name", self.name), self.policy.changed(options))

    async def _simply_run(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> R:
        outer = SCOPE.get()
        scope = fresh_scope(outer if isinstance(outer, StepScope) else None, self.name)
        token = SCOPE.set(scope)
        try:
            if (fake := scope.fakes.get(self.name)) is not None:
                return cast("R", await faked(fake, args, kwargs))
            if self.is_async:
                return await cast("Awaitable[R]", self.function(*args, **kwargs))
            return cast("R", await asyncio.to_thread(self.function, *args, **kwargs))
        finally:
            SCOPE.reset(token)

    def __repr__(self) -> str:
        return f"<step {self.name}>"


class PendingStep(Struct):
    """A call of a step that waits for its outcome."""

    key: str
    step: Step[..., Any]
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    future: asyncio.Future[Any]


class _StepDecorator(Protocol):
    @overload
    def __call__(self, function: Callable[P, Coroutine[Any, Any, R]], /) -> Step[P, R]: ...
    @overload
    def __call__(self, function: Callable[P, R], /) -> Step[P, R]: ...


@final
class _StepFace:
    """`@step`, `@step(retry=…)`, `step(fn, retry=…)`, `step.info()`, `step.heartbeat(…)`, `step.deps(…)`."""

    @overload
    def __call__(
        self, function: Callable[P, Coroutine[Any, Any, R]], /, **options: Unpack[StepOptions]
    ) -> Step[P, R]: ...
    @overload
    def __call__(self, function: Callable[P, R], /, **options: Unpack[StepOptions]) -> Step[P, R]: ...
    @overload
    def __call__(self, **options: Unpack[StepOptions]) -> _StepDecorator: ...
    def __call__(self, *function: Any, **options: Any) -> Any:
        if not function:

            def decorate(later: Callable[..., Any]) -> Step[..., Any]:
                return self(later, **options)

            return decorate
        target = function[0]
        if isinstance(target, Step):
            return cast("Step[..., Any]", target).options(**options)
        if not callable(target):
            raise TypeError(f"@step needs a function, not {type(target).__name__}")
        name = str(options.get("name") or getattr(target, "__name__", type(target).__name__))
        return Step(cast("Callable[..., Any]", target), name, Policy()).options(**options)

    def info(self) -> StepInfo:
        """Of the step that runs here. Outside a run: attempt 1 and a fresh key, so that a unit test needs nothing."""
        return step_scope().info

    def heartbeat(self, details: object = None) -> None:
        """Say that the step goes on, and leave details that the next attempt can read; None leaves those from before.

        The details of one second are recorded together, of a step that goes on for long those of a six-hundredth of
        this time, at most a minute; the latest count.

        Raises:
            asyncio.CancelledError: The step is to stop (in a thread: `StepCancelled`).
            InvalidValueError: The details can't be written as JSON.
        """
        step_scope().heartbeat(details)

    def last_heartbeat(self, type: TypeForm[T]) -> T | None:
        """What the attempt before this one left, None if nothing. Raises `InvalidValueError` if it is no `type`."""
        data = step_scope().last_heartbeat
        if data is None or bytes(data) == b"null":  # Earlier versions recorded that there were none.
            return None
        return cast("T", value_type(type).decode(data, what="the last heartbeat"))

    def deps(self, type: type[T]) -> T:
        """What the worker's `lifespan` yielded, checked to be a `T`; never recorded.

        Raises:
            RelightError: There is none here, or it is of another type.
        """
        scope = step_scope()
        if not scope.has_deps:
            raise RelightError("step.deps: this step runs without a worker's lifespan; pass one to Worker(lifespan=…)")
        if not isinstance(scope.deps, type):
            raise RelightError(f"step.deps: the lifespan yielded {scope.deps.__class__.__name__}, not {type.__name__}")
        return scope.deps


step = _StepFace()
