"""What travels to a run: its start, and the closed union of messages that its mailbox may hold."""

from __future__ import annotations

from msgspec import Raw, Struct

from relight.subjects.ids import AcknowledgementInMessage, IdInMessage, OptionalIdInMessage
from relight.subjects.records import NULL, End, Milliseconds, RunStarted

__all__ = (
    "MINE",
    "NOT_MINE",
    "Answer",
    "AnswerAwakeable",
    "AskEveryWorker",
    "AskOwner",
    "Cancel",
    "ChildOver",
    "FailAwakeable",
    "NewCode",
    "ParentOver",
    "Pause",
    "Relit",
    "Request",
    "Resolve",
    "Retry",
    "Sealed",
    "Signal",
    "Start",
    "Terminate",
    "TimerDue",
    "Unpause",
    "Wake",
    "WorkerSays",
)


MINE = b"mine"
NOT_MINE = b"not mine"
"""What a worker answers when it is asked about a run (`AskOwner`)."""


class Start(Struct, frozen=True, omit_defaults=True):
    """The payload of a start subject: version and the record that will open the history.

    `sealed`: as in a turn.
    """

    v: int
    run: RunStarted
    sealed: str = ""


class _Wake(Struct, frozen=True, omit_defaults=True, tag_field="kind", tag=True):
    """Base of all mailbox messages; the tag is the class's name."""


class Signal(_Wake, frozen=True):
    name: str
    data: Raw = NULL
    id: str = ""
    headers: dict[str, str] = {}


class Request(_Wake, frozen=True):
    """Asked of the run, which answers once; `client` is told of the answer."""

    name: str
    id: str
    data: Raw = NULL
    client: OptionalIdInMessage = ""
    headers: dict[str, str] = {}


class Answer(_Wake, frozen=True):
    """The answer to a suspension, by its name."""

    name: str
    data: Raw = NULL
    headers: dict[str, str] = {}


class AnswerAwakeable(_Wake, frozen=True):
    token: str
    data: Raw = NULL


class FailAwakeable(_Wake, frozen=True):
    token: str
    reason: str


class TimerDue(_Wake, frozen=True):
    """Sent by the server when a timer is due."""

    timer: int
    due_ms: Milliseconds


class Cancel(_Wake, frozen=True):
    reason: str = ""


class Terminate(_Wake, frozen=True):
    reason: str = ""


class ChildOver(_Wake, frozen=True):
    """Told by the owner of a child to its parent."""

    child: IdInMessage
    end: End


class ParentOver(_Wake, frozen=True):
    """Told to a child by its parent: by its code, or by its owner when it has ended. Others' children do not mind."""

    parent: str
    terminates: bool = False
    reason: str = "its parent has ended"


class Pause(_Wake, frozen=True):
    """A person holds the run between steps."""


class Unpause(_Wake, frozen=True):
    """A person lets a paused run go on."""


class Retry(_Wake, frozen=True):
    """A person lets a parked run go on."""


class Resolve(_Wake, frozen=True):
    """A person says what happened to a step with unknown outcome."""

    step: str
    result: Raw = NULL
    error: str | None = None
    rerun: bool = False


class NewCode(_Wake, frozen=True):
    """A worker with this code digest offers to try a stuck run again."""

    code: str


class Relit(_Wake, frozen=True):
    """The fresh message that a new owner holds as its lease."""

    owner: str
    epoch: int


class Sealed(Struct, frozen=True, omit_defaults=True, tag_field="kind", tag=True):
    """What is stored in place of a mailbox message that has values of users. `of` is its kind."""

    of: str
    sealed: str
    name: str = ""


Wake = (
    Signal
    | Request
    | Answer
    | AnswerAwakeable
    | FailAwakeable
    | TimerDue
    | Cancel
    | Terminate
    | ChildOver
    | ParentOver
    | Pause
    | Unpause
    | Retry
    | Resolve
    | NewCode
    | Relit
)


class AskOwner(Struct, frozen=True):
    """Asked of a worker: is this run yours? If so, take over this delivery (`actors.door.Delivery`, field by field).

    `asked_ms` is the server's time: nobody waits for a late answer. Until `new_until_ms` nobody but the asker can have
    had the delivery. With a `workflow` the asker lacks its code, for runs that stay with `version`: who has it, and
    room for the run, takes the delivery over.
    """

    asker: str
    run: IdInMessage
    subject: str
    sequence: int
    token: AcknowledgementInMessage
    delivered: int
    data: Raw
    fence: int | None = None
    asked_ms: Milliseconds | None = None
    new_until_ms: Milliseconds = 0
    workflow: str = ""
    version: str = ""


class AskEveryWorker(Struct, frozen=True, omit_defaults=True):
    """Asked of all workers: which of these runs do you drive? And, with a `workflow`: do you have its code?

    The latter for a run that stays with `version`, and for which a delivery of `subject` came.
    """

    asker: str
    runs: tuple[str, ...] = ()
    workflow: str = ""
    version: str = ""
    subject: str = ""


class WorkerSays(Struct, frozen=True, omit_defaults=True):
    """A worker's answer: which of the runs it drives or is about to begin, and whether it has the code, and room."""

    worker: IdInMessage
    drives: tuple[str, ...] = ()
    is_able: bool = False
