"""The roll call: asks all workers who drives a run, or who has its code. Runs that are asked for together go together.

When a worker dies in a burst of starts, thousands of them come again at once; each other worker is asked a few times.
"""

from __future__ import annotations

import asyncio
from itertools import islice
from typing import NamedTuple, final

from relight.actors.door import Door, Silent
from relight.config.limits import LIMITS
from relight.subjects.codec import decode_worker_says, encode
from relight.subjects.ids import WorkerId
from relight.subjects.messages import AskEveryWorker

__all__ = ("RollCall",)


class _Waiting(NamedTuple):
    found: asyncio.Future[_Found]
    seen_ms: int


class _Found(NamedTuple):
    driver: WorkerId | None
    is_certain: bool


@final
class RollCall:
    """Asks in the name of one worker."""

    def __init__(self, door: Door, worker: WorkerId) -> None:
        self._door = door
        self._worker = worker
        self._turn = asyncio.Lock()
        self._waiting: dict[str, _Waiting] = {}

    async def driver_of(self, run: str, *, seen_ms: int = 0) -> WorkerId | None:
        """Return the other worker that drives a run, or is about to begin it; None if none does.

        He was connected at `seen_ms`, or later, and is given the time to come back (`Door.ask_every_worker`).

        Raises:
            Silent: None says so, but not all have answered within `limits.ask_s`.
            UnavailableError: The server was not reached.
        """
        future, _ = self._waiting.setdefault(run, _Waiting(asyncio.get_running_loop().create_future(), seen_ms))
        async with self._turn:
            if not future.done():
                await self._call(run)
        found = future.result()
        if not found.is_certain:
            raise Silent(f"not every worker has answered within {LIMITS.ask_s:g} s")
        return found.driver

    async def find_able(self, workflow: str, version: str, subject: str) -> WorkerId | None:
        """Return another worker that has this code and room for a delivery of `subject`; None if none says so.

        Raises:
            UnavailableError: The server was not reached.
        """
        question = AskEveryWorker(self._worker, workflow=workflow, version=version, subject=subject)
        answers = await self._door.ask_every_worker(encode(question), timeout_s=LIMITS.ask_s)
        able = [one.worker for one in map(decode_worker_says, answers.said) if one.is_able]
        return WorkerId(able[0]) if able else None

    async def _call(self, run: str) -> None:
        """Ask for this run, and for others that wait."""
        asked = {run: self._waiting[run], **dict(islice(self._waiting.items(), LIMITS.runs_asked_max - 1))}
        question = encode(AskEveryWorker(self._worker, runs=tuple(asked)))
        seen_ms = min(one.seen_ms for one in asked.values())
        answers = await self._door.ask_every_worker(question, timeout_s=LIMITS.ask_s, seen_ms=seen_ms)
        drivers = {run: one.worker for one in map(decode_worker_says, answers.said) for run in one.drives}
        for one, (future, _) in asked.items():
            driver = None if one not in drivers else WorkerId(drivers[one])
            future.set_result(_Found(driver, is_certain=answers.is_complete or driver is not None))
            del self._waiting[one]
