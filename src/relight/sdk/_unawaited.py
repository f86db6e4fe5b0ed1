"""What a workflow's code must await: a call that never was fails the run, and its line is named."""

from __future__ import annotations

import asyncio
import inspect
import sys
from collections.abc import Callable, Coroutine
from functools import wraps
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar, cast, final

from relight.errors import RelightError
from relight.sdk._loop_tasks import is_new
from relight.sdk._place import caller

if TYPE_CHECKING:
    from relight.sdk._activation import Activation
    from relight.sdk._loop import RunLoop

__all__ = ("Unawaited", "to_await")

P = ParamSpec("P")
T = TypeVar("T")

_PRUNED_FROM = 16  # Below this many calls, those that have begun are not looked for.


@final
class Unawaited:
    """The calls of one activation that have perhaps not begun."""

    __slots__ = ("_calls", "_max")

    def __init__(self) -> None:
        self._calls: list[tuple[Coroutine[Any, Any, Any], str, str]] = []
        self._max = _PRUNED_FROM

    def watch(self, coroutine: Coroutine[Any, Any, Any], what: str, place: str) -> None:
        if len(self._calls) >= self._max:
            self.prune()
        self._calls.append((coroutine, what, place))

    def prune(self) -> None:
        """Let go of those that have begun: a run that waits need not keep them."""
        self._calls = [call for call in self._calls if is_new(call[0])]
        self._max = max(_PRUNED_FROM, 2 * len(self._calls))

    def error(self, loop: RunLoop) -> RelightError | None:
        """Return what the code has left undone. What a task was given, or holds, may be yet to begin."""
        self.prune()
        given = loop.given() if self._calls else ()
        for coroutine, what, place in self._calls:
            if id(coroutine) not in given:
                return RelightError(f"{what} ({place}) was never awaited; write `await`, or give it to a task")
        return None

    def clear(self) -> None:
        for coroutine, _, _ in self._calls:
            if is_new(coroutine):
                coroutine.close()  # Else Python warns of it, at a line of ours. None of its code runs.
        self._calls.clear()


def to_await(of: str, activation: Callable[[Any], Activation]) -> Callable[[Callable[P, T]], Callable[P, T]]:
    """Decorate an async method of what workflows are given, a thing called `of`."""

    def decorate(method: Callable[P, T]) -> Callable[P, T]:
        what = f"{of}.{method.__name__}"

        @_as_coroutine_function
        @wraps(method)
        def call(*args: P.args, **kwargs: P.kwargs) -> T:
            made = method(*args, **kwargs)
            activation(args[0]).unawaited.watch(cast("Coroutine[Any, Any, Any]", made), what, caller())
            return made

        return call

    return decorate


def _as_coroutine_function(function: Callable[P, T]) -> Callable[P, T]:
    """Let it pass for what it wraps: `create_autospec` and `AsyncMock(spec=…)` ask."""
    if sys.version_info >= (3, 12):
        return inspect.markcoroutinefunction(function)
    function._is_coroutine = asyncio.coroutines._is_coroutine  # type: ignore[attr-defined]  # pyright: ignore
    return function
