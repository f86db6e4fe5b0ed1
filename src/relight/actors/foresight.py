"""What a run will have become when it has consumed its mailbox: what those decide on who may only put in one message.

They publish under the fence of the mailbox that they have seen. Who is refused, because something came between, looks
only at what is new since: else whoever reads a long history would never get his message in beside a busy sender.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from copy import deepcopy
from dataclasses import dataclass

from relight.actors.door import Stored
from relight.actors.reading import Reading
from relight.actors.run.inbox import receive
from relight.actors.run.state import RunState
from relight.subjects.messages import TimerDue, Wake

__all__ = ("Decode", "Foresight", "changing", "foreseen")

Decode = Callable[[str, bytes], Wake | None]


@dataclass(frozen=True, slots=True)
class Foresight:
    """One look ahead.

    Attributes:
        history: What is recorded.
        at: Sequence of its last turn; 0 before the first.
        unread: The messages that it has not consumed, in order.
        fence: Sequence of the mailbox's last message.
        state: What the history will amount to with these messages.
    """

    history: Reading
    at: int
    unread: list[Stored]
    fence: int
    state: RunState


def foreseen(
    history: Reading, stored: Sequence[Stored], fence: int, before: Foresight | None, decode: Decode
) -> Foresight:
    """Look ahead from a history and the messages that were not consumed, or were by its last turns.

    Args:
        history: What is recorded.
        stored: Messages in order; what is missing the history has consumed.
        fence: Sequence of the mailbox's last message.
        before: The look before this one, with the same history and the first of these messages.
        decode: Reads a message; None of one that decides nothing.
    """
    cursor = 0 if history.last is None else history.last.cursor
    unread = [one for one in stored if one.sequence > cursor]
    at = history.tail.sequence
    if not unread:
        state = history.state
    elif before is not None and before.at == at and before.unread:
        state = before.state
        _consume(state, unread[len(before.unread) :], decode)
    else:
        state = deepcopy(history.state)
        _consume(state, unread, decode)
    return Foresight(history, at, unread, fence, state)


def changing(state: RunState, unread: Sequence[Stored], decode: Decode) -> int:
    """Return how many of these messages will change something when they are consumed, or can't be read here.

    Of the others nobody knows whether the owner has consumed them: that is recorded with the next turn only.
    """
    state, count = deepcopy(state) if unread else state, 0
    for stored in unread:
        wake = decode(stored.subject, stored.data)
        count += wake is None or _consume_one(state, wake) or _is_time(state, wake)
    return count


def _consume(state: RunState, messages: Iterable[Stored], decode: Decode) -> None:
    for stored in messages:
        wake = decode(stored.subject, stored.data)
        if wake is not None:
            _consume_one(state, wake)


def _consume_one(state: RunState, wake: Wake) -> bool:
    """Return whether it changes something."""
    # Whether a worker's code is another one only the worker knows: a run that is stuck stays so here.
    code = "" if state.parked is None else state.parked.code
    records = receive(state, wake, code=code)
    for record in records:
        state.apply(record, state.at_ms)
    return bool(records)


def _is_time(state: RunState, wake: Wake) -> bool:
    due_ms = state.next_due_ms()
    return isinstance(wake, TimerDue) and due_ms is not None and due_ms <= max(wake.due_ms, state.at_ms)
