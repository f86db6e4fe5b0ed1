"""Attempts of steps: on the worker's loop or in a thread, with time-outs, heartbeats and the verdict on failures."""

from __future__ import annotations

import asyncio
import contextvars
import random
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import Executor
from functools import partial
from typing import Any, final

from msgspec import Raw

from relight.actors import program as p
from relight.actors.door import Clock
from relight.actors.values import digest_beside_loop
from relight.config.limits import LIMITS
from relight.errors import InvalidValueError, RefusedError, RetryAfter, StepCancelled, TerminalError
from relight.sdk._any_value import check_size, encode_any
from relight.sdk._context import WorkflowContext
from relight.sdk._durations import moment, seconds
from relight.sdk._failures import failure_of
from relight.sdk._interceptors import Interceptor, RunCall, StepCall, through
from relight.sdk._known_secrets import SecretProvider, Secrets
from relight.sdk._scope import SCOPE, Sender, StepScope, faked
from relight.sdk._step import PendingStep, Policy
from relight.sdk._threads import StepThreads
from relight.sdk._values import as_they_are
from relight.sdk._workflow import Workflow

__all__ = ("Launcher", "RunningAttempt")


@final
class Launcher:
    """Runs workflows and steps of one worker with its interceptors and dependencies.

    Attributes:
        inline_bytes_max: A larger value is stored apart.
        bytes_max: A larger value is refused.
        carried_bytes_max: What a run that continues as new may carry over: sealed, it takes twice as much.
        clock: In tests, whose virtual time the limits of attempts count as well.
        fakes: What tests let run in place of steps, by the steps' names.
        secrets: What steps reveal, and the gate that keeps it in.
    """

    def __init__(
        self,
        *,
        threads: int,
        interceptors: Sequence[Interceptor],
        sender: Sender | None,
        secrets: SecretProvider | None = None,
        inline_bytes_max: int = LIMITS.value_inline_bytes_max,
        bytes_max: int = LIMITS.value_bytes_max,
        carried_bytes_max: int = LIMITS.payload_bytes_max,
    ) -> None:
        self.inline_bytes_max = inline_bytes_max
        self.bytes_max = bytes_max
        self.carried_bytes_max = carried_bytes_max
        self.deps: object = None
        self.has_deps = False
        self.has_sigint = False  # Where a worker takes it, a KeyboardInterrupt is none of a person.
        self.interceptors = tuple(interceptors)
        self.sender = sender
        self.secrets = Secrets(secrets)
        self.clock: Clock | None = None
        self.fakes: dict[str, Callable[..., Any]] = {}
        self._threads = threads
        self._executor: Executor | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        """The worker's. It is kept, because Python 3.11 asks the kernel for the process's id each time."""
        if self._loop is None or self._loop.is_closed():
            self._loop = asyncio.get_running_loop()
        return self._loop

    def elapsed_s(self) -> float:
        return self.loop.time() + (0.0 if self.clock is None else self.clock.elapsed_s())

    def run_workflow(
        self, workflow: Workflow[..., Any], ctx: WorkflowContext, args: tuple[Any, ...], headers: dict[str, str]
    ) -> Awaitable[Any]:
        if not self.interceptors:
            return workflow.function(ctx, *args)
        call = RunCall(
            run_id=ctx.run_id, workflow=workflow.name, is_replaying=lambda: ctx.is_replaying, headers=dict(headers)
        )
        return through(self.interceptors, "run", lambda _: workflow.function(ctx, *args))(call)

    @property
    def executor(self) -> Executor:
        if self._executor is None:
            self._executor = StepThreads(self._threads)
        return self._executor

    def close(self) -> None:
        if self._executor is not None:
            self._executor.shutdown(wait=False, cancel_futures=True)
            self._executor = None  # A worker may be entered again.


@final
class RunningAttempt:
    """One attempt of a step, from its launch, which is here and now, to its report, which is made on this loop."""

    __slots__ = (
        "_attempt",
        "_began_s",
        "_has_begun",
        "_headers",
        "_is_cut_off",
        "_is_told_to_stop",
        "_key",
        "_launcher",
        "_loop",
        "_report",
        "_scope",
        "_step",
        "_task",
    )

    def __init__(
        self,
        launcher: Launcher,
        run: str,
        headers: dict[str, str],
        pending: PendingStep,
        attempt: p.Attempt,
        report: p.Report,
    ) -> None:
        self._launcher = launcher
        self._key = key = pending.key
        self._step = step = pending.step
        self._attempt = attempt
        self._report = report
        self._headers = headers
        self._loop = loop = launcher.loop
        self._is_told_to_stop = self._is_cut_off = False
        limit_s: float | None = None
        deadline = attempt.run_deadline
        if step.policy.is_limited:
            self._began_s = launcher.elapsed_s()
            limit_s = self._limit_s()
            own = moment(attempt.now_ms + limit_s * 1000)
            deadline = own if deadline is None else min(own, deadline)
        self._scope = StepScope(
            run,
            step.name,
            attempt.number,
            f"{run}:{key}",
            deadline,
            launcher.deps,
            launcher.has_deps,
            self._heartbeat,
            attempt.heartbeat,
            launcher.fakes,
            launcher.sender,
            launcher.secrets,
            launcher.interceptors,
        )
        self._has_begun = False
        context = contextvars.Context()
        context.run(SCOPE.set, self._scope)
        self._task: asyncio.Task[None] | None = loop.create_task(
            self._execute(pending.args, pending.kwargs, limit_s), context=context
        )

    def cancel(self) -> None:
        """Tell it to stop, once. A thread can't be interrupted: its next heartbeat raises `StepCancelled`."""
        # A second cancellation would hit its clean-up; one before the first pass would end it unreported.
        if self._task is not None and self._has_begun and not self._is_told_to_stop:
            self._task.cancel()
        self._is_told_to_stop = True

    async def _execute(self, args: tuple[Any, ...], kwargs: dict[str, Any], limit_s: float | None) -> None:
        step = self._step
        self._has_begun = True
        try:
            if self._is_told_to_stop:
                raise asyncio.CancelledError
            # Here, where what it raises is the step's outcome.
            args, kwargs = as_they_are(args, kwargs, what=step.name)
            if limit_s is None:
                value = await self._intercepted(args, kwargs)
            else:
                value = await self._limited(limit_s, args, kwargs)
            data, decoded = step.signature.result.record(value, what=step.what)
            check_size(data, self._launcher.bytes_max, what=step.what)
            digest = "" if len(data) <= LIMITS.digest_in_loop_bytes_max else await digest_beside_loop(data)
            outcome: p.Outcome = p.Done(Raw(data), decoded, digest)
        except BaseException as error:  # noqa: BLE001 - whatever a step raises is its outcome
            outcome = p.Stopped() if self._is_told_to_stop else self._judge(error)
        # Without these references the attempt is freed at once; a thousand a second are too many for the collector.
        self._task = None
        self._scope.heartbeat = _raise_cancelled
        self._report(self._key, outcome)

    async def _limited(self, limit_s: float, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        total_s = self._step.policy.total_timeout_s
        if total_s and self._spent_s() > total_s:  # With 0 s the first attempt gets as far as it can at once.
            raise TimeoutError(f"attempt {self._attempt.number} was not begun: all {total_s:g} s had passed")
        limit, clock = asyncio.timeout(limit_s), self._launcher.clock
        timer = None if clock is None else clock.call_later(limit_s, partial(_expire, limit))
        try:
            async with limit:
                return await self._intercepted(args, kwargs)
        except Exception as error:
            if not limit.expired():
                raise
            self._is_timed_out()
            if not isinstance(error, TimeoutError):
                raise
            raise TimeoutError(f"attempt {self._attempt.number} took longer than {limit_s:g} s") from error
        finally:
            if timer is not None:
                timer.cancel()

    def _is_timed_out(self) -> None:
        """A thread goes on; from now on its heartbeats raise."""
        self._is_cut_off = True
        self._scope.heartbeat = _raise_cancelled

    # These return what is to be awaited instead of awaiting it: most attempts need none of them.

    def _intercepted(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Awaitable[Any]:
        if not self._launcher.interceptors:
            return self._function(args, kwargs)
        call = StepCall(info=self._scope.info, headers=dict(self._headers))
        return through(self._launcher.interceptors, "step", lambda _: self._function(args, kwargs))(call)

    def _function(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Awaitable[Any]:
        step, fakes = self._step, self._launcher.fakes
        if fakes and step.name in fakes:
            return faked(fakes[step.name], args, kwargs)
        awaitable: Awaitable[Any] = step.function(*args, **kwargs) if step.is_async else self._in_thread(args, kwargs)
        return awaitable

    async def _in_thread(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        function = self._step.function
        context = contextvars.copy_context()
        try:
            result = await self._loop.run_in_executor(
                self._launcher.executor, lambda: context.run(_called, function, args, kwargs)
            )
        finally:
            # From Python 3.14 on nobody waits for a thread that has ended already: its heartbeats come behind it.
            await asyncio.sleep(0)
        return await result if asyncio.iscoroutine(result) else result

    def _heartbeat(self, details: object) -> None:
        if self._is_told_to_stop:
            _raise_cancelled(details)
        if details is None:
            return  # What was left before stays.
        data = Raw(
            encode_any(details, what=f"the heartbeat of step {self._step.name!r}", bytes_max=self._launcher.bytes_max)
        )
        if _is_running_here(self._loop):
            self._report(self._key, p.Beat(data))
        else:
            self._loop.call_soon_threadsafe(self._report, self._key, p.Beat(data))

    # Time.

    def _limit_s(self) -> float:
        """How long this attempt may take, of a step that is limited."""
        policy = self._step.policy
        limits = [] if policy.timeout_s is None else [policy.timeout_s]
        if policy.total_timeout_s is not None:
            limits.append(max(0.0, policy.total_timeout_s - self._spent_s()))
        return min(limits)

    def _spent_s(self) -> float:
        """By all attempts before this one, and the waits between them."""
        return (self._attempt.now_ms - self._attempt.counted_from_ms) / 1000

    # The verdict.

    def _judge(self, error: BaseException) -> p.Outcome:
        policy = self._step.policy
        if self._is_cut_off and policy.effect == "unsafe":
            return p.Unknown()
        failure = failure_of(error, self._launcher.secrets)
        if isinstance(error, (TerminalError, RefusedError, InvalidValueError, *policy.retry.never)):
            return p.Failed(failure)
        try:
            delay_s = _delay_s(error, policy, self._attempt.number)
        except InvalidValueError as refused:
            return p.Failed(failure_of(refused, self._launcher.secrets))
        if not self._has_attempt_left(policy, delay_s):
            return p.Exhausted(failure) if policy.on_exhausted == "park" else p.Failed(failure)
        return p.Again(failure, delay_s)

    def _has_attempt_left(self, policy: Policy, delay_s: float) -> bool:
        if policy.retry.attempts is not None and self._attempt.number >= policy.retry.attempts:
            return False
        if policy.total_timeout_s is None:
            return True
        spent_s = self._spent_s() + self._launcher.elapsed_s() - self._began_s
        return spent_s + delay_s < policy.total_timeout_s


def _called(function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    try:
        return function(*args, **kwargs)
    except StopIteration as error:
        # No future takes one. If a coroutine raises it, Python makes the same of it.
        raise RuntimeError("the step raised StopIteration") from error


def _expire(limit: asyncio.Timeout) -> None:
    if not limit.expired():
        limit.reschedule(0.0)  # Long ago: its time is up.


def _is_running_here(loop: asyncio.AbstractEventLoop) -> bool:
    try:
        return asyncio.get_running_loop() is loop
    except RuntimeError:
        return False


def _raise_cancelled(details: object) -> None:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        raise StepCancelled("the step is to stop") from None
    raise asyncio.CancelledError("the step is to stop")


def _delay_s(error: BaseException, policy: Policy, attempt: int) -> float:
    if isinstance(error, RetryAfter):
        return seconds("RetryAfter", error.delay_s)
    retry = policy.retry
    delay_s = seconds("delay", retry.delay) * retry.factor ** min(attempt - 1, 100)
    delay_s = min(delay_s, seconds("delay_max", retry.delay_max))
    return delay_s * (1 + random.uniform(-retry.jitter, retry.jitter))
