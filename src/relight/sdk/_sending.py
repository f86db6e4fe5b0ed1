"""The steps of our own by which workflows send something: recorded, repeated until it is durable, counted once."""

from __future__ import annotations

from dataclasses import replace
from hashlib import blake2b

import msgspec

from relight.config.limits import LIMITS
from relight.errors import PayloadTooLargeError, ProtocolError, RefusedError
from relight.sdk._gate import check_secrets, redacted
from relight.sdk._scope import Sender, step_scope
from relight.sdk._step import Policy, Retry, Step
from relight.subjects.records import RunStarted

__all__ = ("CANCEL_CHILD", "CHILD_HAS_ENDED", "SEND_SIGNAL", "START_AGAIN", "START_CHILD")


def _sender() -> Sender:
    sender = step_scope().sender
    assert sender is not None, "only workflows call these steps"
    return sender


async def _send_signal(run_id: str, name: str, data: object) -> None:
    scope = step_scope()
    id = _signal_id(scope.idempotency_key)
    await _sender().send_signal(run_id, name, data, id=id, around=scope.interceptors)


def _signal_id(key: str) -> str:
    """The key, if that can be an id: a run's own id may have as many characters, and others."""
    if len(key) <= LIMITS.id_characters_max and key.isprintable():
        return key
    return f"relight.signal-{blake2b(key.encode(), digest_size=16).hexdigest()}"


async def _start_child(child: str, start: str) -> None:
    check_secrets(start.encode(), what=f"the start of child {child!r}")
    started = msgspec.json.decode(start, type=RunStarted)
    await _sender().start_child(child, started, around=step_scope().interceptors)


async def _child_has_ended(child: str, start: str) -> None:
    """There is nothing left to send: the child has run. Its id may be free again, so that it would run once more."""


async def _cancel_child(child: str, queue: str, parent: str, reason: str) -> None:
    await _sender().cancel_child(child, queue, parent, redacted(reason))


_NEVER = (RefusedError, PayloadTooLargeError)
_UNTIL_DURABLE = Policy(retry=Retry(attempts=None, delay=0.2, delay_max=5, never=_NEVER))
_UNTIL_DURABLE_IF_READABLE = Policy(retry=replace(_UNTIL_DURABLE.retry, never=(*_NEVER, ProtocolError)))
"""Who sends looks at the other run first: one that is damaged, or sealed by a key that is gone, never changes."""

SEND_SIGNAL: Step[[str, str, object], None] = Step(_send_signal, "relight.signal", _UNTIL_DURABLE_IF_READABLE)
START_CHILD: Step[[str, str], None] = Step(_start_child, "relight.start", _UNTIL_DURABLE)
START_AGAIN: Step[[str, str], None] = Step(_start_child, "relight.start", _UNTIL_DURABLE)
"""Under an id that another child of the run has, or had: the end of that one says nothing of this start."""
CHILD_HAS_ENDED: Step[[str, str], None] = Step(_child_has_ended, "relight.start", _UNTIL_DURABLE)
"""In place of `START_CHILD`, once the end of its child is recorded."""
CANCEL_CHILD: Step[[str, str, str, str], None] = Step(_cancel_child, "relight.cancel", _UNTIL_DURABLE)
