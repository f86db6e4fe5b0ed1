"""What travels to a run: its start, and the closed union of messages that its mailbox may hold."""

from __future__ import annotations

from msgspec import Raw, Struct

from relight.subjects.records import NULL, End, RunStarted

__all__ = (
    "ABLE",
    "MINE",
    "NOT_MINE",
    "Answer",
    "AnswerAwakeable",
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
)


MINE = b"mine"
NOT_MINE = b"not mine"
ABLE = b"able "
"""What a worker answers when it is asked about a run (`AskOwner`). Behind `ABLE` stands the worker's id."""


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
    client: str = ""
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
    due_ms: int


class Cancel(_Wake, frozen=True):
    reason: str = ""


class Terminate(_Wake, frozen=True):
    reason: str = ""


class ChildOver(_Wake, frozen=True):
    """Told by the owner of a child to its parent."""

    child: str
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

    Asked of `everyone`, only an owner answers. `asked_ms` is the server's time: nobody waits for a late answer.
    Until `new_until_ms` nobody but the asker can have had the delivery.

    With a `workflow` the question is who has this code, for runs that stay with `version`: of everyone, who has it and
    room for the run answers so; of one worker, it takes the delivery over.
    """

    asker: str
    run: str
    subject: str
    sequence: int
    token: str
    delivered: int
    data: Raw
    fence: int | None = None
    everyone: bool = False
    asked_ms: int | None = None
    new_until_ms: int = 0
    workflow: str = ""
    version: str = ""
