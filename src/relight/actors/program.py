"""What the run actor needs of the user's code: an activation that is fed facts, and attempts of steps that report.

The `sdk` implements it; the actors never import it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from contextlib import AbstractContextManager
from datetime import datetime
from typing import Protocol

from msgspec import Raw, Struct

from relight.subjects import records as r

__all__ = (
    "NOT_DECODED",
    "Again",
    "Asked",
    "Attempt",
    "Beat",
    "BrokenProgramError",
    "Continue",
    "Done",
    "Exhausted",
    "Failed",
    "Outcome",
    "Program",
    "Programs",
    "Report",
    "RunningStep",
    "Stopped",
    "Unknown",
    "UnknownWorkflowError",
)

NOT_DECODED = object()
"""In place of a decoded value: decode the record's."""


class UnknownWorkflowError(Exception):
    """This worker does not have the workflow, or not the version with which the run stays; another may.

    Attributes:
        workflow: Its name.
        version: With which the run stays; empty: with none.
    """

    def __init__(self, workflow: str, version: str = "") -> None:
        super().__init__(f"{workflow} of version {version}" if version else workflow)
        self.workflow = workflow
        self.version = version


class BrokenProgramError(Exception):
    """The code can't go on with this history (it never blocks, for example). The run parks as `stuck`."""


class Done(Struct, frozen=True):
    """The attempt succeeded. `value` is `result` decoded: what the workflow gets, live as in replay.

    `digest` is that of a large result: it was made in a thread.
    """

    result: Raw
    value: object
    digest: str = ""


class Failed(Struct, frozen=True):
    """No further attempt."""

    error: r.Failure


class Again(Struct, frozen=True):
    """The attempt failed; the next one is due after the delay."""

    error: r.Failure
    delay_s: float


class Exhausted(Struct, frozen=True):
    """The attempts are used up and a person is to decide."""

    error: r.Failure


class Unknown(Struct, frozen=True):
    """The attempt of an `unsafe` step was cut off: it may have happened."""


class Stopped(Struct, frozen=True):
    """The attempt ended because it was told to; its result does not count."""


class Beat(Struct, frozen=True):
    """The attempt goes on, and left these details for the next one."""

    details: Raw


Outcome = Done | Failed | Again | Exhausted | Unknown | Stopped | Beat
Report = Callable[[str, Outcome], None]


class Attempt(Struct, frozen=True):
    """One attempt of a step, from 1. Times are milliseconds since 1970; all attempts count from the first one."""

    number: int
    counted_from_ms: int
    now_ms: int
    heartbeat: Raw | None
    run_deadline: datetime | None


class RunningStep(Protocol):
    def cancel(self) -> None:
        """Tell the attempt to stop: a task is cancelled, a thread's next heartbeat raises."""
        ...


class Continue(Struct, frozen=True):
    """The code asks to go on under a new history. It is never recorded: what opens that history is.

    Attributes:
        arguments: The new ones.
        calls: The highest occurrence in a key of a step until now.
        children: The ids of those that were started and have not ended; the history also has those that were refused.
    """

    arguments: tuple[Raw, ...]
    calls: int
    children: frozenset[str]


Asked = r.Request | Continue


class Program(Protocol):
    """One activation of one run."""

    def feed(self, fact: r.Fact, at_ms: int, value: object = NOT_DECODED, /) -> list[Asked]:
        """Let the code see one fact and run until it is blocked; return what it asked for.

        Raises:
            BrokenProgramError: It can't be brought to rest.
        """
        ...

    def gated(self, asked: list[Asked], /) -> list[Asked]:
        """Return what may be recorded of what was asked for.

        Raises:
            BrokenProgramError: Something in it must not leave the process.
        """
        ...

    def redacted(self, text: str, /) -> str:
        """Return the words about what the code did without what must not leave the process."""
        ...

    def launch(self, step: str, attempt: Attempt, report: Report) -> RunningStep:
        """Begin an attempt of a step that was asked for. `report(step, outcome)` is called on the worker's loop."""
        ...

    def refuses(self, step: str, result: Raw) -> str:
        """Return why `result` can't be the result of a step that was asked for; empty if it can."""
        ...

    def replaying(self, changes: Collection[str], /) -> AbstractContextManager[None]:
        """Within it, facts are recorded ones: they are fed without a pause, and no log line is kept.

        Args:
            changes: Those of which the history took the new way.
        """
        ...

    def has_passed(self, changes: Collection[str], /) -> bool:
        """Whether the code has asked for one of these changes, and was told that the history does not have it."""
        ...

    def anew(self, started: r.RunStarted, /) -> Program:
        """Return the activation of the history that follows this one, which is closed."""
        ...

    def emit_logs(self) -> None:
        """Write the log lines of the turns that are durable now."""
        ...

    def close(self) -> None:
        """Throw the activation away; none of the user's code runs any more."""
        ...


class Programs(Protocol):
    """The workflows of a worker."""

    code: str
    """Digest of the code, to tell whether a stuck run may fare better here."""

    inline_bytes_max: int
    """A larger value is stored apart."""

    def has(self, workflow: str, version: str) -> bool:
        """Whether `create` would know it. Called from any thread."""
        ...

    def create(self, run: str, started: r.RunStarted) -> Program:
        """Raises `UnknownWorkflowError`."""
        ...

    def begun(self, started: r.RunStarted) -> r.RunStarted:
        """Return the record that opens the history of a run which begins here: it says whether the run stays here."""
        ...
