"""One activation of one run: the workflow's coroutine on a loop of its own, fed one fact at a time.

No I/O, no clock and no randomness of its own: what it asks for depends on the facts alone, so that it asks for the
same in every replay. It is a plain object: no task of the worker's loop belongs to it, and it can be thrown away at
any time.
"""

from __future__ import annotations

import asyncio
import contextvars
import math
from collections import deque
from collections.abc import Collection, Generator
from contextlib import contextmanager
from typing import Any, NoReturn, TypeAlias, TypeVar, final

import msgspec
import structlog
from msgspec import Raw

from relight.actors import program as p
from relight.actors.run.awakeables import awakeable_token
from relight.config.limits import LIMITS
from relight.errors import InvalidValueError, RefusedError, RelightError, StepFailed
from relight.sdk._any_value import check_size
from relight.sdk._arrivals import Arrivals, Waits
from relight.sdk._child import ChildCall
from relight.sdk._compensation import Compensations
from relight.sdk._context import WorkflowContext
from relight.sdk._continuation import Continuation, check_room, continuation_in
from relight.sdk._execution import Launcher, RunningAttempt
from relight.sdk._failures import failure_of, step_failed
from relight.sdk._gate_of_turns import gated
from relight.sdk._loop import EndlessTurnError, RunLoop
from relight.sdk._place import caller, place_of_error
from relight.sdk._request import Requests
from relight.sdk._scope import SCOPE
from relight.sdk._sending import CHILD_HAS_ENDED, START_CHILD
from relight.sdk._step import Async, PendingStep, Step
from relight.sdk._unawaited import Unawaited
from relight.sdk._values import as_they_are
from relight.sdk._workflow import Workflow
from relight.subjects import records as r

__all__ = ("Activation",)

T = TypeVar("T")
_Line: TypeAlias = tuple[str, dict[str, Any]]


@final
class Activation:
    """Implements `actors.program.Program` for a workflow."""

    __slots__ = (
        "_arrivals",
        "_asked",
        "_calls_before",
        "_cancel_reason",
        "_changes",
        "_children",
        "_compensations",
        "_kept_back",
        "_launcher",
        "_lines",
        "_main",
        "_marked",
        "_occurrences",
        "_requests",
        "_steps",
        "_unreadable",
        "_waits",
        "at_ms",
        "is_replaying",
        "loop",
        "run",
        "started",
        "started_at_ms",
        "unawaited",
        "workflow",
    )

    def __init__(self, run: str, started: r.RunStarted, workflow: Workflow[..., Any], launcher: Launcher) -> None:
        self.run = run
        self.started = started
        self.workflow = workflow
        self.is_replaying = False
        self.started_at_ms = 0
        self.at_ms = 0
        self._launcher = launcher
        seed = int(started.seed or "0", 16)
        self.loop = RunLoop(
            arm=self._arm, disarm=self._disarm, callbacks_max=LIMITS.callbacks_per_record_max, seed=seed & 0xFFFF
        )
        self._asked: list[p.Asked] = []
        self._steps: dict[str, PendingStep] = {}
        self._occurrences: dict[str, int] = {}
        self._calls_before = 0
        self._waits = 0
        self._arrivals: Arrivals | None = None
        self._requests: Requests | None = None
        self._kept_back: list[ChildCall[Any]] = []
        self._compensations: Compensations | None = None
        self._children: dict[str, r.ChildScheduled] = {}
        self._changes: dict[str, bool] = {}
        self._marked: set[str] = set()
        self.unawaited = Unawaited()
        self._unreadable = ""
        self._cancel_reason: str | None = None
        self._main: asyncio.Task[Any] | None = None
        self._lines: list[_Line] = []

    # What the run actor calls.

    def feed(self, fact: r.Fact, at_ms: int, value: object = p.NOT_DECODED, /) -> list[p.Asked]:
        """Let the code see a fact, and return what it asks for until it is blocked."""
        if at_ms != self.at_ms:
            self.at_ms = at_ms
            self.loop.set_time(at_ms / 1000)
        try:
            self._take(fact, value)
            self.loop.run_until_blocked()
            if self._unreadable:
                raise p.BrokenProgramError(self._unreadable)
            main = self._main
            if main is not None and main.done():
                self._asked.append(self._end(main))
                self.close()
            else:
                self.unawaited.prune()
        except EndlessTurnError as error:
            raise p.BrokenProgramError(str(error)) from error
        except KeyboardInterrupt as error:
            if not self._launcher.has_sigint:
                raise  # Somebody stops a test, for example.
            raise p.BrokenProgramError(f"the workflow raised KeyboardInterrupt at {place_of_error(error)}") from error
        except Exception:
            raise
        except BaseException as error:
            # What a class of the user's raises while pydantic reads or writes it can be a panic, past all supervisors.
            raise p.BrokenProgramError(f"{type(error).__qualname__}: {error}") from error
        asked, self._asked = self._asked, []
        return asked

    def gated(self, asked: list[p.Asked], /) -> list[p.Asked]:
        secrets = self._launcher.secrets
        return gated(asked, secrets) if secrets.is_used else asked

    def redacted(self, text: str, /) -> str:
        return self._launcher.secrets.redacted(text)

    def launch(self, step: str, attempt: p.Attempt, report: p.Report) -> p.RunningStep:
        pending = self._steps[step]
        if pending.step is START_CHILD and self.has_ended(pending.args[0]):
            pending = msgspec.structs.replace(pending, step=CHILD_HAS_ENDED)
        return RunningAttempt(self._launcher, self.run, self.started.headers, pending, attempt, report)

    def refuses(self, step: str, result: Raw) -> str:
        pending = self._steps.get(step)
        if pending is None:
            return ""
        try:
            pending.step.signature.result.decode(result, what=f"the result given for {step}")
        except InvalidValueError as error:
            return str(error)
        return ""

    def anew(self, started: r.RunStarted, /) -> Activation:
        successor = Activation(self.run, started, self.workflow, self._launcher)
        successor._lines = self._lines
        return successor

    @contextmanager
    def replaying(self, changes: Collection[str], /) -> Generator[None]:
        self.is_replaying = True
        self._changes.update(dict.fromkeys(changes, True))
        self.loop.enter()
        try:
            yield
        finally:
            self.loop.leave()
            self.is_replaying = False

    def has_passed(self, changes: Collection[str], /) -> bool:
        return any(self._changes.get(one) is False for one in changes)

    def emit_logs(self) -> None:
        lines, self._lines = self._lines, []
        if lines:
            logger = structlog.get_logger("relight.workflow")
            for level, line in lines:
                getattr(logger, level)(**self._launcher.secrets.redacted_line(line))

    def close(self) -> None:
        if self.loop.is_closed():
            return
        self.loop.close()
        # What refers back to this activation goes, so that it is freed at once.
        self._main = None
        self.unawaited.clear()
        self._steps.clear()
        self._compensations = None
        self._kept_back.clear()
        if self._arrivals is not None:
            self._arrivals.close()
        if self._requests is not None:
            self._requests.close()
            self._requests = None

    @property
    def arrivals(self) -> Arrivals:
        """What others have sent; many runs are never sent anything."""
        if self._arrivals is None:
            self._arrivals = Arrivals()
        return self._arrivals

    @property
    def requests(self) -> Requests:
        """What the run was asked; most runs never are."""
        if self._requests is None:
            self._requests = Requests(self)
        return self._requests

    # Facts.

    def _take(self, fact: r.Fact, value: object) -> None:
        match fact:
            case r.StepCompleted(step=step, result=result):
                pending = self._steps.pop(step, None)
                if pending is not None:
                    self._complete(pending, result, value)
            case r.RunStarted():
                self.started = fact  # With its large arguments, if it has any.
                self._begin()
            case r.StepFailed(step=step, error=error):
                pending = self._steps.pop(step, None)
                if pending is not None and not pending.future.done():
                    pending.future.set_exception(step_failed(step, error))
            case r.TimerFired(timer=timer):
                self.loop.fire(timer)
            case r.SignalReceived(name=name, data=data):
                self.arrivals.take_signal(name, data)
            case r.RequestReceived():
                self.requests.take(fact)
            case r.AnswerReceived(name=name, data=data):
                self.arrivals.take_answer(name, data)
            case r.AwakeableCompleted(awakeable=number, data=data):
                self.arrivals.complete(number, data)
            case r.AwakeableFailed(awakeable=number, reason=reason):
                self.arrivals.fail(number, reason)
            case r.ChildEnded(child=child, end=end):
                self._children.pop(child, None)
                self.arrivals.take_end(child, end)
            case r.CancelRequested(reason=reason):
                self._cancel_reason = reason
                if self._main is not None:
                    self._main.cancel()
            case r.Continued():
                self._calls_before = fact.calls
                self.started_at_ms = fact.started_at_ms
                if fact.request_ids:
                    self.requests.carry_on(fact)
                self._children.update({one.child: one for one in fact.children})

    def _begin(self) -> None:
        self.started_at_ms = self.started_at_ms or self.at_ms
        if self.started.signal is not None:
            self.arrivals.take_signal(self.started.signal.name, self.started.signal.data)
        context = contextvars.Context()
        context.run(SCOPE.set, self)
        self._main = self.loop.create_task(self._run_workflow(), context=context)
        if self._cancel_reason is not None:
            self._main.cancel()  # Cancelled before its delayed start: none of its code runs.

    async def _run_workflow(self) -> Any:
        ctx = WorkflowContext(self)
        try:
            args = self.workflow.signature.decode_arguments(self.started.arguments, unchecked=self.started.unchecked)
        except InvalidValueError as error:
            if self.started.unchecked:
                raise
            await self.wait_for_other_code(error)
        try:
            result = await self._launcher.run_workflow(self.workflow, ctx, args, self.started.headers)
            if self._compensations is not None:
                self._check_end(result)
        except (GeneratorExit, KeyboardInterrupt):
            raise  # The run is thrown away, or this process is ending: nothing more is done here.
        except BaseException as error:
            continuation = continuation_in(error)
            undoes = self._cancel_reason is not None or continuation is None
            if undoes:
                await self._compensate()
            await self._release_children()
            if undoes:
                await self._compensate()  # What tasks of its own have registered meanwhile.
            if continuation is not None:
                raise continuation from None
            raise
        await self._release_children()
        return result

    async def _compensate(self) -> None:
        if self._compensations is not None:
            await self._compensations.run()

    def _check_end(self, result: object) -> None:
        """Raise now what would fail the run after its code, so that it is undone too."""
        if (error := self.unawaited.error(self.loop)) is not None:
            raise error
        self._recorded_result(result)

    def _recorded_result(self, result: object) -> tuple[bytes, object]:
        what = f"the result of {self.workflow.name}"
        recorded = self.workflow.signature.result.record(result, what=what)
        check_size(recorded[0], self._launcher.bytes_max, what=what)
        return recorded

    async def _release_children(self) -> None:
        """Wait for the children that keep the end back; cancelled meanwhile, undo, and wait until they have stopped."""
        try:
            await self._await_children()
        except asyncio.CancelledError:
            await self._compensate()
            self._kept_back = [call for call in self._kept_back if not self.has_ended(call.child.id)]
            await self._await_children()
            raise

    async def _await_children(self) -> None:
        for call in list(self._kept_back):
            await call.wait_end(stops=self._cancel_reason is not None)

    def _complete(self, pending: PendingStep, result: Raw, value: object) -> None:
        if pending.future.done():
            return
        if value is p.NOT_DECODED:
            try:
                value = pending.step.signature.result.decode(result, what=f"the recorded result of {pending.key}")
            except InvalidValueError as error:
                raise p.BrokenProgramError(str(error)) from error
        pending.future.set_result(value)

    # The end.

    def _end(self, main: asyncio.Task[Any]) -> p.Asked:
        not_undone = {} if self._compensations is None else self._compensations.not_undone
        if main.cancelled():
            if self._cancel_reason is not None:
                return r.RunCancelled(self._cancel_reason, not_undone)
            cancelled = asyncio.CancelledError("the workflow cancelled itself")
            return r.RunFailed(failure_of(cancelled, self._launcher.secrets), not_undone)
        error = main.exception()
        if isinstance(error, Continuation):
            if self._cancel_reason is not None:
                return r.RunCancelled(self._cancel_reason, not_undone)
            calls = max(self._occurrences.values(), default=self._calls_before)
            return p.Continue(error.arguments, calls, frozenset(self._children))
        if error is None:
            error = self.unawaited.error(self.loop)
        if error is not None:
            return r.RunFailed(failure_of(error, self._launcher.secrets), not_undone)
        try:
            data, _ = self._recorded_result(main.result())
        except RelightError as refused:
            return r.RunFailed(failure_of(refused, self._launcher.secrets))
        return r.RunCompleted(Raw(data))

    # What workflows ask for.

    def call_step(
        self, step: Step[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any], place: str | None = None
    ) -> Async[Any]:
        """Return the coroutine of one recorded call."""
        place = caller(3) if place is None else place
        coroutine = self.await_step(step, args, kwargs, place)
        self.unawaited.watch(coroutine, f"step {step.name}", place)
        return coroutine

    async def await_step(
        self,
        step: Step[..., Any],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        place: str,
        digest: str = "",
    ) -> Any:
        """Ask for a step and wait for its outcome."""
        key = self.occurrence(step.name)
        digest = digest or step.signature.digest(args, kwargs)
        args, kwargs = as_they_are(args, kwargs, what=step.name)  # Of these is the digest, in each attempt.
        future = self.loop.create_future()
        self._steps[key] = PendingStep(key, step, args, kwargs, future)
        self._asked.append(r.StepScheduled(key, digest, place, step.policy.effect == "unsafe"))
        try:
            return await future
        except asyncio.CancelledError:
            if self._steps.pop(key, None) is not None:
                self.ask(r.StepCancelled(key))
            raise
        except StepFailed as error:
            # It holds the error, whose traceback will hold this frame: only the collector could free the three.
            del future
            # Each await raises its own object: a traceback must not grow with every replay.
            raise error.with_traceback(None) from None

    def continue_as_new(self, args: tuple[object, ...]) -> NoReturn:
        """End this history: its code sees a `BaseException`, and what it does then is the last of it."""
        if asyncio.current_task() is not self._main:
            raise RefusedError("only the workflow itself can continue as new, not a task of its own; return first")
        if (error := self.unawaited.error(self.loop)) is not None:
            raise error
        arguments = tuple(Raw(one) for one in self.workflow.signature.encode_arguments(args))
        unread = [] if self._arrivals is None else self._arrivals.unread()
        if self._requests is not None:
            unread += self._requests.carried()
        check_room(
            arguments,
            unread,
            children=len(self._children),
            inline_bytes_max=self._launcher.inline_bytes_max,
            bytes_max=self._launcher.carried_bytes_max,
        )
        raise Continuation(arguments)

    def compensate(self, undo: object, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Register what undoes something if the run fails or is cancelled."""
        self._compensations = self._compensations or Compensations(self)
        self._compensations.register(undo, args, kwargs)

    def takes_new_way(self, change: str) -> bool:
        """Whether the code takes the new way of a change: what it does once it does for as long as the run lives."""
        new = self._changes.setdefault(change, not self.is_replaying)
        if new and change not in self._marked:
            self._marked.add(change)
            self.ask(r.PatchMarked(change))
        return new

    @property
    def value_bytes_max(self) -> int:
        """A larger value is refused."""
        return self._launcher.bytes_max

    @property
    def inline_bytes_max(self) -> int:
        """A larger value is stored apart."""
        return self._launcher.inline_bytes_max

    def ask(self, request: r.Request) -> None:
        self._asked.append(request)

    def next_wait(self) -> int:
        self._waits += 1
        return self._waits

    async def wait_answer(self, name: str, data: Raw, place: str, problem: str) -> Raw:
        """Wait for the answer to a suspension; an early one is taken at once."""
        number = self.next_wait()
        self.ask(r.Suspended(number, name, data, place, problem))
        kept = self.arrivals.answers.pop(name, None)
        if kept is not None:
            return kept
        return await self.wait(number, self.arrivals.suspensions.setdefault(name, deque()))

    async def wait_signal(self, name: str, place: str, problem: str) -> Raw:
        """Wait for the next signal of this name; the oldest kept one is taken at once."""
        number = self.next_wait()
        self.ask(r.SignalAwaited(number, name, place, problem))
        kept = self.arrivals.signals.get(name)
        if kept:
            return kept.popleft()
        return await self.wait(number, self.arrivals.signal_waits.setdefault(name, deque()))

    async def wait(self, number: int, waits: Waits[T]) -> T:
        """Wait under a number that was recorded; to be cancelled is recorded too."""
        future: asyncio.Future[T] = self.loop.create_future()
        entry = (number, future)
        waits.append(entry)
        try:
            return await future
        except asyncio.CancelledError:
            if entry in waits:
                waits.remove(entry)
                self.ask(r.WaitCancelled(number))
            raise

    async def wait_end(self, child: str, place: str) -> r.End:
        """Wait for the end of a child; one that has ended already is known."""
        if child in self.arrivals.ends:
            return self.arrivals.ends[child]
        number = self.next_wait()
        self.ask(r.ChildAwaited(number, child, place))
        return await self.wait(number, self.arrivals.end_waits.setdefault(child, deque()))

    async def wait_for_other_code(self, problem: InvalidValueError) -> NoReturn:
        """What was recorded can't be read by this code: the run is parked as stuck, and goes on when it is mended."""
        self._unreadable = str(problem)
        while True:
            await self.loop.create_future()

    @property
    def deadline_ms(self) -> int | None:
        """When the run times out."""
        latest_ms, timeout_ms = self.started.deadline_ms, self.started.timeout_ms
        if timeout_ms is None:
            return latest_ms
        own_ms = self.started_at_ms + timeout_ms
        return own_ms if latest_ms is None else min(own_ms, latest_ms)

    def schedule_child(self, scheduled: r.ChildScheduled, call: ChildCall[Any]) -> None:
        """Announce a child, so that whoever ends this run knows of it."""
        if scheduled.close == "wait":
            self._kept_back.append(call)
        if (open_one := self._children.get(scheduled.child)) is not None:
            # This start will be refused: it changes nothing of the child that has the id.
            scheduled = msgspec.structs.replace(scheduled, queue=open_one.queue, close=open_one.close)
        self.ask(scheduled)
        self._children[scheduled.child] = scheduled

    def knows_child(self, child: str) -> bool:
        """Whether a child of this id was announced in this history."""
        return child in self._children or self.has_ended(child)

    def has_ended(self, child: str) -> bool:
        return self._arrivals is not None and child in self._arrivals.ends

    def forget_child(self, call: ChildCall[Any], *, is_first: bool) -> None:
        """It was not started: nobody waits for its end. If it is not the first of its id, that one lives on."""
        if is_first:
            self._children.pop(call.child.id, None)
        if call in self._kept_back:
            self._kept_back.remove(call)

    def make_awakeable(self, place: str) -> tuple[int, str]:
        """Create an awakeable; its token names the run and can't be guessed."""
        number = self.next_wait()
        token = awakeable_token(self.run, number, self.started.seed)
        self.arrivals.awakeables[number] = self.loop.create_future()
        self.ask(r.AwakeableCreated(number, token, place))
        return number, token

    async def wait_awakeable(self, number: int) -> Raw:
        return await asyncio.shield(self.arrivals.awakeables[number])

    def write_line(self, level: str, line: dict[str, Any]) -> None:
        """Keep a log line until its turn is durable; in a replay it was written already."""
        if not self.is_replaying:
            self._lines.append((level, line))

    # Small things.

    def occurrence(self, name: str) -> str:
        count = self._occurrences.get(name, self._calls_before) + 1
        self._occurrences[name] = count
        return f"{name}#{count}"

    def _arm(self, number: int, due_s: float) -> None:
        self.ask(r.TimerArmed(number, math.ceil(due_s * 1000)))

    def _disarm(self, number: int) -> None:
        self.ask(r.TimerCancelled(number))
