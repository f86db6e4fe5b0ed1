"""Durable execution for AI agents and workflows on NATS JetStream. This is all that users import."""

from relight.errors import (
    AlreadyAnsweredError,
    ConflictError,
    IncompatibleStreamError,
    InvalidIdError,
    InvalidValueError,
    MailboxFullError,
    NonDeterminismError,
    NotDurableError,
    PayloadTooLargeError,
    RefusedError,
    RelightError,
    RetryAfter,
    RunCancelled,
    RunFailed,
    RunNotFoundError,
    RunTerminated,
    RunTimedOut,
    StepCancelled,
    StepFailed,
    TerminalError,
    UnavailableError,
    UnsuitableServerError,
    WaitTimedOut,
)
from relight.sdk._client import Relight
from relight.sdk._context import Awakeable, WorkflowContext
from relight.sdk._description import RunDescription
from relight.sdk._durations import Duration
from relight.sdk._interceptors import Interceptor, RunCall, SignalCall, StartCall, StepCall
from relight.sdk._run import Parked, Record, Run, RunStatus
from relight.sdk._scope import StepInfo
from relight.sdk._step import Effect, Retry, Step, StepOptions, step
from relight.sdk._worker import Worker
from relight.sdk._workflow import StartOptions, Workflow, WorkflowOptions, workflow

__all__ = (
    "AlreadyAnsweredError",
    "Awakeable",
    "ConflictError",
    "Duration",
    "Effect",
    "IncompatibleStreamError",
    "Interceptor",
    "InvalidIdError",
    "InvalidValueError",
    "MailboxFullError",
    "NonDeterminismError",
    "NotDurableError",
    "Parked",
    "PayloadTooLargeError",
    "Record",
    "RefusedError",
    "Relight",
    "RelightError",
    "Retry",
    "RetryAfter",
    "Run",
    "RunCall",
    "RunCancelled",
    "RunDescription",
    "RunFailed",
    "RunNotFoundError",
    "RunStatus",
    "RunTerminated",
    "RunTimedOut",
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
    "step",
    "workflow",
)
