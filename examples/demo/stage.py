"""The stage of the demo: a NATS server, a payment provider, a model, and workers that can be killed."""

from __future__ import annotations

import asyncio
import csv
import fcntl
import secrets
from collections.abc import Callable
from contextlib import AsyncExitStack, suppress
from pathlib import Path
from typing import IO, Any, Self, final

import httpx
from examples.demo.children import Child, Said
from examples.demo.shop import Order, Receipt, process_order

from relight import RefusedError, Relight, Run, RunTerminated

__all__ = ("Actor", "Stage", "orders_from_csv")

ORDERS = Path(__file__).resolve().parents[1] / "orders.csv"


@final
class Actor:
    """A worker process."""

    def __init__(self, number: int, child: Child) -> None:
        self.name = f"worker {number}"
        self.child = child


@final
class Stage:
    """Everything that the demo starts. It has ended when `async with` ends, however it ends.

    Args:
        sends_key: Whether the workers send idempotency keys to the provider.

    Attributes:
        tag: Told apart by it are the runs of one demo from those of the ones before.
        hear: Is told what the workers say, and who said it.
        names: Of all workers there have been, by what they call themselves in histories.
    """

    def __init__(self, *, sends_key: bool = True) -> None:
        self.tag = secrets.token_hex(2)
        self.relight = Relight.local()
        self.actors: list[Actor] = []
        self.hear: Callable[[Actor, Said], None] = lambda _actor, _said: None
        self.names: dict[str, str] = {}
        self._arguments: tuple[str, ...] = () if sends_key else ("--without-key",)
        self._started = 0
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(self.relight)
            self._be_alone(stack.enter_context(self.directory.joinpath("demo.lock").open("wb")))
            log = stack.enter_context(self.directory.joinpath("demo.log").open("wb"))
            provider, model = await self._services(stack, log)
            self.provider = await stack.enter_async_context(httpx.AsyncClient(base_url=provider))
            self._arguments += ("--provider", provider, "--model", model)
            self._log = log
            stack.push_async_callback(self._end_workers)
            await asyncio.gather(self.add(), self.add())
            self._stack = stack.pop_all()
        return self

    async def __aexit__(self, *error: object) -> None:
        await self._stack.aclose()

    def _be_alone(self, lock: IO[bytes]) -> None:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            # Their workers would take each other's orders.
            raise RefusedError(f"another demo or playground runs in {self.directory}; wait for its end") from None

    @property
    def directory(self) -> Path:
        return Path(self.relight.settings.local_directory)

    async def add(self) -> Actor:
        """Start a worker and return it when it is ready for work."""
        self._started += 1
        number = self._started
        heard: list[Actor] = []
        child = await Child.start(
            "worker", *self._arguments, log=self._log, hear=lambda said: self.hear(heard[0], said)
        )
        actor = Actor(number, child)
        heard.append(actor)
        self.actors.append(actor)
        self.names[str((await child.ready())["ready"])] = actor.name
        return actor

    async def clear(self) -> int:
        """Terminate what a demo that was interrupted has left, which would go on here, and return how much it was."""
        note = self.directory / "demo.tag"
        tags = {"demo": note.read_text(encoding="utf-8") if note.exists() else self.tag}
        note.write_text(self.tag, encoding="utf-8")
        ended = await asyncio.gather(*[_is_terminated(run) async for run in self.relight.runs(tags=tags)])
        await self.provider.post("/reset")
        return sum(ended)

    async def kill(self, actor: Actor) -> None:
        """`kill -9`."""
        self.actors.remove(actor)
        await actor.child.kill()

    async def start(self, order: Order, name: str) -> Run[Receipt]:
        """Start a run that carries this demo's tag. The provider knows the order by the run's id."""
        id = f"order-{self.tag}{name}"
        return await self.relight.start(
            process_order, Order(id, order.customer, order.cents), id=id, tags={"demo": self.tag}
        )

    async def totals(self) -> dict[str, Any]:
        """What the provider has counted."""
        totals: dict[str, Any] = (await self.provider.post("/totals")).json()
        return totals

    async def _services(self, stack: AsyncExitStack, log: IO[bytes]) -> list[str]:
        children: list[Child] = []
        for module in ("provider", "model"):
            child = await Child.start(module, log=log)
            stack.push_async_callback(child.end)
            children.append(child)
        return [str((await one.ready())["ready"]) for one in children]

    async def _end_workers(self) -> None:
        await asyncio.gather(*(one.child.end() for one in self.actors))


async def _is_terminated(run: Run[object]) -> bool:
    try:
        await run.terminate(reason="another demo begins")
    except RefusedError:
        return False  # It had ended, as most have.
    with suppress(RunTerminated):
        await run.result(timeout=30)
    return True


def orders_from_csv(limit: int) -> list[Order]:
    """Read the first `limit` orders."""
    with ORDERS.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))[:limit]
    return [Order(row["id"], row["customer"], int(row["cents"])) for row in rows]
