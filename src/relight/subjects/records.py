"""What a history consists of: one closed union of recorded facts.

A *fact* (past tense) came from outside the workflow's code: a start, a result, a signal, a timer. A *request* is what
the code asked for in answer to the facts before it. A history is one flat sequence: fact, the requests it led to,
next fact … Replay feeds the facts and compares the requests.

Fields are only ever added, each with a default; a field that this version does not know is kept where the message is
stored, because stored messages are never written again.
"""

from __future__ import annotations

from msgspec import Raw, Struct

__all__ = (
    "FACTS",
    "NULL",
    "AnswerReceived",
    "AwakeableCompleted",
    "AwakeableCreated",
    "AwakeableFailed",
    "CancelRequested",
    "Claimed",
    "DetailsSet",
    "Failure",
    "Parked",
    "Record",
    "Request",
    "RunCancelled",
    "RunCompleted",
    "RunFailed",
    "RunStarted",
    "RunTerminated",
    "RunTimedOut",
    "SignalAwaited",
    "SignalReceived",
    "SignalSent",
    "StepAttemptFailed",
    "StepCancelled",
    "StepCompleted",
    "StepFailed",
    "StepHeartbeat",
    "StepRerun",
    "StepScheduled",
    "StepStarted",
    "Suspended",
    "TimerArmed",
    "TimerCancelled",
    "TimerFired",
    "Unparked",
    "WaitCancelled",
)

NULL = Raw(b"null")


class Failure(Struct, frozen=True, omit_defaults=True):
    """An error as it is recorded: names, never objects."""

    type: str
    message: str
    bases: tuple[str, ...] = ()
    traceback: str = ""


class _Record(Struct, frozen=True, omit_defaults=True, tag_field="kind", tag=True):
    """Base of all records; the tag is the class's name."""


# Facts that the workflow code sees.



class RunStarted(_Record):
    """First record of every history. `arguments` are positional, each one encoded value."""

    workflow: str
    queue: str
    arguments: tuple[Raw, ...] = ()
    digest: str = ""
    client: str = ""
    timeout_ms: int | None = None
    not_before_ms: int | None = None
    parent: str | None = None
    tags: dict[str, str] = {}
    headers: dict[str, str] = {}


class StepCompleted(_Record):
    step: str
    result: Raw = NULL
    attempt: int = 1
    by: str = ""


class StepFailed(_Record):
    step: str
    error: Failure
    attempt: int = 1
    by: str = ""


class TimerFired(_Record):
    timer: int


class SignalReceived(_Record):
    name: str
    data: Raw = NULL
    id: str = ""
    headers: dict[str, str] = {}


class AnswerReceived(_Record):
    """An answer to the suspension of this name; kept if the run does not wait for it yet."""

    name: str
    data: Raw = NULL
    headers: dict[str, str] = {}


class AwakeableCompleted(_Record):
    awakeable: int
    data: Raw = NULL


class AwakeableFailed(_Record):
    awakeable: int
    reason: str


class CancelRequested(_Record):
    reason: str = ""


# Facts about its execution, which the code does not see.



class Claimed(_Record):
    """A worker took the run over. `deaths` counts owners lost in a row without progress."""

    cause: str
    deaths: int = 0


class StepStarted(_Record):
    """Written before each attempt of an `unsafe` step."""

    step: str
    attempt: int


class StepAttemptFailed(_Record):
    step: str
    attempt: int
    error: Failure
    retry_at_ms: int


class StepHeartbeat(_Record):
    step: str
    details: Raw = NULL


class StepRerun(_Record):
    """A person said: run it again."""

    step: str


class Parked(_Record):
    """The run needs a person or a fix. `code` is the digest of the code that could not go on."""

    reason: str
    message: str
    step: str = ""
    code: str = ""


class Unparked(_Record):
    by: str


class RunTerminated(_Record):
    reason: str = ""


# Requests.


class StepScheduled(_Record):
    """`step` is `name#occurrence`; `place` is file:line of the call."""

    step: str
    digest: str
    place: str = ""
    unsafe: bool = False


class StepCancelled(_Record):
    step: str


class TimerArmed(_Record):
    timer: int
    due_ms: int
    place: str = ""


class TimerCancelled(_Record):
    timer: int


class Suspended(_Record):
    wait: int
    name: str
    data: Raw = NULL
    place: str = ""


class SignalAwaited(_Record):
    wait: int
    name: str
    place: str = ""


class WaitCancelled(_Record):
    """Nobody waits for this suspension, signal or awakeable any more."""

    wait: int


class AwakeableCreated(_Record):
    wait: int
    token: str
    place: str = ""


class SignalSent(_Record):
    run: str
    name: str
    id: str
    data: Raw = NULL
    place: str = ""


class DetailsSet(_Record):
    data: Raw


class RunCompleted(_Record):
    result: Raw = NULL


class RunFailed(_Record):
    error: Failure


class RunCancelled(_Record):
    reason: str = ""


class RunTimedOut(_Record):
    pass


Request = (
    StepScheduled
    | StepCancelled
    | TimerArmed
    | TimerCancelled
    | Suspended
    | SignalAwaited
    | WaitCancelled
    | AwakeableCreated
    | SignalSent
    | DetailsSet
    | RunCompleted
    | RunFailed
    | RunCancelled
    | RunTimedOut
)
Fact = (
    RunStarted
    | StepCompleted
    | StepFailed
    | TimerFired
    | SignalReceived
    | AnswerReceived
    | AwakeableCompleted
    | AwakeableFailed
    | CancelRequested
)
Note = (
    Claimed
    | StepStarted
    | StepAttemptFailed
    | StepHeartbeat
    | StepRerun
    | Parked
    | Unparked
    | RunTerminated
)
Record = Fact | Note | Request

FACTS = (
    RunStarted,
    StepCompleted,
    StepFailed,
    TimerFired,
    SignalReceived,
    AnswerReceived,
    AwakeableCompleted,
    AwakeableFailed,
    CancelRequested,
)

