"""Interceptors: code around starts, runs, steps, signals and requests, with headers that travel along."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias, TypeVar

from relight.sdk._scope import StepInfo

__all__ = (
    "Interceptor",
    "Interceptors",
    "RequestCall",
    "RunCall",
    "SignalCall",
    "StartCall",
    "StepCall",
    "joined",
    "through",
)

C = TypeVar("C")
Next: TypeAlias = Callable[[C], Awaitable[Any]]


@dataclass(slots=True, kw_only=True)
class StartCall:
    """A start that a client or a run is about to make; what is put into `headers` is recorded and reaches its steps."""

    run_id: str
    workflow: str
    headers: dict[str, str]


@dataclass(slots=True, kw_only=True)
class SignalCall:
    """A signal that a client or a run is about to send."""

    run_id: str
    name: str
    headers: dict[str, str]


@dataclass(slots=True, kw_only=True)
class RequestCall:
    """A request that a client is about to make; `next` returns its answer."""

    run_id: str
    name: str
    headers: dict[str, str]


@dataclass(slots=True, kw_only=True)
class RunCall:
    """A workflow that begins, or is replayed: what runs around it must be as deterministic as the workflow itself."""

    run_id: str
    workflow: str
    is_replaying: Callable[[], bool]
    headers: dict[str, str]


@dataclass(slots=True, kw_only=True)
class StepCall:
    """An attempt of a step."""

    info: StepInfo
    headers: dict[str, str]


class Interceptor:
    """Override what you need; each method must return what `next(call)` returns, or raise."""

    async def start(self, call: StartCall, next: Next[StartCall]) -> Any:
        return await next(call)

    async def signal(self, call: SignalCall, next: Next[SignalCall]) -> Any:
        return await next(call)

    async def request(self, call: RequestCall, next: Next[RequestCall]) -> Any:
        return await next(call)

    async def run(self, call: RunCall, next: Next[RunCall]) -> Any:
        return await next(call)

    async def step(self, call: StepCall, next: Next[StepCall]) -> Any:
        return await next(call)


Interceptors: TypeAlias = Sequence[Interceptor]


def joined(outside: Interceptors, inside: Interceptors) -> Interceptors:
    """Return the interceptors of both; one that both have is outside only."""
    return (*outside, *(own for own in inside if all(own is not other for other in outside)))


def through(interceptors: Interceptors, method: str, innermost: Next[C]) -> Next[C]:
    """Return `innermost` with the interceptors' `method` around it; the first one is outermost."""
    chain = innermost
    for one in reversed(interceptors):
        chain = _around(getattr(one, method), chain)
    return chain


def _around(method: Callable[[C, Next[C]], Awaitable[Any]], following: Next[C]) -> Next[C]:
    return lambda call: method(call, following)
