"""The keeper: keeps a worker's leases, whatever the worker's own loop is doing.

It is a thread with a loop and a connection of its own, so that user code that blocks the worker's loop can't make the
server give the worker's runs to others. It renews leases, proves contact with the server, answers other workers'
questions about runs, tells them what is held here, and frees what the dead held. Nothing that it does decides who owns
a run: whatever it loses or mistakes costs a redelivery, or the wait for one.
"""

from __future__ import annotations

import asyncio
import threading
import traceback
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from contextlib import suppress
from typing import final

import structlog

from relight.actors.door import Delivery
from relight.actors.jetstream.client import WORLD_ERRORS, Access
from relight.actors.jetstream.keeper_connection import connection_name
from relight.actors.jetstream.keeper_contact import Contact
from relight.actors.jetstream.keeper_leases import Leases
from relight.actors.jetstream.keeper_session import KeeperOptions, Session
from relight.actors.jetstream.uptime import NO_OUTAGE, Outage
from relight.actors.watchdog import Watchdog
from relight.errors import UnavailableError
from relight.subjects.ids import WorkerId

__all__ = ("Access", "Keeper", "KeeperOptions", "connection_name")

_RETRY_S = 1.0
_WATCH_S = 0.5
_END_S = 5.0
_BEGINS_S = 0.005

_log = structlog.stdlib.get_logger("relight.keeper")


@final
class Keeper:
    """Keeps the leases of one worker. `hold`, `release` and `is_fresh` never wait and may be called from any thread."""

    def __init__(self, options: KeeperOptions, *, watchdog: Watchdog | None = None) -> None:
        self._options = options
        self._watchdog = watchdog
        self._leases = Leases()
        self._contact = Contact(self._leases, options.limits)
        self._answers: dict[WorkerId, Callable[[bytes], bytes | None]] = {}
        self._session: Session | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._ending = asyncio.Event()
        self._started: Future[None] = Future()
        self._ended: Future[None] = Future()
        self._is_forced = False
        self._owner = threading.current_thread()
        self._thread = self._owner

    async def start(self) -> None:
        """Start the thread and return when it is connected and, with the system account, sees others die.

        The latter within a second, or not yet.

        Raises:
            UnavailableError: No connection within `access.connect_timeout_s`; the thread has ended.
        """
        self._owner = threading.current_thread()
        self._thread = threading.Thread(target=self._run, name="relight-keeper", daemon=True)
        self._thread.start()
        await asyncio.wrap_future(self._started)

    async def stop(self) -> None:
        """End the thread and its connections. What is held is no longer renewed. Repeatable."""
        if self._thread is self._owner:
            return
        while self._loop is None and not self._ended.done():  # noqa: ASYNC110 - its thread has only just begun
            await asyncio.sleep(_BEGINS_S)
        if self._loop is not None and not self._ended.done():
            self._loop.call_soon_threadsafe(self._ending.set)
        ended = asyncio.wrap_future(self._ended)
        await asyncio.wait((ended,), timeout=_END_S)
        if self._loop is not None and not self._ended.done():
            # A cancellation can be lost on its way through nats-py: with its loop stopped, every task gets one more.
            self._is_forced = True
            self._loop.call_soon_threadsafe(self._loop.stop)
            await asyncio.wait((asyncio.wrap_future(self._ended),))
        self._thread.join()  # It has nothing left to do.

    def hold(self, run: str, delivery: Delivery) -> None:
        """Renew this delivery until `release`; tell other workers of it once it is `limits.announce_s` old."""
        self._leases.hold(delivery)

    def release(self, delivery: Delivery) -> None:
        """Stop renewing. A renewal that is being sent may still follow."""
        self._leases.release(delivery)

    async def serve(self, consumers: Sequence[str], *, outage: Outage = NO_OUTAGE) -> None:
        """This worker is about to take deliveries of each `<stream>.<consumer>`, and frees what the dead leave there.

        When this returns, what was left before is freed, as far as the server answers; later deaths are seen to. After
        an `outage` nothing is freed before the living have had the time to come back.
        """
        for consumer in consumers:
            self._leases.serve(consumer)
        if self._session is not None and self._loop is not None and not self._ended.done():
            freeing = asyncio.run_coroutine_threadsafe(self._session.free_orphans(consumers, outage), self._loop)
            await asyncio.wrap_future(freeing)

    def is_fresh(self) -> bool:
        """Whether contact with the server, after the renewals due, was proven within half of `ack_wait`."""
        return self._contact.is_fresh()

    @property
    def gaps(self) -> int:
        """Grows each time `is_fresh` was false for a while, before it is true again: tails are to be read again.

        Leases held before a gap are not renewed after it, unless they are held again.
        """
        return self._contact.gaps

    def watch_gaps(self, back: Callable[[], None]) -> None:
        """Call `back`, in the keeper's thread, when contact is proven after a gap."""
        self._contact.on_back = back

    async def answer(self, worker: WorkerId, reply: Callable[[bytes], bytes | None]) -> None:
        """Answer questions to `worker` with `reply(question)`, called in the keeper's thread.

        None means that no answer is sent. When this returns, the server knows of it.

        Raises:
            UnavailableError: The server was not reached; it is told as soon as it is.
        """
        assert self._loop is not None, "the keeper must be started first"
        self._answers[worker] = reply
        try:
            await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(self._answer(worker, reply), self._loop))
        except WORLD_ERRORS as error:
            raise UnavailableError(f"the server does not know yet that {worker} answers: {error!r}") from error

    # All that follows runs in the keeper's thread.

    def _run(self) -> None:
        problem: Exception | None = None
        try:
            asyncio.run(self._live())
        except UnavailableError as error:
            problem = error
        except Exception as error:  # noqa: BLE001
            # The supervisor of this thread: what it does not report nobody ever sees. The leases lapse.
            if self._is_forced:
                _log.warning("keeper_ended_by_force")
            else:
                _log.error("keeper_failed", exception=traceback.format_exc())
            problem = error
        finally:
            # First of all: whoever hears of the problem may call `stop` at once.
            self._ended.set_result(None)
        if problem is not None and not self._started.done():
            self._started.set_exception(problem)

    async def _live(self) -> None:
        self._loop = asyncio.get_running_loop()
        tasks = (asyncio.create_task(self._work()), asyncio.create_task(self._watch()))
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in tasks:
            task.cancel()
        for outcome in await asyncio.gather(*tasks, return_exceptions=True):
            if isinstance(outcome, Exception):
                raise outcome

    async def _work(self) -> None:
        """Have one session after the other, for ever; only the first one has to succeed."""
        while True:
            try:
                async with Session(self._options, self._leases, self._contact) as session:
                    await self._serve(session)
            except (UnavailableError, *WORLD_ERRORS) as error:
                if not self._started.done():
                    raise
                _log.warning("keeper_session_over", error=str(error))
            await asyncio.sleep(_RETRY_S)

    async def _serve(self, session: Session) -> None:
        self._session = session
        for worker, reply in self._answers.items():
            await session.answer(worker, reply)
        running = asyncio.ensure_future(session.run())
        try:
            if not self._started.done():
                await session.settle()
                self._started.set_result(None)
            await running
        finally:
            running.cancel()
            if self._ending.is_set():
                await session.take_leave()

    async def _answer(self, worker: WorkerId, reply: Callable[[bytes], bytes | None]) -> None:
        if self._session is not None:
            await self._session.answer(worker, reply)

    async def _watch(self) -> None:
        """Return when the keeper is to end: it was told to, its owner's thread has ended, or the watchdog gave up."""
        period_s = self._watchdog.check_s if self._watchdog else _WATCH_S
        while self._owner.is_alive() and not self._ending.is_set():
            with suppress(TimeoutError):
                await asyncio.wait_for(self._ending.wait(), period_s)
            if self._watchdog is not None:
                self._watchdog.check()
                if self._watchdog.has_ended:
                    return
