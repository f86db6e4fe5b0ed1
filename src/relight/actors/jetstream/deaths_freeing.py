"""What a survivor does when a worker has died: it frees the leases of the dead, so that others get them at once.

A freed lease is only delivered again; who owns the run is decided by asking and by the journal's fence. So a lease of
the living that is freed by mistake costs a delivery and a question, and nothing here needs to be exact.

Of several survivors one acts, chosen by rendezvous hash; each of the others waits its turn of 20 ms, and does nothing
when it has heard by then that it is done. First go the leases that the dead worker had announced. Those that it got in
its last milliseconds, or that were still in its socket, nobody knows: so afterwards they are swept free.
"""

from __future__ import annotations

import asyncio
from time import monotonic
from typing import final

import structlog

from relight.actors.jetstream.announced import Neighbour, rank
from relight.actors.jetstream.announcer import Announcer
from relight.actors.jetstream.client import WORLD_ERRORS
from relight.actors.jetstream.deaths import Deaths, event_of
from relight.actors.jetstream.deaths_sweep import Sweep
from relight.actors.jetstream.keeper_leases import Leases
from relight.subjects.ids import WorkerId

__all__ = ("Survivor",)

_TURN_S = 0.020
"""After this long without a word from the first survivor the next one acts."""

_TRIES = 5
_AGAIN_S = 0.5
"""Between two tries: a server that stalls, or has no leader for a consumer, does not answer for a second or more."""

_log = structlog.stdlib.get_logger("relight.keeper")


@final
class Survivor:
    """Frees what the dead held. `tasks` runs what takes time."""

    def __init__(
        self, sweep: Sweep, *, worker: WorkerId, announcer: Announcer, leases: Leases, tasks: asyncio.TaskGroup
    ) -> None:
        self._sweep = sweep
        self._worker = worker
        self._announcer = announcer
        self._leases = leases
        self._tasks = tasks
        self._deaths = Deaths()

    def note(self, data: bytes) -> None:
        """Take in a connection event of the system account."""
        event = event_of(data)
        if event is not None and event.worker != self._worker and self._deaths.note(event):
            outliving = self._outlive(event.worker)
            try:
                self._tasks.create_task(outliving)
            except RuntimeError:
                outliving.close()  # This keeper is ending: the other survivors free them.

    async def _outlive(self, dead: WorkerId) -> None:
        turn = rank(self._worker, dead=dead, others=self._announcer.neighbours.freeing(monotonic()))
        if turn:
            await asyncio.sleep(turn * _TURN_S)
        # Taken out of the table before anything is awaited: neither a second event nor a later turn frees them again.
        estate = self._announcer.neighbours.let_go(dead)
        for _ in range(_TRIES):
            if estate is None or not self._deaths.is_gone(dead):
                return
            try:
                return await self._free(dead, estate, turn)
            except WORLD_ERRORS as error:
                _log.warning("freeing_failed", dead=dead, error=repr(error))
            await asyncio.sleep(_AGAIN_S)

    async def _free(self, dead: WorkerId, estate: Neighbour, turn: int) -> None:
        leases = estate.leases()
        await self._sweep.free(leases, await self._sweep.infos(one for one, held in estate.held.items() if held))
        await self._announcer.report_freed(dead)
        _log.info("worker_left" if estate.leaves else "worker_died", worker=dead, leases_freed=len(leases), turn=turn)
        # Of our own consumers too: one that died young has told nobody yet which it served.
        served = {*estate.held, *list(self._leases.consumers)}
        # A worker whose two connections had only blinked together has come back by then.
        swept = await self._sweep.after(dead, served, estate.held, is_moot=lambda: not self._deaths.is_gone(dead))
        self._deaths.forget(dead)
        _log.info("leases_swept", dead=dead, leases_freed=swept)
