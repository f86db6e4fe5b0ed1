"""Throwing a run's suspended coroutines away without running their code.

When Python frees a suspended coroutine it first throws `GeneratorExit` into it, so that its `finally` blocks run. For a
run that is evicted or fenced off this would be user code running without a journal: a log line, a lock released, a
half-done clean-up. CPython offers no call to free a coroutine quietly, but it calls an object's finalizer only once and
notes this in a bit of the header that the garbage collector keeps in front of the object (`gc.is_finalized` reads it).
We set that bit, and the coroutine is freed like any other object. Of asynchronous generators the finalizer is a hook,
which the loop provides; but of one in the middle of its `aclose` Python calls it no more.

What was not done: closing the coroutines and making every Relight call raise (plain code in `finally` would still
run), keeping them for ever (a leak), a trace function that raises on every line (slow, and seen by debuggers). Where
the header is laid out in another way (a free-threaded build, another implementation, a later Python) nothing is
touched, and `finally` blocks do run when a run is dropped; the loop is closed then, so that they make nothing ready.
"""

from __future__ import annotations

import asyncio
import collections
import ctypes
import functools
import gc
import sys
import sysconfig
import types
from collections.abc import AsyncGenerator, Generator, Iterable, Iterator
from itertools import islice
from typing import Any

__all__ = ("forget_asyncgen", "is_quiet_drop_possible", "reachable", "release", "silence")

_FINALIZED_BIT = 1
_HEADER_FIELD_BYTES = ctypes.sizeof(ctypes.c_size_t)  # The last field of the header: `_gc_prev`.
_PYTHON_KNOWN_BELOW = (3, 15)
_OBJECTS_MAX = 10_000  # Of one dropped run that are looked at.

_SUSPENDABLE = (types.AsyncGeneratorType, types.CoroutineType, types.GeneratorType)
_PLAIN = (collections.deque, dict, frozenset, list, set, tuple)
_PASSAGES = (*_SUSPENDABLE, *_PLAIN, types.CellType, types.MethodType)
_PASSAGE_PACKAGES = frozenset(("anyio", "asyncio", "contextlib"))
_PASSAGE_BUILTINS = frozenset(("async_generator_asend", "async_generator_athrow", "coroutine_wrapper"))


def forget_asyncgen(generator: AsyncGenerator[object, object]) -> None:
    """Free an asynchronous generator that nobody holds any more without running its code."""


def silence(coroutines: Iterable[object]) -> None:
    """Make sure that freeing these coroutines, and all that they await or hold, runs none of their code."""
    if is_quiet_drop_possible():
        for one in islice(reachable(coroutines), _OBJECTS_MAX):
            if type(one) in _SUSPENDABLE:
                _mark_finalized(one)


def reachable(coroutines: Iterable[object]) -> Iterator[object]:
    """Iterate over these coroutines and all that they await or hold.

    Followed are locals, awaited objects, plain containers, and the objects of `contextlib`, `asyncio` and `anyio`.
    """
    waiting = collections.deque(coroutines)
    seen: set[int] = set()
    while waiting:
        one = waiting.popleft()
        if id(one) in seen or not _is_passage(one):
            continue
        seen.add(id(one))
        yield one
        is_plain = type(one) in _PLAIN
        for other in gc.get_referents(one):
            # Rows in a long list last: they must not use up the limit.
            (waiting.append if is_plain and type(other) in _PLAIN else waiting.appendleft)(other)


def release(task: asyncio.Task[Any]) -> None:
    """Take a pending task off what it waits for, and out of what lives longer, so that nothing keeps it or wakes it."""
    hidden: Any = task
    waiter = hidden._fut_waiter
    if waiter is not None:
        _clear_callbacks(waiter)
        # From Python 3.14 on it also knows by whom it is awaited.
        getattr(asyncio, "future_discard_from_awaited_by", _forget_nothing)(waiter, task)
    _clear_callbacks(task)
    # anyio's dictionary is weak in its keys, but its values lead back to the task through the scope that it is in.
    backend = sys.modules.get("anyio._backends._asyncio")
    getattr(backend, "_task_states", dict[object, object]()).pop(task, None)


def _forget_nothing(waiter: object, task: object) -> None:
    del waiter, task


def _clear_callbacks(future: Any) -> None:
    for callback, _ in future._callbacks or ():
        future.remove_done_callback(callback)


@functools.cache
def is_quiet_drop_possible() -> bool:
    """Whether this Python lays the collector's header out as we know it; tried out on a generator of our own."""
    if (
        sys.implementation.name != "cpython"
        or sys.version_info >= _PYTHON_KNOWN_BELOW
        or sysconfig.get_config_var("Py_GIL_DISABLED")
    ):
        return False
    probe = _probe()
    before = gc.is_finalized(probe)
    _mark_finalized(probe)
    return not before and gc.is_finalized(probe)


def _probe() -> Generator[None]:
    yield


def _mark_finalized(one: object) -> None:
    field = ctypes.c_size_t.from_address(id(one) - _HEADER_FIELD_BYTES)
    # Reading and writing must see no other thread and no collection in between, since both relink this very field.
    # They don't: CPython lets others in on calls and backward jumps only, and this statement has neither.
    field.value |= _FINALIZED_BIT


def _is_passage(one: object) -> bool:
    kind = type(one)
    if kind in _PASSAGES:
        return True
    if isinstance(one, type | types.ModuleType | types.FunctionType | asyncio.AbstractEventLoop):
        return False
    return kind.__name__ in _PASSAGE_BUILTINS or kind.__module__.partition(".")[0] in _PASSAGE_PACKAGES
