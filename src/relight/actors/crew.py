"""What the actor of a run and its host know of each other."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

from relight.actors import program as p
from relight.actors.delayed import Delayed
from relight.actors.door import Delivery, Door
from relight.actors.last_try import LastTry
from relight.actors.relights import Relights
from relight.subjects.grammar import Subjects
from relight.subjects.ids import WorkerId

if TYPE_CHECKING:
    from relight.actors.run_actor import RunActor

__all__ = ("Crew",)


class Crew(Protocol):
    """What an actor needs of its host.

    Attributes:
        claims: When a start without a turn is to get one.
        looks: When a run that works looks for messages that came before its journal existed.
        relights: Fresh leases.
        last_try: For runs that one more death would quarantine.
    """

    door: Door
    subjects: Subjects
    worker: WorkerId
    programs: p.Programs
    loop: asyncio.AbstractEventLoop
    claims: Delayed
    looks: Delayed
    relights: Relights
    last_try: LastTry

    def rests(self, actor: RunActor) -> None:
        """The run waits; the actor keeps its coroutine for a while and takes doorbells."""
        ...

    def leaves(self, actor: RunActor, unfinished: Sequence[Delivery]) -> None:
        """The actor is over. The deliveries that it still held are to be treated as if they came now."""
        ...
