"""What a history consists of: one closed union of recorded facts.

A *fact* (past tense) came from outside the workflow's code: a start, a result, a signal, a timer. A *request* is what
the code asked for in answer to the facts before it. A history is one flat sequence: fact, the requests it led to,
next fact … Replay feeds the facts and compares the requests.

Fields are only ever added, each with a default; a field that this version does not know is kept where the message is
stored, because stored messages are never written again.
"""

from __future__ import annotations

from typing import Annotated, TypeAlias

from msgspec import Meta, Raw, Struct

from relight.subjects.ids import IdInMessage, OptionalIdInMessage, SeedInMessage

__all__ = (
    "ENDS",
    "FACTS",
    "FORKED",
    "LEFT",
    "NULL",
    "RESUMED",
    "AnswerReceived",
    "AwakeableCompleted",
    "AwakeableCreated",
    "AwakeableFailed",
    "CancelRequested",
    "ChildAwaited",
    "ChildEnded",
    "ChildScheduled",
    "Claimed",
    "CompensationRegistered",
    "Continued",
    "DetailsSet",
    "Fact",
    "Failure",
    "Milliseconds",
    "Note",
    "Parked",
    "PatchMarked",
    "Paused",
    "Record",
    "Request",
    "RequestAwaited",
    "RequestReceived",
    "RequestRejected",
    "RequestReplied",
    "RunCancelled",
    "RunCompleted",
    "RunFailed",
    "RunStarted",
    "RunTerminated",
    "RunTimedOut",
    "SignalAwaited",
    "SignalReceived",
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
    "Unpaused",
    "WaitCancelled",
)

NULL = Raw(b"null")


class Failure(Struct, frozen=True, omit_defaults=True):
    """An error as it is recorded: names, never objects."""

    type: str
    message: str
    bases: tuple[str, ...] = ()
    traceback: str = ""


Milliseconds: TypeAlias = Annotated[int, Meta(ge=-(2**53), le=2**53)]
"""Since 1970, or long: what is beyond, nobody could calculate with, nor show."""


class _Record(Struct, frozen=True, omit_defaults=True, tag_field="kind", tag=True):
    """Base of all records; the tag is the class's name."""


# Facts that the workflow code sees.


class RunStarted(_Record, frozen=True):
    """First record of every history, but for what `Continued` brings along.

    Attributes:
        workflow: The workflow's name.
        queue: The queue of the workers that may run it.
        arguments: Positional, each one encoded value.
        digest: Of workflow and arguments: the same id with another digest is a conflict.
        seed: Random, from the client: what `ctx.random`, `ctx.uuid4` and the tokens of awakeables derive from.
        client: Token of the client that is to hear of the end.
        timeout_ms: Of the whole run, from its first turn.
        deadline_ms: When it times out at the latest, begun or not: the deadline of its parent.
        not_before_ms: The workflow's code does not begin earlier.
        parent: The run that started it.
        parent_queue: Where that run's mailbox is.
        asked_ms: When it asked for this one, unless this one may outlive it.
        signal: Came with the start: the run finds it waiting.
        tags: The user's, for lists.
        headers: The interceptors', they travel to every step.
        unchecked: Its sender knew the workflow by name only, so nobody has compared the arguments with its annotations.
        version: Of the worker that began it, if the workflow is pinned: only workers of it go on with the run.
        origin: The run of whose history the first `origin_records` records are a copy, this one included.
        origin_hash: Of the copied records behind this one: two forks with one hash are the same.
    """

    workflow: str
    queue: IdInMessage
    arguments: tuple[Raw, ...] = ()
    digest: str = ""
    seed: SeedInMessage = ""
    client: OptionalIdInMessage = ""
    timeout_ms: Milliseconds | None = None
    deadline_ms: Milliseconds | None = None
    not_before_ms: Milliseconds | None = None
    parent: IdInMessage | None = None
    parent_queue: OptionalIdInMessage = ""
    asked_ms: Milliseconds = 0
    signal: SignalReceived | None = None
    tags: dict[str, str] = {}
    headers: dict[str, str] = {}
    unchecked: bool = False
    version: str = ""
    origin: str | None = None
    origin_records: int = 0
    origin_hash: str = ""


class ChildScheduled(_Record, frozen=True):
    """A request: a child run is to be started. `close` says what becomes of it when this run ends before it."""

    child: IdInMessage
    workflow: str
    queue: IdInMessage
    close: str
    place: str = ""


class RequestReplied(_Record, frozen=True):
    """A request of the code: the answer to what was asked of the run. `client` is told of it."""

    id: str
    result: Raw = NULL
    client: OptionalIdInMessage = ""


class RequestRejected(_Record, frozen=True):
    """The code, or the type for which it asked, refused what was asked; `path` says where its data does not fit."""

    id: str
    reason: str
    path: str = ""
    client: OptionalIdInMessage = ""


class Continued(_Record, frozen=True):
    """First record of a history that goes on from an older one of the same run, which is removed.

    What nobody had received follows it: signals and answers. Then `RunStarted`, with the new arguments.

    Attributes:
        generation: Counts the run's histories; the first one, without this record, is 1.
        started_at_ms: When the run began: what its time-out counts from.
        records: Of all histories before this one.
        calls: The highest occurrence in any step's key until now; those of this history are higher, because
            idempotency keys and ids of children are made of them.
        signal_ids: Of the latest signals: each counts once, also across histories.
        suspensions: The latest names: an answer that comes late must not be taken for an early one.
        children: That have not ended.
        request_ids: Of the latest requests to the run: each counts once.
        answers: The latest answers to them, for those who have not heard yet.
    """

    generation: int
    started_at_ms: Milliseconds
    records: int
    calls: int = 0
    signal_ids: tuple[str, ...] = ()
    suspensions: tuple[str, ...] = ()
    children: tuple[ChildScheduled, ...] = ()
    request_ids: tuple[str, ...] = ()
    answers: tuple[RequestReplied | RequestRejected, ...] = ()


class StepCompleted(_Record, frozen=True):
    step: str
    result: Raw = NULL
    attempt: int = 1
    by: str = ""


class StepFailed(_Record, frozen=True):
    step: str
    error: Failure
    attempt: int = 1
    by: str = ""


class TimerFired(_Record, frozen=True):
    timer: int


class SignalReceived(_Record, frozen=True):
    name: str
    data: Raw = NULL
    id: str = ""
    headers: dict[str, str] = {}


class RequestReceived(_Record, frozen=True):
    """A message that wants an answer; kept until the code takes it. `client` is who asked."""

    name: str
    id: str
    data: Raw = NULL
    client: OptionalIdInMessage = ""
    headers: dict[str, str] = {}


class AnswerReceived(_Record, frozen=True):
    """An answer to the suspension of this name; kept if the run does not wait for it yet."""

    name: str
    data: Raw = NULL
    headers: dict[str, str] = {}


class AwakeableCompleted(_Record, frozen=True):
    awakeable: int
    data: Raw = NULL


class AwakeableFailed(_Record, frozen=True):
    awakeable: int
    reason: str


class CancelRequested(_Record, frozen=True):
    reason: str = ""


# Facts about its execution, which the code does not see.


LEFT = "left"
"""Cause of the claim by which an owner that is told to stop says that it runs nothing of the run any more."""


RESUMED = "resumed"
"""Cause of the claim of a worker whose the run was before."""


class Claimed(_Record, frozen=True):
    """A worker took the run over, or has left it. `deaths` counts owners lost in a row without progress."""

    cause: str
    deaths: int = 0


class StepStarted(_Record, frozen=True):
    """Written before each attempt of an `unsafe` step, and of any other before each but the first."""

    step: str
    attempt: int


class StepAttemptFailed(_Record, frozen=True):
    step: str
    attempt: int
    error: Failure
    retry_at_ms: Milliseconds


class StepHeartbeat(_Record, frozen=True):
    step: str
    details: Raw = NULL


class StepRerun(_Record, frozen=True):
    """A person said: run it again."""

    step: str


FORKED = "forked"
"""Reason for which a copy is parked, until a worker goes on from there: it needs nobody else."""


class Parked(_Record, frozen=True):
    """The run needs a person or a fix. `code` is the digest of the code that could not go on."""

    reason: str
    message: str
    step: str = ""
    code: str = ""


class Unparked(_Record, frozen=True):
    """The code goes on: by a person, by other code, where it was copied, or because a delayed start is due."""

    by: str


class Paused(_Record, frozen=True):
    """A person holds the run between steps."""


class Unpaused(_Record, frozen=True):
    """The code goes on: by a person, or because the run is to be cancelled."""

    by: str


class RunTerminated(_Record, frozen=True):
    reason: str = ""


class RunTimedOut(_Record, frozen=True):
    """The time of the whole run has passed; its code does not run any more."""


# Requests.


class StepScheduled(_Record, frozen=True):
    """`step` is `name#occurrence`; `place` is file:line of the call."""

    step: str
    digest: str
    place: str = ""
    unsafe: bool = False


class StepCancelled(_Record, frozen=True):
    step: str


class TimerArmed(_Record, frozen=True):
    timer: int
    due_ms: Milliseconds
    place: str = ""


class TimerCancelled(_Record, frozen=True):
    timer: int


class Suspended(_Record, frozen=True):
    """`problem` says why the answer before this one was refused."""

    wait: int
    name: str
    data: Raw = NULL
    place: str = ""
    problem: str = ""


class SignalAwaited(_Record, frozen=True):
    """`problem` says why the signal before this one was passed over."""

    wait: int
    name: str
    place: str = ""
    problem: str = ""


class RequestAwaited(_Record, frozen=True):
    """The code waits for the next message of this name that wants an answer."""

    wait: int
    name: str
    place: str = ""


class WaitCancelled(_Record, frozen=True):
    """Nobody waits for this suspension, signal, request or awakeable any more."""

    wait: int


class AwakeableCreated(_Record, frozen=True):
    wait: int
    token: str
    place: str = ""


class DetailsSet(_Record, frozen=True):
    data: Raw


class ChildAwaited(_Record, frozen=True):
    """The code waits for the end of this child."""

    wait: int
    child: IdInMessage
    place: str = ""


class PatchMarked(_Record, frozen=True):
    """The code took the new way of this change: so does every replay."""

    change: str


class CompensationRegistered(_Record, frozen=True):
    """If the run fails or is cancelled, this call of `step` undoes something. `step` is the name alone."""

    step: str
    digest: str
    place: str = ""


class RunCompleted(_Record, frozen=True):
    result: Raw = NULL


class RunFailed(_Record, frozen=True):
    """`not_undone`: the steps that were to undo something and failed, by their keys; at most the first 100."""

    error: Failure
    not_undone: dict[str, str] = {}


class RunCancelled(_Record, frozen=True):
    """`not_undone`: as in `RunFailed`."""

    reason: str = ""
    not_undone: dict[str, str] = {}


End = RunCompleted | RunFailed | RunCancelled | RunTimedOut | RunTerminated


class ChildEnded(_Record, frozen=True):
    """A fact: a child has ended, and how."""

    child: IdInMessage
    end: End


Request = (
    StepScheduled
    | StepCancelled
    | TimerArmed
    | TimerCancelled
    | Suspended
    | SignalAwaited
    | RequestAwaited
    | RequestReplied
    | RequestRejected
    | WaitCancelled
    | AwakeableCreated
    | DetailsSet
    | ChildScheduled
    | ChildAwaited
    | PatchMarked
    | CompensationRegistered
    | RunCompleted
    | RunFailed
    | RunCancelled
)
Fact = (
    RunStarted
    | Continued
    | StepCompleted
    | StepFailed
    | TimerFired
    | SignalReceived
    | RequestReceived
    | AnswerReceived
    | AwakeableCompleted
    | AwakeableFailed
    | CancelRequested
    | ChildEnded
)
Note = (
    Claimed
    | StepStarted
    | StepAttemptFailed
    | StepHeartbeat
    | StepRerun
    | Parked
    | Unparked
    | Paused
    | Unpaused
    | RunTerminated
    | RunTimedOut
)
Record = Fact | Note | Request

FACTS = (
    RunStarted,
    Continued,
    StepCompleted,
    StepFailed,
    TimerFired,
    SignalReceived,
    RequestReceived,
    AnswerReceived,
    AwakeableCompleted,
    AwakeableFailed,
    CancelRequested,
    ChildEnded,
)

ENDS = (RunCompleted, RunFailed, RunCancelled, RunTimedOut, RunTerminated)
