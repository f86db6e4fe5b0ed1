"""What can go wrong between a worker and the server, decided by a test."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

__all__ = ("Faults", "Operation", "OperationName", "Outcome")

OperationName = Literal["publish", "schedule", "entomb", "purge", "ack", "nak", "notify"]

Outcome = Literal["known", "lost", "written", "late"]
"""What becomes of a write. `known`: its caller learns what happened. The others raise `UnavailableError`:
`lost` was never written, `written` was (if its fence held), `late` will be, when the caller has long gone on."""


@dataclass(frozen=True)
class Operation:
    """One effect of the door named `by`, in the order in which they take effect. `number` counts over all doors."""

    name: OperationName
    subject: str
    number: int
    by: str


def _known(operation: Operation) -> Outcome:
    return "known"


def _at_once(subject: str) -> Sequence[float]:
    return (0.0,)


@dataclass
class Faults:
    """What a test lets go wrong; as it is made, nothing does.

    Attributes:
        outcome: Of a publish, schedule, entomb or purge.
        arrivals: After how many seconds of virtual time a delivery or a notice on this subject arrives: once for each
            number. None: it is lost, and a delivery comes again after `ack_wait`. Two: it arrives twice; a delivery
            then as the server repeats one, counted, and to anybody, but without waiting for `ack_wait`.
        late_s: After how many seconds of virtual time a `late` write takes effect.
    """

    outcome: Callable[[Operation], Outcome] = _known
    arrivals: Callable[[str], Sequence[float]] = _at_once
    late_s: float = 1.0
