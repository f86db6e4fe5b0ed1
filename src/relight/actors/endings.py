"""How a run ends whatever its code would do: a worker that does not have the code can write this end all the same."""

from __future__ import annotations

from typing import NamedTuple

from relight.actors.mailbox import Mailbox
from relight.actors.run.inbox import receive
from relight.actors.run.state import RunState
from relight.subjects import records as r
from relight.subjects.messages import TimerDue

__all__ = ("Ending", "foreseen_ending")


class Ending(NamedTuple):
    """The end, and up to where the mailbox is consumed by it."""

    end: r.End
    cursor: int


async def foreseen_ending(mailbox: Mailbox, state: RunState, *, cursor: int, now_ms: int | None) -> Ending | None:
    """Return how the run ends by what is in its mailbox, or by the time; None if that is for its code to say.

    What else was sent before has no effect, as if it had come after the end. So with `now_ms` None, for who has the
    code, time ends nothing: to the code what was sent before the deadline counts. Raises `UnavailableError`.
    """
    has_more = True
    while has_more:
        mails = await mailbox.read((), after=cursor, to_the_end=True)
        has_more = mailbox.has_more
        for mail in mails:
            cursor = mail.sequence
            if (
                isinstance(mail.wake, TimerDue)
                and now_ms is not None
                and _is_over(state, min(mail.wake.due_ms, state.next_due_ms() or 0))
            ):
                return Ending(r.RunTimedOut(), cursor)
            records = () if mail.wake is None else receive(state, mail.wake, code="")
            if records and isinstance(records[-1], r.RunTerminated):
                return Ending(records[-1], cursor)
    return Ending(r.RunTimedOut(), cursor) if now_ms is not None and _is_over(state, now_ms) else None


def _is_over(state: RunState, at_ms: int) -> bool:
    deadline_ms = state.run_deadline_ms
    return deadline_ms is not None and deadline_ms <= at_ms
