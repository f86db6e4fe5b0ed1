"""Stuck runs: each leaves a scheduled message, and these are the list that a worker with other code goes through."""

from __future__ import annotations

import structlog

from relight.actors.backoff import pause
from relight.actors.door import Door
from relight.actors.run.alarm import STUCK
from relight.actors.starts import read_start
from relight.config.limits import LIMITS
from relight.errors import ProtocolError, RelightError
from relight.subjects.codec import encode
from relight.subjects.grammar import Subjects, TimerSubject, parse
from relight.subjects.messages import NewCode

__all__ = ("offer_new_code",)

log = structlog.get_logger("relight")


async def offer_new_code(door: Door, subjects: Subjects, code: str) -> None:
    """Wake every stuck run once, at most `limits.stuck_wakes_per_s` of them a second.

    Its owner-to-be compares the digests: a run that is stuck on this very code is left alone.
    """
    try:
        for subject in await door.subjects(subjects.timer_of_any_run(STUCK), limit=100_000):
            timer = parse(subject)
            if isinstance(timer, TimerSubject):
                await _wake(door, subjects, timer, code)
                await pause(door.clock, 1 / LIMITS.stuck_wakes_per_s)
    except RelightError as error:
        # The scheduled message of each stuck run wakes it later all the same.
        log.warning("new_code_not_offered", error=str(error))


async def _wake(door: Door, subjects: Subjects, timer: TimerSubject, code: str) -> None:
    try:
        start = await read_start(door, subjects, timer.run)
    except ProtocolError as error:
        log.warning("start_unreadable", run=timer.run, error=str(error))
        return
    if start is not None:
        await door.publish(subjects.wake(start.queue, timer.run), encode(NewCode(code=code)))
