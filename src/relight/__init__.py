"""Durable execution for AI agents and workflows on NATS JetStream. This is all that users import.

What is not an error is loaded when it is first used: the command `relight`, which lives in this package, must not load
the engine to show its help or to complete a word.
"""

from importlib import import_module
from typing import TYPE_CHECKING

from relight.errors import (
    AlreadyAnsweredError,
    ConflictError,
    IncompatibleStreamError,
    InvalidIdError,
    InvalidValueError,
    MailboxFullError,
    MapFailed,
    NonDeterminismError,
    NotDurableError,
    PayloadTooLargeError,
    RefusedError,
    RelightError,
    RequestRejected,
    RetryAfter,
    RunCancelled,
    RunEndedError,
    RunFailed,
    RunNotFoundError,
    RunTerminated,
    RunTimedOut,
    SealedError,
    SecretExposedError,
    SecretNotFoundError,
    StepCancelled,
    StepFailed,
    TerminalError,
    UnavailableError,
    UnsuitableServerError,
    WaitTimedOut,
)

if TYPE_CHECKING:
    from relight.actors.codecs import Codec, Encryption, KeyProvider, Keys, WrappedKey, Zstd
    from relight.sdk._child import Child
    from relight.sdk._client import Relight
    from relight.sdk._context import Awakeable, WorkflowContext
    from relight.sdk._description import RunDescription
    from relight.sdk._durations import Duration
    from relight.sdk._interceptors import Interceptor, RequestCall, RunCall, SignalCall, StartCall, StepCall
    from relight.sdk._known_secrets import SecretProvider
    from relight.sdk._request import Request
    from relight.sdk._run import Parked, Record, Run, RunStatus
    from relight.sdk._scope import StepInfo
    from relight.sdk._secret import Secret
    from relight.sdk._step import Async, Effect, Retry, Step, StepOptions, step
    from relight.sdk._worker import Worker
    from relight.sdk._workflow import ChildOptions, Runnable, StartOptions, Workflow, WorkflowOptions, workflow

__all__ = (
    "AlreadyAnsweredError",
    "Async",
    "Awakeable",
    "Child",
    "ChildOptions",
    "Codec",
    "ConflictError",
    "Duration",
    "Effect",
    "Encryption",
    "IncompatibleStreamError",
    "Interceptor",
    "InvalidIdError",
    "InvalidValueError",
    "KeyProvider",
    "Keys",
    "MailboxFullError",
    "MapFailed",
    "NonDeterminismError",
    "NotDurableError",
    "Parked",
    "PayloadTooLargeError",
    "Record",
    "RefusedError",
    "Relight",
    "RelightError",
    "Request",
    "RequestCall",
    "RequestRejected",
    "Retry",
    "RetryAfter",
    "Run",
    "RunCall",
    "RunCancelled",
    "RunDescription",
    "RunEndedError",
    "RunFailed",
    "RunNotFoundError",
    "RunStatus",
    "RunTerminated",
    "RunTimedOut",
    "Runnable",
    "SealedError",
    "Secret",
    "SecretExposedError",
    "SecretNotFoundError",
    "SecretProvider",
    "SignalCall",
    "StartCall",
    "StartOptions",
    "Step",
    "StepCall",
    "StepCancelled",
    "StepFailed",
    "StepInfo",
    "StepOptions",
    "TerminalError",
    "UnavailableError",
    "UnsuitableServerError",
    "WaitTimedOut",
    "Worker",
    "Workflow",
    "WorkflowContext",
    "WorkflowOptions",
    "WrappedKey",
    "Zstd",
    "step",
    "workflow",
)

_CODECS = ("Codec", "Encryption", "KeyProvider", "Keys", "WrappedKey", "Zstd")

_HOMES = {
    "Async": "_step",
    "Awakeable": "_context",
    "Child": "_child",
    "ChildOptions": "_workflow",
    "Duration": "_durations",
    "Effect": "_step",
    "Interceptor": "_interceptors",
    "Parked": "_run",
    "Record": "_run",
    "Relight": "_client",
    "Request": "_request",
    "Retry": "_step",
    "Run": "_run",
    "RunCall": "_interceptors",
    "RunDescription": "_description",
    "RunStatus": "_run",
    "Runnable": "_workflow",
    "RequestCall": "_interceptors",
    "Secret": "_secret",
    "SecretProvider": "_known_secrets",
    "SignalCall": "_interceptors",
    "StartCall": "_interceptors",
    "StartOptions": "_workflow",
    "Step": "_step",
    "StepCall": "_interceptors",
    "StepInfo": "_scope",
    "StepOptions": "_step",
    "Worker": "_worker",
    "Workflow": "_workflow",
    "WorkflowContext": "_context",
    "WorkflowOptions": "_workflow",
    "step": "_step",
    "workflow": "_workflow",
}
"""The module of `relight.sdk` in which each name lives."""


if not TYPE_CHECKING:
    # Unseen by type checkers, for which every name of the module would exist otherwise.
    def __getattr__(name: str) -> object:
        if name not in _HOMES and name not in _CODECS:
            raise AttributeError(f"module 'relight' has no attribute {name!r}")
        home = "relight.actors.codecs" if name in _CODECS else f"relight.sdk.{_HOMES[name]}"
        value: object = getattr(import_module(home), name)
        globals()[name] = value
        return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
