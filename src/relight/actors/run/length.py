"""How long a history may become: each replay reads it whole, so one that grows for ever must be continued as new."""

from __future__ import annotations

from relight.actors.run.state import RunState
from relight.config.limits import LIMITS
from relight.errors import RefusedError
from relight.subjects import records as r

__all__ = ("REMEDY", "check_takes_messages", "is_long", "is_refusal", "is_too_long", "purges_mailbox", "refusal")

REMEDY = "let the workflow call ctx.continue_as_new(…) now and then"


def refusal(state: RunState) -> str:
    """Why the run is parked."""
    return f"its history has {state.records} records; {REMEDY}"


def check_takes_messages(run: str, last: r.Record) -> None:
    """Raise `RefusedError` if the run is parked for its length, with this last record: what comes makes it longer."""
    if is_refusal(last):
        assert isinstance(last, r.Parked), "a refusal is one"
        raise RefusedError(f"run {run!r} takes no messages: {last.message}")


def is_refusal(record: r.Record) -> bool:
    return isinstance(record, r.Parked) and record.reason == "stuck" and record.message.endswith(REMEDY)


def purges_mailbox(state: RunState, added: int, *, consumed: int) -> bool:
    """Whether the turn that added so many records is one after which the consumed messages are removed.

    Its owner has `consumed` many; or it has been taken up again and again, by who consumed a few of them each time.
    """
    total = state.records_before + state.records
    return consumed >= LIMITS.mailbox_purge or total // LIMITS.mailbox_purge > (total - added) // LIMITS.mailbox_purge


def is_long(state: RunState) -> bool:
    """Whether people are to be warned."""
    return state.records >= LIMITS.history_records_warn


def is_too_long(state: RunState) -> bool:
    """Whether the run is to be parked. One that was let go on, by a person or by other code, may add a few records."""
    if state.records < LIMITS.history_records_max or state.end is not None or state.parked is not None:
        return False
    return state.records >= state.records_unparked + LIMITS.history_records_more
