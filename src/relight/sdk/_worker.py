"""`Worker`: a process's main, or beside other code."""

from __future__ import annotations

import asyncio
import gc
import os
import secrets
import signal
import socket
from collections.abc import Callable, Generator, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, contextmanager
from typing import Any, Self, final

import structlog

from relight.actors.host import Host
from relight.actors.stuck import offer_new_code
from relight.config.limits import LIMITS
from relight.errors import InvalidValueError, RefusedError
from relight.sdk._client import Relight
from relight.sdk._execution import Launcher
from relight.sdk._interceptors import Interceptor
from relight.sdk._known_secrets import SecretProvider
from relight.sdk._programs import WorkflowPrograms, code_digest
from relight.sdk._workflow import Workflow
from relight.subjects.ids import WorkerId, name_of, queue_name

__all__ = ("Worker", "patient_collector")

_YOUNG_OBJECTS = 50_000
"""New objects after which the collector looks at them. Its default, 700, costs a busy worker a sixth of its time."""

log = structlog.get_logger("relight")


@final
class Worker:
    """Runs workflows: `await worker.run()` is a process's main, `async with worker:` runs it beside other code.

    Args:
        relight: The client whose server it works for; open it first (`async with`).
        workflows: What it can run. Runs of others in its queues are given back.
        queues: Where it takes runs from; by default the workflows' own.
        version: Its code's; default `RELIGHT_VERSION`. Runs that it begins of a workflow with `pin="version"` stay with
            workers of this version.
        adopts: Versions that have no worker any more, with whose pinned runs it goes on.
        concurrency: Runs it advances at the same time, waiting ones not counted; default `RELIGHT_CONCURRENCY` or 200.
        lifespan: Entered when it begins, left when it ends; what it yields is `step.deps()`.
        secrets: Returns the value of a `Secret` by its name, or None; by default that of `RELIGHT_SECRET_<NAME>` in the
            environment.
        interceptors: Around runs, steps, and the starts and signals that its runs send, as by `ctx.start` and
            `ctx.signal`. The client's are around these too, inside of its own; an object that both have only once.

    Raises:
        RefusedError: Two workflows have one name, or one is pinned and the worker has no version.
        InvalidIdError: A queue's name, or a version, can't be one.
        InvalidValueError: `concurrency` is out of range.
    """

    def __init__(
        self,
        relight: Relight,
        workflows: Sequence[Workflow[..., Any]],
        *,
        queues: Sequence[str] | None = None,
        version: str | None = None,
        adopts: Sequence[str] = (),
        concurrency: int | None = None,
        lifespan: Callable[[], AbstractAsyncContextManager[object]] | None = None,
        interceptors: Sequence[Interceptor] = (),
        secrets: SecretProvider | None = None,
    ) -> None:
        self._relight = relight
        self._concurrency = relight.settings.concurrency if concurrency is None else concurrency
        if not 1 <= self._concurrency <= LIMITS.concurrency_max:
            remedy = f"pass 1 to {LIMITS.concurrency_max}"
            raise InvalidValueError("concurrency", "", f"{concurrency} is out of range", remedy)
        self._launcher = Launcher(
            threads=min(self._concurrency, 64),
            interceptors=interceptors,
            sender=relight,
            secrets=secrets,
            inline_bytes_max=relight.settings.value_inline_bytes_max,
            bytes_max=relight.settings.value_bytes_max,
            carried_bytes_max=LIMITS.payload_bytes_max // (2 if relight.codecs else 1),
        )
        self.version = _version(relight.settings.version if version is None else version, workflows)
        self._programs = WorkflowPrograms(
            workflows,
            self._launcher,
            code=code_digest(),
            version=self.version,
            adopts=[name_of("version", one) for one in adopts],
        )
        self._queues = tuple(dict.fromkeys(queue_name(one) for one in queues or [one.queue for one in workflows]))
        self._lifespan = lifespan
        self._stack: AsyncExitStack | None = None
        self._host: Host | None = None
        self._grace_s = LIMITS.drain_s
        self._was_entered = False
        self.id = _new_worker_id()

    async def run(self) -> None:
        """Work until SIGTERM or SIGINT; then take nothing new, let steps end for a while, hand everything back.

        A second signal stops at once. While it works Python's cyclic garbage collector runs less often.
        """
        loop = asyncio.get_running_loop()
        first, second = asyncio.Event(), asyncio.Event()

        def stop() -> None:
            (second if first.is_set() else first).set()

        def told(_number: int, _frame: object) -> None:
            loop.call_soon_threadsafe(stop)

        # Not by the loop, which would set the default for a moment when it takes its handlers away.
        before = {one: signal.signal(one, told) for one in (signal.SIGTERM, signal.SIGINT)}
        self._launcher.has_sigint = True
        try:
            async with self:
                named = {"version": self.version} if self.version else {}
                log.info("worker_started", worker=self.id, queues=list(self._queues), **named)
                with patient_collector():
                    await first.wait()
                log.info("worker_draining", worker=self.id)
                await self._drain_unless(second)
            log.info("worker_stopped", worker=self.id)
        finally:
            self._launcher.has_sigint = False
            for one, handler in before.items():
                signal.signal(one, handler or signal.SIG_DFL)  # None: it was not set by Python.

    async def __aenter__(self) -> Self:
        _ = self._relight.door  # It says so if it is not open.
        if self._stack is not None:
            raise RefusedError("this worker works already; make another Worker to have a second one")
        if self._was_entered:
            self.id = _new_worker_id()  # Nobody may take for its own what it wrote in its life before.
        self._was_entered = True
        self._grace_s = LIMITS.drain_s
        async with AsyncExitStack() as stack:
            if self._lifespan is not None:
                self._launcher.deps = await stack.enter_async_context(self._lifespan())
                self._launcher.has_deps = True
            door = self._relight.sealing(await stack.enter_async_context(self._relight.backend.worker_door(self.id)))
            self._host = Host(
                door,
                self._relight.subjects,
                self.id,
                self._programs,
                queues=self._queues,
                concurrency=self._concurrency,
            )
            # However it is left, nothing of it goes on.
            stack.callback(self._launcher.close)
            stack.callback(self._host.close)
            await self._host.open()
            offering = asyncio.create_task(offer_new_code(door, self._relight.subjects, self._programs.code))
            stack.callback(offering.cancel)
            self._stack = stack.pop_all()
        return self

    async def __aexit__(self, *error: object) -> None:
        host, stack = self._host, self._stack
        self._host = self._stack = None
        if host is not None and stack is not None:
            try:
                await host.drain(self._grace_s)
            finally:
                await stack.aclose()

    def redact(self, text: str) -> str:
        """Return a text with `[secret NAME]` in place of values that its steps have revealed: for log handlers."""
        return self._launcher.secrets.redacted(text)

    @property
    def host(self) -> Host:
        """The host inside, while the worker works."""
        assert self._host is not None, "the worker is not running"
        return self._host

    async def _drain_unless(self, second: asyncio.Event) -> None:
        draining = asyncio.create_task(self.host.drain(self._grace_s))
        stopping = asyncio.create_task(second.wait())
        await asyncio.wait((draining, stopping), return_when=asyncio.FIRST_COMPLETED)
        if not draining.done():
            self._grace_s = 0.0
        for one in (draining, stopping):
            one.cancel()


@contextmanager
def patient_collector() -> Generator[None]:
    """Look for cycles less often: every run in flight is hundreds of young objects that are all still in use."""
    before = gc.get_threshold()
    gc.set_threshold(max(before[0], _YOUNG_OBJECTS), *before[1:])
    try:
        yield
    finally:
        gc.set_threshold(*before)


def _new_worker_id() -> WorkerId:
    host = "".join(one if one.isascii() and one.isalnum() else "-" for one in socket.gethostname())[:32]
    return WorkerId(f"{host or 'worker'}-{os.getpid()}-{secrets.token_hex(3)}")


def _version(version: str | None, workflows: Sequence[Workflow[..., Any]]) -> str:
    if version:
        return name_of("version", version)
    pinned = next((one.name for one in workflows if isinstance(one, Workflow) and one.is_pinned), None)  # pyright: ignore[reportUnnecessaryIsInstance]  # what users may pass
    if pinned is not None:
        raise RefusedError(f"workflow {pinned!r} stays with its version; pass Worker(version=…) or set RELIGHT_VERSION")
    return ""
