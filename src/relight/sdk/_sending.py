"""The steps of our own by which workflows send something: recorded, repeated until it is durable, counted once."""

from __future__ import annotations

import msgspec

from relight.errors import PayloadTooLargeError, RefusedError
from relight.sdk._gate import check_secrets, redacted
from relight.sdk._scope import Sender, step_scope
from relight.sdk._step import Policy, Retry, Step
from relight.subjects.records import RunStarted

__all__ = ("CANCEL_CHILD", "SEND_SIGNAL", "START_CHILD")


def _sender() -> Sender:
    sender = step_scope().sender
    assert sender is not None, "only workflows call these steps"
    return sender


async def _send_signal(run_id: str, name: str, data: object) -> None:
    await _sender().send_signal(run_id, name, data, id=step_scope().info.idempotency_key)


async def _start_child(child: str, start: str) -> None:
    check_secrets(start.encode(), what=f"the start of child {child!r}")
    await _sender().start_child(child, msgspec.json.decode(start, type=RunStarted))


async def _cancel_child(child: str, queue: str, parent: str, reason: str) -> None:
    await _sender().cancel_child(child, queue, parent, redacted(reason))


_UNTIL_DURABLE = Policy(retry=Retry(attempts=None, delay=0.2, delay_max=5, never=(RefusedError, PayloadTooLargeError)))

SEND_SIGNAL: Step[[str, str, object], None] = Step(_send_signal, "relight.signal", Policy())
START_CHILD: Step[[str, str], None] = Step(_start_child, "relight.start", _UNTIL_DURABLE)
CANCEL_CHILD: Step[[str, str, str, str], None] = Step(_cancel_child, "relight.cancel", _UNTIL_DURABLE)
