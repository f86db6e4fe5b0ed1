"""`workflow`: the decorator, and what is known of a workflow."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Coroutine, Mapping
from datetime import datetime
from functools import cached_property
from typing import (
    TYPE_CHECKING,
    Any,
    Concatenate,
    Generic,
    Literal,
    ParamSpec,
    Protocol,
    TypeAlias,
    TypedDict,
    TypeVar,
    cast,
    overload,
)

from typing_extensions import TypeVarTuple, Unpack

from relight.sdk._durations import Duration, seconds
from relight.sdk._step import Async
from relight.sdk._values import Signature, signature_types
from relight.subjects.ids import name_of, queue_name

if TYPE_CHECKING:
    from relight.sdk._context import WorkflowContext

__all__ = ("DEFAULT_QUEUE", "ChildOptions", "Runnable", "StartOptions", "Workflow", "WorkflowOptions", "workflow")

P = ParamSpec("P")
R = TypeVar("R")
Ts = TypeVarTuple("Ts")

DEFAULT_QUEUE = "default"

Runnable: TypeAlias = "Callable[[WorkflowContext, Unpack[Ts]], Coroutine[Any, Any, R]]"
"""A workflow whose positional arguments are `Ts`. (A Protocol would also refuse plain functions, but mypy can't solve
one when a parameter has a default; so a plain function is refused at run time.)"""


class WorkflowOptions(TypedDict, total=False):
    """`name` defaults to the function's; `timeout` is that of the whole run, waits included.

    With `pin="version"` a run stays with workers of the version that began it.
    """

    name: str
    queue: str
    timeout: Duration
    pin: Literal["none", "version"]


class StartOptions(TypedDict, total=False):
    """Options of one start.

    `id` names the run for ever; without it a random one is made. `delay` and `at` put its first line off. `on_conflict`
    says what happens if the id is taken by the same workflow with the same arguments.
    """

    id: str
    queue: str
    delay: Duration
    at: datetime
    timeout: Duration
    tags: Mapping[str, str]
    on_conflict: Literal["attach", "fail"]


class ChildOptions(StartOptions, total=False):
    """Options of a child. `on_parent_close`: it is cancelled (default) or left alone, or its parent's end waits."""

    on_parent_close: Literal["cancel", "detach", "wait"]


class Workflow(Generic[P, R]):
    """Called with a context it runs in line, as part of the calling run. `start` and `call` make a run of its own.

    Attributes:
        name: By which runs know it, for ever.
        queue: Of the workers that run it.
        timeout_s: Of a whole run, None without limit.
        is_pinned: Its runs stay with workers of the version that began them.
        function: The undecorated function.
    """

    name: str

    def __init__(self, function: Callable[Concatenate[WorkflowContext, P], Async[R]], options: WorkflowOptions) -> None:
        if not inspect.iscoroutinefunction(function):
            raise TypeError(f"@workflow needs an `async def`, and {function!r} is none")
        _check_parameters(function)
        unknown = set(options) - set(WorkflowOptions.__annotations__)
        if unknown:
            raise TypeError(f"unknown options of workflow {function.__name__!r}: {', '.join(sorted(unknown))}")
        self.function = function
        self.name = name_of("workflow name", options.get("name", function.__name__))
        self.queue = queue_name(options.get("queue", DEFAULT_QUEUE))
        self.timeout_s = seconds("timeout", options["timeout"]) if "timeout" in options else None
        if options.get("pin", "none") not in ("none", "version"):
            raise TypeError(
                f"pin={options.get('pin')!r} of workflow {self.name!r} is unknown; pass 'none' or 'version'"
            )
        self.is_pinned = options.get("pin") == "version"
        self.__doc__ = function.__doc__
        self.__name__ = function.__name__
        self.__wrapped__ = function

    @cached_property
    def signature(self) -> Signature:
        """Made when it is first needed, when all annotations can be resolved."""
        return signature_types(self.function, leading=1)

    def __call__(self, ctx: WorkflowContext, /, *args: P.args, **kwargs: P.kwargs) -> Async[R]:
        return self.function(ctx, *args, **kwargs)

    def __repr__(self) -> str:
        return f"<workflow {self.name}>"


class _WorkflowDecorator(Protocol):
    def __call__(
        self, function: Callable[Concatenate[WorkflowContext, P], Coroutine[Any, Any, R]], /
    ) -> Workflow[P, R]: ...


@overload
def workflow(function: Callable[Concatenate[WorkflowContext, P], Coroutine[Any, Any, R]], /) -> Workflow[P, R]: ...
@overload
def workflow(**options: Unpack[WorkflowOptions]) -> _WorkflowDecorator: ...
def workflow(*function: Any, **options: Any) -> Any:
    """Make a workflow of an `async def` whose first parameter is the context.

    Raises:
        TypeError: It is not async, or an option is unknown.
        InvalidIdError: The name or the queue can't be one.
    """
    if function:
        return Workflow(function[0], cast("WorkflowOptions", options))

    def decorate(later: Callable[..., Any]) -> Workflow[..., Any]:
        return Workflow(later, cast("WorkflowOptions", options))

    return decorate


def _check_parameters(function: Callable[..., Any]) -> None:
    """A run is given its context and its arguments by position."""
    parameters = list(inspect.signature(function).parameters.values())
    name = function.__name__
    if not parameters or parameters[0].kind in (inspect.Parameter.KEYWORD_ONLY, inspect.Parameter.VAR_KEYWORD):
        raise TypeError(f"workflow {name!r} takes no context; write `async def {name}(ctx: WorkflowContext, …)`")
    for one in parameters:
        if one.kind is inspect.Parameter.KEYWORD_ONLY and one.default is inspect.Parameter.empty:
            raise TypeError(f"workflow {name!r} takes {one.name!r} by keyword only; let it be positional")
