"""The threads in which plain functions run as steps."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Executor, Future
from contextlib import suppress
from functools import partial
from queue import Empty, SimpleQueue
from threading import Lock, Semaphore, Thread
from typing import Any, ParamSpec, TypeAlias, TypeVar, cast

import structlog

__all__ = ("StepThreads",)

P = ParamSpec("P")
T = TypeVar("T")

_log = structlog.stdlib.get_logger("relight")

_Work: TypeAlias = "tuple[Future[Any], Callable[[], Any]]"


class _Call(Future[T]):
    """A function that is called in a thread."""

    def __init__(self, give_up: Callable[[_Call[Any]], None]) -> None:
        super().__init__()
        self._give_up = give_up

    def cancel(self) -> bool:
        """Called also when an attempt times out, or is told to stop."""
        is_cancelled = super().cancel()
        if not is_cancelled and self.running():
            self._give_up(self)
        return is_cancelled


class StepThreads(Executor):
    """Like `ThreadPoolExecutor`, but nobody waits for its threads when the process ends.

    A thread can't be stopped from outside: a step that goes on and on would keep a worker that was told to stop alive,
    although its run went on elsewhere long ago. For one that nobody waits for any more another thread stands in, until
    it ends: a few dozen calls that hang would else leave none for all other steps.

    Args:
        threads_max: As many functions run at a time that somebody waits for; further ones wait.
    """

    def __init__(self, threads_max: int) -> None:
        self._threads_max = threads_max
        self._threads = 0
        self._idle = Semaphore(0)
        self._work: SimpleQueue[_Work | None] = SimpleQueue()
        self._is_shut_down = False
        self._lock = Lock()
        self._given_up: set[_Call[Any]] = set()

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        if self._is_shut_down:
            raise RuntimeError("these threads begin nothing more: their worker has ended")
        future: _Call[T] = _Call(self._stand_in)
        self._work.put((future, partial(fn, *args, **kwargs)))
        if self._threads < self._threads_max and not self._idle.acquire(blocking=False):
            self._start_thread(future)
        return future

    def _start_thread(self, future: Future[Any]) -> None:
        with self._lock:
            self._threads += 1
        try:
            Thread(target=self._serve, name=f"relight-step_{self._threads}", daemon=True).start()
        except RuntimeError:  # The system gives no more.
            with self._lock:
                self._threads -= 1
            # What is refused must not run later all the same; but if there are others, it is theirs.
            if not self._threads and future.cancel():
                raise

    def _stand_in(self, call: _Call[Any]) -> None:
        """Nobody waits for this call any more, and it goes on."""
        with self._lock:
            if call in self._given_up or self._is_shut_down:
                return
            self._given_up.add(call)
            self._threads_max += 1
        _log.warning("step_thread_given_up", threads=len(self._given_up))
        self._start_thread(Future())
        call.add_done_callback(self._is_back)

    def _is_back(self, call: Future[Any]) -> None:
        with self._lock:
            self._given_up.discard(cast("_Call[Any]", call))
            self._threads_max -= 1

    def _is_one_too_many(self) -> bool:
        with self._lock:
            if self._threads <= self._threads_max:
                return False
            self._threads -= 1
            return True

    def shutdown(self, wait: bool = False, *, cancel_futures: bool = True) -> None:
        """Begin nothing more. What runs goes on, and nobody waits for it."""
        self._is_shut_down = True
        with suppress(Empty):  # `empty` says nothing: a thread may take the last one at any moment.
            while True:
                work = self._work.get_nowait()
                if work is not None:
                    work[0].cancel()
        for _ in range(self._threads):
            self._work.put(None)

    def _serve(self) -> None:
        while (work := self._work.get()) is not None:
            _do(*work)
            del work  # Arguments and result are freed now, not when the thread gets something else to do.
            if self._is_one_too_many():
                return
            self._idle.release()


def _do(future: Future[Any], call: Callable[[], Any]) -> None:
    if not future.set_running_or_notify_cancel():
        return
    try:
        result = call()
    except BaseException as error:  # noqa: BLE001 - whatever a step raises is its outcome
        future.set_exception(error)
    else:
        future.set_result(result)
