"""The tasks, futures and handles of a workflow's loop: their order is a matter of counting, never of addresses.

`TaskGroup` aborts and `asyncio.wait` iterate over sets, whose order follows from the hashes of what is in them. The
hashes here are a counter of the run, so that each replay iterates alike, in whatever process. (anyio also keeps
*scopes* in sets, whose hashes are not ours: there `RunLoop.cancel_in_order` puts the cancellations in order.)
"""

from __future__ import annotations

import asyncio
import contextvars
import sys
import traceback
from collections.abc import Callable, Coroutine, Iterable, Iterator
from inspect import CORO_CREATED, getcoroutinestate
from types import CoroutineType, FrameType
from typing import TYPE_CHECKING, Any, TypeVar, cast

from msgspec import Struct
from typing_extensions import TypeIs

if TYPE_CHECKING:
    from relight.sdk._loop import RunLoop

__all__ = (
    "Callback",
    "Redelivered",
    "Redelivery",
    "RunFuture",
    "RunTask",
    "is_new",
    "is_redelivery",
    "stack_of",
    "task_behind",
)

_T = TypeVar("_T")


class RunFuture(asyncio.Future[_T]):
    """A future whose hash is its number in the run."""

    __slots__ = ("number",)

    number: int  # Set by who makes it: a run makes one for each step, and an `__init__` doubles the time.

    def __hash__(self) -> int:
        return self.number


class RunTask(asyncio.Task[_T]):
    """A task whose hash is its number in the run.

    Attributes:
        place: Where in the user's code it was made; empty if its own code says better where its calls stand.
    """

    __slots__ = ("_number", "place")

    def __init__(
        self, coroutine: Coroutine[Any, Any, _T], number: int, place: str, *, loop: RunLoop, **kwargs: Any
    ) -> None:
        self.place = place
        self._number = number
        super().__init__(coroutine, loop=loop, **kwargs)

    def __hash__(self) -> int:
        return self._number

    def cancel(self, msg: Any | None = None) -> bool:
        frame = sys._getframe(1)  # pyright: ignore[reportPrivateUsage]
        if frame.f_code.co_name == "_deliver_cancellation" and _is_from_anyio(frame.f_globals):
            loop: Any = self.get_loop()
            loop.cancel_in_order(self, msg)
            return True
        for handed in _handed_on(self.get_coro()):
            handed.close()  # No code of the task will run that could begin it: nobody has forgotten it.
        return super().cancel(msg)


def _handed_on(coroutine: object) -> Iterator[CoroutineType[Any, Any, Any]]:
    """Iterate over the arguments of a coroutine that has not begun which are such coroutines, and over theirs."""
    frame = coroutine.cr_frame if is_new(coroutine) else None
    for value in () if frame is None else frame.f_locals.values():
        for one in cast("Iterable[object]", value) if type(value) in (tuple, list) else (value,):
            if is_new(one):
                yield from _handed_on(one)
                yield one


def is_new(one: object) -> TypeIs[CoroutineType[Any, Any, Any]]:
    """Whether it is a coroutine that has not begun."""
    return isinstance(one, CoroutineType) and getcoroutinestate(cast("Coroutine[Any, Any, Any]", one)) == CORO_CREATED


def _is_from_anyio(module_globals: dict[str, Any]) -> bool:
    return str(module_globals.get("__name__", "")).startswith("anyio.")


class Callback(Struct, eq=False):
    """A callback that is ready to run: what `call_soon` returns. A run makes some for each step, so it is a struct."""

    _callback: Callable[..., object]
    _args: tuple[Any, ...]
    _context: contextvars.Context
    _cancelled: bool = False

    def cancel(self) -> None:
        self._cancelled = True

    def cancelled(self) -> bool:
        return self._cancelled

    def get_context(self) -> contextvars.Context:
        return self._context


class Redelivery(Callback, eq=False):
    """A cancelled scope of anyio trying again on the next pass. It alone keeps no turn going."""


class Redelivered(Callback, eq=False):
    """A task that wakes up because a scope tried again. It may await the next thing, and be woken so for ever."""


def is_redelivery(callback: Any) -> bool:
    """Whether this method is an anyio cancel scope's own callback: a private one, whatever its name is."""
    if not callback.__func__.__name__.startswith("_"):
        return False
    anyio = sys.modules.get("anyio")
    return anyio is not None and isinstance(callback.__self__, anyio.CancelScope)


def task_behind(handle: Any) -> asyncio.Task[Any] | None:
    """Return the task that this callback steps or wakes up, if it does that."""
    callback: object = handle._callback
    owner: Any = getattr(callback, "__self__", None)
    return owner if issubclass(type(owner), RunTask) else None


def stack_of(task: asyncio.Task[Any]) -> str:
    """Return the stack of a suspended task as text, the innermost frame last."""
    frames: list[tuple[FrameType, int]] = []
    waiting: object = task.get_coro()
    while isinstance(waiting, CoroutineType):
        frame: FrameType | None = waiting.cr_frame
        if frame is not None:
            frames.append((frame, frame.f_lineno))
        waiting = waiting.cr_await
    summary = traceback.StackSummary.extract(iter(frames))
    return f"{task.get_name()}\n{''.join(summary.format())}"
