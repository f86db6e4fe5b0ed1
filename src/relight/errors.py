"""Every error that a caller of Relight may catch. A class stands for one reaction; the data is in the attributes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta

__all__ = (
    "AlreadyAnsweredError",
    "ConflictError",
    "FencedError",
    "IncompatibleStreamError",
    "InvalidIdError",
    "InvalidValueError",
    "MailboxFullError",
    "MapFailed",
    "NonDeterminismError",
    "NotDurableError",
    "PayloadTooLargeError",
    "ProtocolError",
    "RefusedError",
    "RelightError",
    "RequestRejected",
    "RetryAfter",
    "RunCancelled",
    "RunEndedError",
    "RunFailed",
    "RunNotFoundError",
    "RunTerminated",
    "RunTimedOut",
    "SealedError",
    "SecretExposedError",
    "SecretNotFoundError",
    "StepCancelled",
    "StepFailed",
    "TerminalError",
    "UnavailableError",
    "UnsuitableServerError",
    "WaitTimedOut",
)


class RelightError(Exception):
    """Base of all errors that Relight raises."""


# What is recorded in a history and raised where it is awaited, live and in replay alike.


class StepFailed(RelightError):
    """A step failed for good. Raised live and in replay alike, so that both take the same branch.

    Attributes:
        error_type: Qualified name of the recorded error's class.
        traceback: The recorded traceback as text; empty if there was none.
        step: The step's key, for example `charge_card#1`.
    """

    def __init__(
        self, message: str, *, error_type: str, bases: Sequence[str] = (), traceback: str = "", step: str = ""
    ) -> None:
        super().__init__(message)
        self.error_type = error_type
        self.bases = tuple(bases)
        self.traceback = traceback
        self.step = step

    def matches(self, *types: type[BaseException]) -> bool:
        """Whether the recorded error was one of these, or a subclass (by the recorded names of its bases)."""
        return _matches(self.error_type, self.bases, types)


def _matches(error_type: str, bases: Sequence[str], types: Sequence[type[BaseException]]) -> bool:
    names = {f"{one.__module__}.{one.__qualname__}" for one in types}
    return error_type in names or not names.isdisjoint(bases)


class MapFailed(RelightError):
    """More calls of a `ctx.map` failed than `max_failures`.

    Attributes:
        results: What the others returned, by the item's index.
        failures: The errors, by the item's index.
    """

    def __init__(self, results: Mapping[int, object], failures: Mapping[int, Exception]) -> None:
        first = min(failures)
        super().__init__(f"{len(failures)} calls of the map failed; the first, of item {first}: {failures[first]}")
        self.results = dict(results)
        self.failures = dict(failures)


class RunFailed(RelightError):
    """The run ended with an error that its workflow did not catch.

    Attributes:
        error_type: Qualified name of the recorded error's class.
        bases: Those of its base classes.
        traceback: The recorded traceback as text.
        not_undone: The steps given to `ctx.compensate` that failed, by their keys, each with its error.
    """

    def __init__(
        self,
        message: str,
        *,
        error_type: str,
        traceback: str = "",
        bases: Sequence[str] = (),
        not_undone: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message + _not_undone(not_undone))
        self.error_type = error_type
        self.bases = tuple(bases)
        self.traceback = traceback
        self.not_undone = dict(not_undone or {})

    def matches(self, *types: type[BaseException]) -> bool:
        """Whether the recorded error was one of these, or a subclass (by the recorded names of its bases)."""
        return _matches(self.error_type, self.bases, types)


class RunCancelled(RelightError):
    """The run ended because it was cancelled; its clean-up has run.

    Attributes:
        not_undone: The steps given to `ctx.compensate` that failed, by their keys, each with its error.
    """

    def __init__(self, message: str = "", *, not_undone: Mapping[str, str] | None = None) -> None:
        super().__init__(message + _not_undone(not_undone))
        self.not_undone = dict(not_undone or {})


def _not_undone(errors: Mapping[str, str] | None) -> str:
    return f" (not undone: {'; '.join(f'{step}: {error}' for step, error in errors.items())})" if errors else ""


class RunTerminated(RelightError):
    """The run was ended at once; none of its code ran afterwards."""


class RunTimedOut(RelightError):
    """The run's `timeout=` passed before it ended."""


class WaitTimedOut(RelightError, TimeoutError):
    """`suspend`, `wait_for_signal`, an awakeable or `result` had no answer in time. The run itself goes on."""


class RequestRejected(RelightError):
    """A run has refused a request: its workflow did, or the data does not fit what it takes.

    Attributes:
        request: Its name.
        reason: Why, in the workflow's words.
        path: Where the data does not fit; empty if the workflow itself has refused.
    """

    def __init__(self, reason: str, *, request: str, path: str = "") -> None:
        super().__init__(reason)
        self.request = request
        self.reason = reason
        self.path = path


# What user code raises to steer Relight.


class TerminalError(Exception):
    """Raise it in a step: no further attempt."""


class RetryAfter(Exception):
    """Raise it in a step: the next attempt comes after this delay (for example a provider's Retry-After).

    A delay that is none, because it is negative, not finite or longer than 100 years, fails the step.
    """

    def __init__(self, delay: timedelta | float, reason: str = "") -> None:
        super().__init__(reason)
        self.delay_s = delay.total_seconds() if isinstance(delay, timedelta) else float(delay)
        self.reason = reason


class StepCancelled(Exception):
    """Raised by `step.heartbeat` in a thread when the step is to stop."""


# Refused at the border: nothing was written.


class RefusedError(RelightError):
    """The request is not acceptable as it is. Nothing was written; repeating it unchanged is useless."""


class InvalidIdError(RefusedError, ValueError):
    """An id or a name can't be a NATS token."""

    def __init__(self, kind: str, value: object, problem: str) -> None:
        shown = repr(value[:80]) if isinstance(value, str) else repr(value)[:80]
        super().__init__(f"{kind} {shown} {problem}")
        self.kind = kind
        self.value = value


class InvalidValueError(RefusedError, ValueError):
    """A value does not fit its annotation, or would not survive being recorded unchanged."""

    def __init__(self, what: str, path: str, problem: str, remedy: str) -> None:
        super().__init__(f"{what}{f' at {path}' if path else ''}: {problem}; {remedy}")
        self.what = what
        self.path = path
        self.remedy = remedy


class PayloadTooLargeError(RefusedError, ValueError):
    """The encoded value is larger than one message may be."""

    def __init__(self, what: str, *, size_bytes: int, limit_bytes: int) -> None:
        super().__init__(
            f"{what} is {size_bytes} bytes; the limit is {limit_bytes}; store it elsewhere and pass a reference"
        )
        self.size_bytes = size_bytes
        self.limit_bytes = limit_bytes


class SecretExposedError(RefusedError, ValueError):
    """A known secret stands in a value that would be recorded or sent. A step that returns it fails, without a retry.

    Attributes:
        secret: Its name.
        what: Names the value.
        path: Where it stands.
    """

    def __init__(self, secret: str, what: str, path: str) -> None:
        super().__init__(f"{what} at {path}: secret {secret!r} stands in it; pass the Secret and reveal it in a step")
        self.secret = secret
        self.what = what
        self.path = path


class ConflictError(RefusedError):
    """The id belongs to a run of another workflow or with other arguments, or `on_conflict="fail"`."""


class RunNotFoundError(RefusedError, LookupError):
    """No run with this id is stored: it was never started, or it was retired."""

    def __init__(self, run_id: str) -> None:
        unknown = f"no run {run_id!r} is known; it was never started here, or it was retired"
        super().__init__(f"{unknown}; check the id and the namespace")
        self.run_id = run_id


class RunEndedError(RefusedError):
    """The run has ended: it takes no message any more, and what it has not answered it never will."""


class AlreadyAnsweredError(RefusedError):
    """The suspension, awakeable or request has its answer; the first one counts."""

    def __init__(self, run_id: str, name: str) -> None:
        super().__init__(f"{name!r} of run {run_id!r} was answered already; the first answer counts")
        self.run_id = run_id
        self.name = name


class MailboxFullError(RefusedError):
    """The run has too many unread messages. Send again when it has read some."""

    def __init__(self, run_id: str, *, limit: int) -> None:
        super().__init__(f"run {run_id!r} has {limit} unread messages, which is the limit; send again later")
        self.run_id = run_id
        self.limit = limit


class UnsuitableServerError(RefusedError):
    """The NATS server can't carry Relight: no JetStream, or too old."""


class IncompatibleStreamError(RefusedError):
    """A stream of this name exists with settings that Relight can't work with. It was left as it is."""


# The world.


class UnavailableError(RelightError):
    """No acknowledgement in time. The message may have been written."""


class SecretNotFoundError(RelightError, LookupError):
    """The worker has no secret of this name. The step is tried again: it may have been added, or another worker has it.

    Attributes:
        secret: Its name.
    """

    def __init__(self, secret: str, remedy: str) -> None:
        super().__init__(f"no secret {secret!r} is known here; {remedy}")
        self.secret = secret


class FencedError(RelightError):
    """The subject's last sequence is another than expected (10071), or one is in flight (10164).

    Nothing was written.
    """


class ProtocolError(RelightError):
    """A stored message can't be read: damaged, or written by a later protocol."""


# A workflow's own mistakes.


class SealedError(ProtocolError):
    """What is stored is sealed, and can't be opened here: a codec or a key is missing, or the key was destroyed."""


class NotDurableError(RelightError):
    """The workflow called something that can't be replayed: I/O, threads, executors, subprocesses."""

    def __init__(self, call: str, remedy: str = "do it in a @step") -> None:
        super().__init__(f"{call} can't be replayed in a workflow; {remedy}")
        self.call = call


class NonDeterminismError(RelightError):
    """The code asked for something else than the history recorded. The run parks as `stuck`."""

    def __init__(self, *, recorded: str, actual: str) -> None:
        super().__init__(f"the history recorded {recorded}; the code now asks for {actual}")
        self.recorded = recorded
        self.actual = actual
