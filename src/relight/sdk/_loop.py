"""The loop on which a workflow's coroutines run: it knows no clock and no I/O, and ends when every task is blocked.

What happens on it depends on the sequence of calls from outside and on nothing else: callbacks run first in, first out;
tasks and futures hash by a counter of the run; time stands still until it is set; timers are reported, not waited for.
That is why a replay which makes the same calls in the same order sees the same run.

The order of one pass is asyncio's own: all callbacks that are ready when it begins. One thing differs. A cancelled
scope of anyio calls itself again on every pass until its tasks have left it, which may take a week here. Such a
redelivery runs in its place in the queue as long as there is something else to do, so that whoever begins to wait later
in the turn is cancelled as anyio promises; when a whole pass consisted of nothing else, the loop is blocked.
"""

from __future__ import annotations

import asyncio
import contextvars
import math
import sys
from asyncio import tasks as asyncio_tasks
from collections.abc import Callable, Coroutine, Sequence
from operator import itemgetter
from types import MethodType
from typing import Any, TypeVarTuple, final

from relight.errors import RelightError
from relight.sdk._loop_drop import forget_asyncgen, reachable, release, silence
from relight.sdk._loop_refusals import PureLoop, in_order, refuse
from relight.sdk._loop_tasks import (
    Callback,
    Redelivered,
    Redelivery,
    RunFuture,
    RunTask,
    is_redelivery,
    stack_of,
    task_behind,
)
from relight.sdk._loop_timers import RunTimer, Timers
from relight.sdk._place import place_of_task

__all__ = ("EndlessTurnError", "RunLoop")

_Ts = TypeVarTuple("_Ts")

_UNHANDLED_MAX = 16  # Contexts kept; each holds an exception with its frames, and the first ones tell the story.
_TASKS_PRUNED_FROM = 16  # Below this many tasks, done ones are not looked for.
# From 3.14 on the current task belongs to the thread, not to the loop, and a second one is refused. Known since 3.12.
# Each of these asks the kernel for the process's id on Python 3.11.
_get_running_loop, _set_running_loop = asyncio._get_running_loop, asyncio._set_running_loop
_swap_current_task: Callable[..., asyncio.Task[Any] | None] | None = getattr(asyncio_tasks, "_swap_current_task", None)
_RAISED = "exception in a callback"
_PASSES_IN_VAIN_MAX = 100
"""In a row, in which cancelled scopes of anyio tried again, and what they woke only waited again: then all wait. An
`asyncio.TaskGroup` in a cancelled scope waits so for a child that has caught its cancellation."""

_SEED_BITS = 6  # Up to 64 tasks of one set are iterated in the order of their creation, whatever the seed.


class EndlessTurnError(RelightError):
    """The run's code never blocks: it spins, or catches its cancellation for ever.

    Attributes:
        stack: Name and stack of the task that keeps the loop busy.
        callbacks: How many callbacks had run.
    """

    def __init__(self, stack: str, callbacks: int) -> None:
        super().__init__(f"the workflow was busy for {callbacks} callbacks without waiting for anything; {stack}")
        self.stack = stack
        self.callbacks = callbacks


@final
class RunLoop(PureLoop):
    """A loop that runs until all its tasks wait, and does the same again when it is called in the same way.

    Asynchronous generators that a workflow abandons are not finished by the loop (nobody could replay when): use
    `contextlib.aclosing` for those with clean-up. The loop is used by one thread at a time.

    Args:
        arm: Called as `arm(number, due_seconds)` when the loop blocks, for each timer that was asked for since it last
            blocked and still stands, in the order of creation. Timers are numbered from 1 in the order of creation;
            those due at once, or never, have no number.
        disarm: Called when the loop blocks, before `arm`, with the number of each armed timer that was cancelled, in
            the order of cancellation.
        callbacks_max: More callbacks than this in one call of `run_until_blocked` are an endless turn.
        seed: Where the run's hashes begin. It must be the same in each replay and should differ between runs, because
            asyncio and anyio keep the tasks of all runs in one dictionary.
    """

    __slots__ = (
        "_arm",
        "_callbacks_max",
        "_closed",
        "_disarm",
        "_has_redelivered",
        "_is_redelivering",
        "_number",
        "_outside",
        "_ready",
        "_running",
        "_tasks",
        "_tasks_max",
        "_tasks_named",
        "_time",
        "_timers",
        "_to_cancel",
        "unhandled",
    )

    def __init__(
        self,
        *,
        arm: Callable[[int, float], None],
        disarm: Callable[[int], None],
        callbacks_max: int,
        seed: int = 0,
    ) -> None:
        self._arm = arm
        self._disarm = disarm
        self._callbacks_max = callbacks_max
        self._number = seed << _SEED_BITS
        self._time = 0.0
        self._ready: list[Any] = []  # Handles, of which typeshed leaves the slots out.
        self._tasks: list[asyncio.Task[Any]] = []
        self._tasks_max = _TASKS_PRUNED_FROM
        self._tasks_named = 0
        # Most runs have no timers, and 10,000 waiting ones are kept: what is not used is not made.
        self._timers: Timers | None = None
        self._to_cancel: list[tuple[int, asyncio.Task[Any], Any]] | None = None
        self._is_redelivering = False
        self._has_redelivered = False
        self._running = False
        self._outside: tuple[asyncio.AbstractEventLoop | None, asyncio.Task[Any] | None, tuple[Any, Any]] | None = None
        self._closed = False
        self.unhandled: Sequence[dict[str, Any]] = ()

    # What the activation calls.

    def run_until_blocked(self) -> None:
        """Run what is ready, and what becomes ready by it, until every task waits; then report the timers.

        Call it from a plain callback or a thread. The loop that runs there already, and its current task, are put aside
        and are as before when this returns.

        Raises:
            EndlessTurnError: More than `callbacks_max` callbacks ran. Nothing was reported; the run can only be closed.
        """
        if self._ready and not (self._has_redelivered and _is_at_rest(self._ready)):
            if self._outside is not None:
                self._run_passes()
            else:
                self.enter()
                try:
                    self._run_passes()
                finally:
                    self.leave()
        if self._timers is not None:
            self._timers.report(self._arm, self._disarm)

    def enter(self) -> None:
        """Stay entered until `leave`: many calls of `run_until_blocked` in a row put the outer loop aside only once."""
        outer, task = _get_running_loop(), None
        if _swap_current_task is not None and outer is not None:
            task = asyncio.current_task(outer)
            if task is not None:  # Python 3.12.1 raises a KeyError for a swap where no task is current (seen).
                _swap_current_task(outer, None)
        self._outside = (outer, task, sys.get_asyncgen_hooks())
        sys.set_asyncgen_hooks(None, forget_asyncgen)
        _set_running_loop(self)

    def leave(self) -> None:
        """Let the loop that runs here, and its current task, be as they were before `enter`."""
        assert self._outside is not None, "who leaves has entered"
        (outer, task, hooks), self._outside = self._outside, None
        _set_running_loop(outer)
        sys.set_asyncgen_hooks(*hooks)
        if _swap_current_task is not None and task is not None:
            _swap_current_task(outer, task)

    def set_time(self, seconds: float) -> None:
        """Set what `time` returns, in seconds since the epoch; a time before the present one changes nothing."""
        self._time = max(self._time, seconds)

    def fire(self, number: int) -> None:
        """Make the callback of a timer ready, at its due time or later; no-op when it was cancelled or has fired."""
        timer = self._timers.take(number) if self._timers else None
        if timer is not None:
            # The record's time may be rounded to less than was asked for, and code that then looks would arm again.
            self.set_time(timer.when())
            self._ready.append(timer)

    def given(self) -> set[int]:
        """Return the ids of what the tasks that have not ended are made of, await and hold: they may yet begin it."""
        return {id(one) for one in reachable(task.get_coro() for task in self._tasks if not task.done())}

    def close(self) -> None:
        """Throw the run away without running any of its code; nothing is printed. Idempotent."""
        assert not self._running, "a run's loop is not closed from within"
        if self._closed:
            return
        self._closed = True
        if pending := [task for task in self._tasks if not task.done()]:
            silence([task.get_coro() for task in pending])
            for task in pending:
                release(task)
        self._ready, self._tasks = [], []
        self._timers = self._to_cancel = None
        self._arm, self._disarm = _ignore_arm, _ignore_disarm
        self.unhandled = ()

    # What tasks and futures call.

    def create_future(self) -> RunFuture[Any]:
        future: RunFuture[Any] = RunFuture(loop=self)
        self._number = future.number = self._number + 1
        return future

    def create_task(
        self, coro: Any, *, name: object = None, context: contextvars.Context | None = None, **kwargs: Any
    ) -> RunTask[Any]:
        """Make a task of a coroutine; unless it is named, it is called after its number in the run."""
        self._number = number = self._number + 1
        self._tasks_named += 1
        task: RunTask[Any] = RunTask(
            in_order(_expect_coroutine(coro), sys._getframe(1)),  # pyright: ignore[reportPrivateUsage]
            number,
            place_of_task(coro) if self._running else "",
            loop=self,
            name=f"Task-{self._tasks_named}" if name is None else name,
            context=context,
            **kwargs,
        )
        if len(self._tasks) >= self._tasks_max:
            self._prune_tasks()
        # asyncio itself holds tasks weakly: one that waits for nothing reachable would be freed when the garbage
        # collector happens to run, and its `finally` blocks would run then.
        self._tasks.append(task)
        return task

    def call_soon(
        self, callback: Callable[[*_Ts], object], *args: *_Ts, context: contextvars.Context | None = None
    ) -> asyncio.Handle:
        context = contextvars.copy_context() if context is None else context
        if type(callback) is MethodType and is_redelivery(callback):
            handle: Callback = Redelivery(callback, args, context)
            self._has_redelivered = True
            self._cancel_now()
        elif self._is_redelivering:
            handle = Redelivered(callback, args, context)
        else:
            handle = Callback(callback, args, context)
        if not self._closed:
            self._ready.append(handle)
        return handle  # type: ignore[return-value]  # pyright: ignore[reportReturnType]  # like that of uvloop, none of asyncio's

    def call_later(
        self, delay: float, callback: Callable[[*_Ts], object], *args: *_Ts, context: contextvars.Context | None = None
    ) -> asyncio.TimerHandle:
        return self.call_at(self._time + delay, callback, *args, context=context)

    def call_at(
        self, when: float, callback: Callable[[*_Ts], object], *args: *_Ts, context: contextvars.Context | None = None
    ) -> asyncio.TimerHandle:
        """Run the callback at this time: durably, unless it is now, past, or never."""
        if math.isnan(when):
            raise ValueError("the time of a timer can't be NaN")
        timer = RunTimer(when, callback, args, self, context)
        if self._closed or when == math.inf:
            return timer
        if when <= self._time:
            self._ready.append(timer)
            return timer
        if self._timers is None:
            self._timers = Timers()
        self._timers.add(timer)
        return timer

    def time(self) -> float:
        return self._time

    def cancel_in_order(self, task: asyncio.Task[Any], message: Any) -> None:
        """Cancel this task together with the others that an anyio scope cancels now, in the order of creation.

        anyio walks over a set of scopes that hash by address; at the end of the walk it calls `call_soon`.
        """
        if self._to_cancel is None:
            self._to_cancel = []
        self._to_cancel.append((hash(task), task, message))

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        """Keep the context in `unhandled`. Nothing is printed: it would be printed again in every replay."""
        if not self._closed and len(self.unhandled) < _UNHANDLED_MAX:
            self.unhandled = [*self.unhandled, context]

    default_exception_handler = call_exception_handler

    def get_exception_handler(self) -> None:
        return None

    def set_exception_handler(self, handler: object) -> None:
        refuse("set_exception_handler", "catch the exception where the task is awaited")

    def get_task_factory(self) -> None:
        return None

    def is_running(self) -> bool:
        return self._running

    def is_closed(self) -> bool:
        return self._closed

    def set_debug(self, enabled: bool) -> None:
        """Change nothing: debug mode measures time."""

    def get_debug(self) -> bool:
        # anyio starts its threads without asking the loop. All that it does on the loop before is make a future, which
        # asks whether the loop is in debug mode.
        if sys._getframe(1).f_code.co_name == "run_sync_in_worker_thread":  # pyright: ignore[reportPrivateUsage]
            refuse("run_in_executor")
        return False

    async def shutdown_asyncgens(self) -> None:
        """Change nothing: abandoned asynchronous generators are not finished."""

    async def shutdown_default_executor(self, timeout: float | None = None) -> None:
        """Change nothing: there is no executor."""

    # How it runs.

    def _run_passes(self) -> None:
        assert not self._running, "a run's loop is not entered twice"
        callbacks = passes_in_vain = 0
        is_blocked = False
        self._running = True
        try:
            while self._ready and not is_blocked:
                handles, self._ready = self._ready, []
                callbacks += len(handles)
                if callbacks > self._callbacks_max:
                    raise EndlessTurnError(_busy_stack(handles), callbacks)
                is_blocked = self._has_redelivered and _is_at_rest(handles)
                for handle in handles:
                    if not handle._cancelled:
                        # Here, not in a function of its own: this is done for each step.
                        try:
                            handle._context.run(handle._callback, *handle._args)
                        except KeyboardInterrupt:
                            raise
                        except BaseException as error:  # noqa: BLE001  # A workflow's sys.exit fails its run, not the worker.
                            self.call_exception_handler({"message": _RAISED, "exception": error, "handle": handle})
                if self._has_redelivered:  # Most runs have no scope of anyio that is cancelled.
                    passes_in_vain = passes_in_vain + 1 if _only_redelivers(handles) else 0
                    is_blocked = (is_blocked and _is_at_rest(self._ready)) or passes_in_vain == _PASSES_IN_VAIN_MAX
                # From Python 3.13 on a traceback keeps this frame, with the handle, and by it its own error.
                handle, handles = None, []
        finally:
            self._running = False

    def _timer_handle_cancelled(self, timer: RunTimer) -> None:
        if self._timers is not None:
            self._timers.cancel(timer)

    def _cancel_now(self) -> None:
        to_cancel, self._to_cancel = self._to_cancel, None
        self._is_redelivering = True
        for _, task, message in sorted(to_cancel or (), key=itemgetter(0)):
            task.cancel(message)
        self._is_redelivering = False

    def _prune_tasks(self) -> None:
        self._tasks = [task for task in self._tasks if not task.done()]
        self._tasks_max = max(_TASKS_PRUNED_FROM, 2 * len(self._tasks))


def _is_at_rest(ready: Sequence[object]) -> bool:
    # A plain loop: a generator costs more than the one or two handles that there are.
    for handle in ready:  # noqa: SIM110
        if type(handle) is not Redelivery:
            return False
    return True


def _only_redelivers(handles: Sequence[object]) -> bool:
    for handle in handles:  # noqa: SIM110 - as above
        if type(handle) is not Redelivery and type(handle) is not Redelivered:
            return False
    return True


def _busy_stack(handles: Sequence[object]) -> str:
    for handle in handles:
        task = task_behind(handle)
        if task is not None:
            return stack_of(task)
    return f"{handles[-1]!r}"


def _expect_coroutine(coro: Any) -> Coroutine[Any, Any, Any]:
    if not asyncio.iscoroutine(coro):
        raise TypeError(f"a coroutine was expected, got {coro!r}")
    return coro


def _ignore_arm(number: int, due_seconds: float) -> None:
    del number, due_seconds


def _ignore_disarm(number: int) -> None:
    del number
