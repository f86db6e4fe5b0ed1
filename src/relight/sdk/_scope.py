"""Where the running code is: in a workflow, in a step, or in neither."""

from __future__ import annotations

import inspect
import uuid
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Protocol

from msgspec import Raw, Struct

from relight.sdk._known_secrets import Secrets
from relight.subjects.records import RunStarted

if TYPE_CHECKING:
    from relight.sdk._activation import Activation
    from relight.sdk._interceptors import Interceptors

__all__ = ("SCOPE", "Sender", "StepInfo", "StepScope", "activation", "faked", "step_scope")


@dataclass(frozen=True, kw_only=True)
class StepInfo:
    """What a step may know of its own execution."""

    run_id: str
    name: str
    attempt: int
    idempotency_key: str
    deadline: datetime | None


class Sender(Protocol):
    """What the steps of our own send with: the worker's client. The worker's interceptors are `around` its own."""

    async def send_signal(self, run_id: str, name: str, data: object, *, id: str, around: Interceptors) -> None: ...
    async def start_child(self, run_id: str, started: RunStarted, *, around: Interceptors) -> None: ...
    async def cancel_child(self, run_id: str, queue: str, parent: str, reason: str) -> None: ...


def _no_heartbeat(details: object) -> None:
    """Outside a run nobody waits for it."""


class StepScope(Struct):
    """What `step.info()`, `step.heartbeat()` and `step.deps()` reach for."""

    run_id: str
    name: str
    attempt: int
    idempotency_key: str
    deadline: datetime | None = None
    deps: object = None
    has_deps: bool = False
    heartbeat: Callable[[object], None] = _no_heartbeat
    last_heartbeat: Raw | None = None
    fakes: Mapping[str, Callable[..., Any]] = {}
    sender: Sender | None = None
    secrets: Secrets | None = None
    interceptors: Interceptors = ()

    @property
    def info(self) -> StepInfo:
        """Made when it is asked for: most steps never do."""
        return StepInfo(
            run_id=self.run_id,
            name=self.name,
            attempt=self.attempt,
            idempotency_key=self.idempotency_key,
            deadline=self.deadline,
        )


SCOPE: ContextVar[Activation | StepScope | None] = ContextVar("relight_scope", default=None)


def activation() -> Activation | None:
    """The activation whose workflow is running here."""
    scope = SCOPE.get()
    return None if scope is None or isinstance(scope, StepScope) else scope


def step_scope() -> StepScope:
    """The scope of the step that runs here; outside a run one with attempt 1 and a fresh key."""
    scope = SCOPE.get()
    return scope if isinstance(scope, StepScope) else fresh_scope(None)


def fresh_scope(outer: StepScope | None, name: str = "") -> StepScope:
    """The scope of a step that simply runs, in another step or outside a run."""
    key = uuid.uuid4().hex
    if outer is None:
        return StepScope("", name, 1, key)
    return StepScope(
        outer.run_id,
        name,
        1,
        key,
        deps=outer.deps,
        has_deps=outer.has_deps,
        heartbeat=outer.heartbeat,
        fakes=outer.fakes,
        secrets=outer.secrets,
    )


async def faked(fake: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Run what stands in for a step, on this loop, whether or not it is a coroutine function."""
    result = fake(*args, **kwargs)
    return await result if inspect.isawaitable(result) else result
