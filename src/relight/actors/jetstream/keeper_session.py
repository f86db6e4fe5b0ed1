"""One connection of the keeper, and everything that runs on it as long as it lasts."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Self, final

import structlog
from nats.aio.client import Client
from nats.aio.msg import Msg

from relight.actors.jetstream.announcer import Announcer
from relight.actors.jetstream.client import INBOX, WORLD_ERRORS, Access
from relight.actors.jetstream.deaths_freeing import Survivor
from relight.actors.jetstream.deaths_sweep import Sweep
from relight.actors.jetstream.keeper_connection import confirm, connect, connection_name, subscribe
from relight.actors.jetstream.keeper_contact import Contact
from relight.actors.jetstream.keeper_leases import Leases
from relight.actors.jetstream.uptime import Outage
from relight.config.limits import LIMITS, Limits
from relight.errors import UnavailableError
from relight.subjects.grammar import Subjects
from relight.subjects.ids import WorkerId

__all__ = ("KeeperOptions", "Session")

_SYSTEM_RETRY_S = 10.0
_SETTLE_S = 1.0
_HEAR_S = 0.05
_DRAIN_S = 1.0
_EVENTS = ("$SYS.ACCOUNT.*.CONNECT", "$SYS.ACCOUNT.*.DISCONNECT")

_log = structlog.stdlib.get_logger("relight.keeper")


@dataclass(frozen=True, kw_only=True)
class KeeperOptions:
    """What a keeper needs to know.

    Attributes:
        namespace: Of the workers that hear each other.
        worker: Whose leases it keeps.
        access: The connection to the account that holds the streams.
        system: The connection to the system account; without it this worker frees no leases of the dead.
        limits: Its bounds and periods.
    """

    namespace: str
    worker: WorkerId
    access: Access
    system: Access | None = None
    limits: Limits = LIMITS


@final
class Session:
    """Connected from `async with` on until its end; `run` keeps the leases until the connection is closed for good."""

    def __init__(self, options: KeeperOptions, leases: Leases, contact: Contact) -> None:
        self._options = options
        self._leases = leases
        self._contact = contact
        self._subjects = Subjects(options.namespace)
        self._closed = asyncio.Event()
        self._sees_deaths = asyncio.Event()
        self._client: Client
        self._announcer: Announcer
        self._sweep: Sweep

    async def __aenter__(self) -> Self:
        options = self._options
        self._client = await connect(
            options.access,
            name=connection_name(options.worker, "keeper"),
            reconnected=self._catch_up,
            closed=self._closed.set,
        )
        self._announcer = Announcer(
            self._client, worker=options.worker, subjects=self._subjects, leases=self._leases, limits=options.limits
        )
        self._sweep = Sweep(self._client, worker=options.worker, announcer=self._announcer, leases=self._leases)
        try:
            await self._announcer.listen()
            await self._contact.round(self._client)
            _heed_cancellation()
        except WORLD_ERRORS as error:
            await self._client.close()
            raise UnavailableError(f"connection lost at once: {error!r}") from error
        return self

    async def __aexit__(self, *error: object) -> None:
        # Questions that are under way are still answered: whoever asks would else wait, and take us for silent.
        with suppress(*WORLD_ERRORS):
            async with asyncio.timeout(_DRAIN_S):
                if self._client.is_connected:
                    await self._client.drain()
        await self._client.close()

    async def take_leave(self) -> None:
        """Tell the others that this worker ends in order."""
        with suppress(*WORLD_ERRORS):  # Then they take it for dead, and look for what it held in vain.
            await self._announcer.take_leave()

    async def answer(self, worker: WorkerId, reply: Callable[[bytes], bytes | None]) -> None:
        """Answer questions to this worker; on return the server knows."""

        async def receive(question: Msg) -> None:
            answer = reply(question.data) if question.reply.startswith(INBOX) else None
            if answer is not None:
                await self._client.publish(question.reply, answer)

        await subscribe(self._client, self._subjects.owner(worker), receive)
        await confirm(self._client)

    async def free_orphans(self, consumers: Sequence[str], outage: Outage) -> None:
        """Free what those left in these consumers who died while nobody lived to see it. `run` must be running."""
        try:
            freed = await self._sweep.before(consumers, outage=outage)
        except WORLD_ERRORS as error:
            _log.debug("freeing_failed", error=repr(error))  # They lapse.
        else:
            if freed:
                _log.info("leases_swept", dead="unknown", leases_freed=freed)

    async def settle(self) -> None:
        """Return when this worker sees others die and knows what they hold; after a second in any case.

        Without the system account there is nothing to wait for. `run` must be running.
        """
        if self._options.system is None:
            return
        with suppress(TimeoutError):
            async with asyncio.timeout(_SETTLE_S):
                await self._sees_deaths.wait()
                # They answer the question of `listen` at once. One that is stopped must not keep us from starting.
                await asyncio.sleep(_HEAR_S)

    async def run(self) -> None:
        """Keep leases, announce, and outlive others, until the connection is closed for good.

        Raises:
            UnavailableError: It is.
        """
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._keep())
                tasks.create_task(self._announcer.run())
                if self._options.system is not None:
                    tasks.create_task(self._see_deaths(self._options.system, tasks))
                await self._closed.wait()
                raise UnavailableError("the server has closed the keeper's connection")
        except ExceptionGroup as errors:
            # `except*` is of no use here: before Python 3.11.4 what is raised in it comes out in a group.
            lost, others = errors.split(UnavailableError)
            if lost is None or others is not None:
                raise
            raise UnavailableError(str(lost.exceptions[0])) from errors

    async def _keep(self) -> None:
        while True:
            await asyncio.sleep(self._contact.round_s)
            await self._contact.round(self._client)
            _heed_cancellation()

    async def _see_deaths(self, system: Access, tasks: asyncio.TaskGroup) -> None:
        survivor = Survivor(
            self._sweep, worker=self._options.worker, announcer=self._announcer, leases=self._leases, tasks=tasks
        )
        while True:
            try:
                await self._watch_system(system, survivor)
            except (UnavailableError, *WORLD_ERRORS) as error:
                _log.warning("system_account_unavailable", error=str(error), next_try_s=_SYSTEM_RETRY_S)
            await asyncio.sleep(_SYSTEM_RETRY_S)

    async def _watch_system(self, system: Access, survivor: Survivor) -> None:
        closed = asyncio.Event()
        name = f"relight-system/{self._options.worker}"
        client = await connect(system, name=name, reconnected=lambda: None, closed=closed.set)

        async def receive(event: Msg) -> None:
            survivor.note(event.data)

        try:
            for subject in _EVENTS:
                await subscribe(client, subject, receive)
            await confirm(client)
            _heed_cancellation()
            self._announcer.begin_to_free()
            self._sees_deaths.set()
            await closed.wait()
        finally:
            self._announcer.frees = False
            await client.close()

    def _catch_up(self) -> None:
        """After a reconnect: others have missed what was said meanwhile, and so has this worker."""
        self._announcer.start_afresh()


def _heed_cancellation() -> None:
    """Python 3.11's `wait_for`, which nats-py uses, loses a cancellation that comes together with what it waits for."""
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError
