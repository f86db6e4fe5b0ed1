"""What travels to a run: its start, and the closed union of messages that its mailbox may hold."""

from __future__ import annotations

from msgspec import Raw, Struct

from relight.subjects.records import NULL, RunStarted

__all__ = (
    "Answer",
    "AnswerAwakeable",
    "AskOwner",
    "Cancel",
    "FailAwakeable",
    "NewCode",
    "Relit",
    "Resolve",
    "Retry",
    "Signal",
    "Start",
    "Terminate",
    "TimerDue",
    "Wake",
)


class Start(Struct, frozen=True, omit_defaults=True):
    """The payload of a start subject: version and the record that will open the history."""

    v: int
    run: RunStarted


class _Wake(Struct, frozen=True, omit_defaults=True, tag_field="kind", tag=True):
    """Base of all mailbox messages; the tag is the class's name."""


class Signal(_Wake):
    name: str
    data: Raw = NULL
    id: str = ""
    headers: dict[str, str] = {}


class Answer(_Wake):
    """The answer to a suspension, by its name."""

    name: str
    data: Raw = NULL
    headers: dict[str, str] = {}


class AnswerAwakeable(_Wake):
    token: str
    data: Raw = NULL


class FailAwakeable(_Wake):
    token: str
    reason: str


class TimerDue(_Wake):
    """Sent by the server when a timer is due."""

    timer: int
    due_ms: int


class Cancel(_Wake):
    reason: str = ""


class Terminate(_Wake):
    reason: str = ""


class Retry(_Wake):
    """A person lets a parked run go on."""


class Resolve(_Wake):
    """A person says what happened to a step with unknown outcome."""

    step: str
    result: Raw | None = None
    error: str | None = None
    rerun: bool = False


class NewCode(_Wake):
    """A worker with this code digest offers to try a stuck run again."""

    code: str


class Relit(_Wake):
    """The fresh message that a new owner holds as its lease."""

    owner: str
    epoch: int


Wake = (
    Signal
    | Answer
    | AnswerAwakeable
    | FailAwakeable
    | TimerDue
    | Cancel
    | Terminate
    | Retry
    | Resolve
    | NewCode
    | Relit
)


class AskOwner(Struct, frozen=True):
    """Asked of a worker: is this run yours? If so, take over the delivery with this token."""

    run: str
    token: str
    sequence: int
