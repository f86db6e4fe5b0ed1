"""The announcer: tells the other workers what this one holds, and listens to them."""

from __future__ import annotations

import asyncio
from time import monotonic
from typing import final

import msgspec
import structlog
from nats.aio.client import Client
from nats.aio.msg import Msg

from relight.actors.jetstream.announced import PRESENCE_S, Neighbours
from relight.actors.jetstream.announcements import (
    EVERY_CONSUMER,
    Announcement,
    LeaseName,
    decode_announcement,
    encode_announcement,
    grouped,
    in_pieces,
    next_age_s,
    pause_s_of,
)
from relight.actors.jetstream.client import WORLD_ERRORS
from relight.actors.jetstream.everyone import TRACE_HEADER
from relight.actors.jetstream.keeper_connection import subscribe
from relight.actors.jetstream.keeper_leases import Leases
from relight.config.limits import Limits
from relight.errors import ProtocolError
from relight.subjects.grammar import Subjects

__all__ = ("Announcer",)

_WHOLE_S = 30.0
"""Between two announcements of the whole table, which correct what was lost of the others."""

_UNHEARD_S = 0.05
"""Between two looks at the leases while nobody frees what is announced."""

_IDLE_S = 0.02
"""Between two looks at the leases while none is taken."""

_log = structlog.stdlib.get_logger("relight.keeper")


@final
class Announcer:
    """Announces on one connection, as long as `run` runs.

    Leases are announced only while another worker that frees leases lives: nobody else has a use for them.
    """

    def __init__(self, client: Client, *, worker: str, subjects: Subjects, leases: Leases, limits: Limits) -> None:
        self._client = client
        self._worker = worker
        self._subject = subjects.announcements()
        self._leases = leases
        self._limits = limits
        self._consumers_told = 0
        self._present_at = self._whole_at = float("-inf")
        self._owes_all = False
        self._asks_all = False
        self._age_s = limits.announce_s
        self._leaves = False
        self.frees = False
        self.neighbours = Neighbours()

    async def listen(self) -> None:
        """Hear the others from now on, and ask them what they hold."""
        await subscribe(self._client, self._subject, self._hear)
        await self.ask()

    async def ask(self, consumers: tuple[str, ...] = (EVERY_CONSUMER,), *, trace: str = "") -> None:
        """Have all others say what they hold. Who names consumers is about to sweep them.

        At `trace` the server says whom the question has reached.
        """
        await self._say(Announcement(self._worker, self.frees, wants=consumers), trace=trace)

    async def report_freed(self, dead: str) -> None:
        """Say that the leases of this dead worker are freed."""
        await self._say(Announcement(self._worker, self.frees, freed=dead))

    async def take_leave(self) -> None:
        """Say that this worker ends in order, and so with all that is said from now on."""
        self._leaves = True
        await self._say(Announcement(self._worker))

    def begin_to_free(self) -> None:
        """Say from now on that this worker frees leases, so that the others announce theirs."""
        self.frees = True
        self._present_at = float("-inf")

    def start_afresh(self) -> None:
        """After a reconnect: say everything again with the next pass, and ask the others to do the same."""
        self._asks_all = True
        self._owes_all = True

    async def run(self) -> None:
        """Announce until cancelled; what can't be sent is sent with the next whole table."""
        pause_s = _IDLE_S
        while True:
            await asyncio.sleep(pause_s)
            now = monotonic()
            matured = self._leases.mature(now - self._age_s)
            self._age_s = next_age_s(self._age_s, announced=len(matured), age_s_min=self._limits.announce_s)
            if not self._client.is_connected:
                continue
            try:
                await self._announce(matured, now)
            except WORLD_ERRORS as error:
                _log.debug("announcement_lost", error=repr(error))
                self._owes_all = True
            pause_s = self._pause_s(now, pause_s)

    def _pause_s(self, now: float, last_s: float) -> float:
        neighbours = self.neighbours.living(now)
        if not any(one.frees for one in neighbours.values()):
            return _UNHEARD_S
        pace_s = pause_s_of(self._age_s, neighbours=len(neighbours), announce_s=self._limits.announce_s)
        return pace_s if self._leases.is_moving() else min(2 * last_s, max(_IDLE_S, pace_s))

    async def _announce(self, matured: list[LeaseName], now: float) -> None:
        if self._asks_all:
            await self.ask()
            self._asks_all = False
        if self._owes_all:
            await self._say_whole()
        elif matured or len(self._leases.consumers) > self._consumers_told:
            await self._say_new(grouped(matured), now)
        if now - self._present_at >= PRESENCE_S:
            await self._be_present(now)

    async def _say_new(self, held: dict[str, list[int]], now: float) -> None:
        if not self.neighbours.freeing(now):
            return
        for consumer in list(self._leases.consumers)[self._consumers_told :]:
            held.setdefault(consumer, [])
        self._consumers_told = len(self._leases.consumers)
        await self._say(Announcement(self._worker, self.frees, held=held))

    async def _say_whole(self) -> None:
        # Of all consumers, whatever was asked: who waits for another answer would take this one for it.
        self._owes_all = False
        for held, is_first in in_pieces(self._leases.whole()):
            await self._say(Announcement(self._worker, self.frees, held=held, whole=is_first))

    async def _be_present(self, now: float) -> None:
        self._present_at = now
        self.neighbours.forget_silent(now)
        ended = grouped(self._leases.end())
        is_heard = bool(self.neighbours.freeing(now))
        await self._say(Announcement(self._worker, self.frees, ended=ended if is_heard else {}))
        if is_heard and now - self._whole_at >= _WHOLE_S:
            self._whole_at = now
            self._owes_all = True

    async def _hear(self, message: Msg) -> None:
        try:
            said = decode_announcement(message.data)
        except ProtocolError as error:
            _log.warning("announcement_unreadable", error=str(error))
            return
        if said.worker == self._worker:
            return
        begins_to_free = self.neighbours.hear(said, monotonic())
        self._owes_all = self._owes_all or begins_to_free or said.freed == self._worker
        if said.wants:
            await self._answer_at_once()

    async def _answer_at_once(self) -> None:
        try:
            await self._say_whole()
        except WORLD_ERRORS as error:
            _log.debug("announcement_lost", error=repr(error))

    async def _say(self, said: Announcement, *, trace: str = "") -> None:
        if self._leaves:
            said = msgspec.structs.replace(said, frees=False, leaves=True)
        headers = {TRACE_HEADER: trace} if trace else None
        await self._client.publish(self._subject, encode_announcement(said), headers=headers)
