"""A worker process that only holds leases, and its remote control; what it does it does on command."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Self, cast

import structlog
from nats.aio.client import Client
from nats.aio.msg import Msg
from tests.forked import Forked, become

from relight.actors.door import Delivery
from relight.actors.jetstream.keeper import Access, Keeper, KeeperOptions, connection_name
from relight.actors.jetstream.keeper_connection import subscribe
from relight.actors.watchdog import Watchdog
from relight.config.limits import LIMITS
from relight.subjects.ids import WorkerId

__all__ = ("Orders", "WorkerProcess", "consumer_info", "deliveries", "fill", "make_consumer", "open_pull", "pull")


@dataclass(frozen=True, kw_only=True)
class Orders:
    """How the process is to work. It pulls from `<stream>.<consumer>` whatever `limits` say."""

    url: str
    system_url: str | None
    namespace: str
    worker: str
    stream: str = ""
    consumer: str = ""
    ack_wait_s: float = 10.0
    renew_s: float = 3.0
    announce_s: float = 0.005
    loop_blocked_warn_s: float = 1.0
    loop_blocked_end_s: float = 30.0

    def options(self) -> KeeperOptions:
        limits = replace(
            LIMITS,
            ack_wait_s=self.ack_wait_s,
            renew_s=self.renew_s,
            announce_s=self.announce_s,
            loop_blocked_warn_s=self.loop_blocked_warn_s,
            loop_blocked_end_s=self.loop_blocked_end_s,
        )
        return KeeperOptions(
            namespace=self.namespace,
            worker=WorkerId(self.worker),
            access=Access(servers=(self.url,)),
            system=Access(servers=(self.system_url,)) if self.system_url else None,
            limits=limits,
        )


class WorkerProcess:
    """A worker in a process of its own. `log` collects what it wrote to standard error."""

    def __init__(self, orders: Orders, log: Path) -> None:
        self.log = log
        heard, self._orders = Pipe(duplex=False)
        self._said, says = Pipe(duplex=False)
        self.process = Forked(_work, orders, dict(os.environ), heard, says, log)
        heard.close()
        says.close()
        self._lines = open(self._said.fileno(), encoding="utf-8", closefd=False)  # noqa: SIM115 - closed by `__exit__`
        self.line()

    def order(self, **words: object) -> None:
        os.write(self._orders.fileno(), (json.dumps(words) + "\n").encode())

    def forget(self) -> None:
        """Give no more orders."""
        self._orders.close()

    def line(self) -> dict[str, float]:
        """Return the next thing that the process says."""
        text = self._lines.readline()
        assert text, f"the worker has ended: {self.log.read_text(encoding='utf-8')}"
        said: dict[str, float] = json.loads(text)
        return said

    def lines(self, count: int) -> Iterator[dict[str, float]]:
        for _ in range(count):
            yield self.line()

    def signal(self, number: signal.Signals) -> None:
        os.kill(self.process.pid, number)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.process.kill()
        self.process.join()
        self._lines.close()
        self._said.close()
        self._orders.close()


async def make_consumer(client: Client, stream: str, *, ack_wait_s: float) -> None:
    """Make a stream of this name with a durable pull consumer `c` that has no limits."""
    config = {"name": stream, "subjects": [f"{stream}.>"], "storage": "file", "num_replicas": 1}
    await _asked(client, f"STREAM.CREATE.{stream}", config)
    consumer = {"durable_name": "c", "ack_policy": "explicit", "ack_wait": int(ack_wait_s * 1e9)}
    consumer |= {"max_ack_pending": -1, "max_deliver": -1}
    await _asked(client, f"CONSUMER.DURABLE.CREATE.{stream}.c", {"stream_name": stream, "config": consumer})


async def consumer_info(client: Client, stream: str) -> dict[str, int]:
    return await _asked(client, f"CONSUMER.INFO.{stream}.c", {})


async def deliveries(client: Client, stream: str) -> int:
    """How many the consumer has made. What has lapsed is only delivered again to a pull that is open."""
    info = cast("dict[str, dict[str, int]]", await consumer_info(client, stream))
    return info["delivered"]["consumer_seq"]


async def open_pull(client: Client, stream: str, count: int) -> None:
    """Have the server deliver so many, of which nobody takes notice."""
    body = json.dumps({"batch": count, "expires": 60_000_000_000}).encode()
    inbox = client.new_inbox()
    await subscribe(client, inbox, _ignore)
    await client.publish(f"$JS.API.CONSUMER.MSG.NEXT.{stream}.c", body, reply=inbox)
    await client.flush()


async def _ignore(_message: Msg) -> None:
    pass


async def fill(client: Client, stream: str, count: int) -> None:
    """Store so many messages."""
    for _ in range(count - 1):
        await client.publish(f"{stream}.m", b"x")
    await client.request(f"{stream}.m", b"x", timeout=5)


async def pull(client: Client, stream: str, count: int) -> list[Delivery]:
    """Take so many deliveries."""
    inbox = client.new_inbox()
    deliveries: asyncio.Queue[Msg] = asyncio.Queue()
    await subscribe(client, inbox, deliveries.put)
    body = json.dumps({"batch": count, "expires": 10_000_000_000}).encode()
    await client.publish(f"$JS.API.CONSUMER.MSG.NEXT.{stream}.c", body, reply=inbox)
    async with asyncio.timeout(10):
        return [delivery_of(await deliveries.get()) for _ in range(count)]


async def _asked(client: Client, verb: str, body: Mapping[str, object]) -> dict[str, int]:
    message = await client.request(f"$JS.API.{verb}", json.dumps(body).encode(), timeout=5)
    answer: dict[str, int] = json.loads(message.data)
    assert "error" not in answer, answer
    return answer


def delivery_of(message: Msg) -> Delivery:
    fields = message.reply.split(".")
    return Delivery(message.subject, int(fields[5]), message.data, None, message.reply, int(fields[4]))


class _Worker:
    def __init__(self, orders: Orders) -> None:
        self.orders = orders
        self.watchdog = Watchdog(orders.options().limits)
        self.keeper = Keeper(orders.options(), watchdog=self.watchdog)
        self.client = Client()
        self.held: list[Delivery] = []
        self.holds = True

    async def work(self) -> None:
        await self.connect()
        await self.keeper.start()
        self.watchdog.attach()
        await self.keeper.answer(WorkerId(self.orders.worker), lambda question: b"mine: " + question)
        say(started=True)
        reader = asyncio.StreamReader()
        await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
        while line := await reader.readline():
            await self.obey(json.loads(line))

    async def connect(self) -> None:
        await self.client.connect(self.orders.url, name=connection_name(self.orders.worker, "main"))
        await subscribe(self.client, "deliveries." + self.orders.worker, self.receive)
        await self.client.flush()

    async def receive(self, message: Msg) -> None:
        if not message.reply:
            return
        delivery = delivery_of(message)
        self.held.append(delivery)
        if self.holds:
            self.keeper.hold("run", delivery)
        say(sequence=delivery.sequence, delivered=delivery.delivered, at=time.monotonic())

    async def obey(self, order: dict[str, object]) -> None:
        match order:
            case {"pull": batch}:
                self.holds = bool(order.get("holds", True))
                pull = f"$JS.API.CONSUMER.MSG.NEXT.{self.orders.stream}.{self.orders.consumer}"
                body = json.dumps({"batch": batch, "expires": 60_000_000_000}).encode()
                await self.client.publish(pull, body, reply="deliveries." + self.orders.worker)
            case {"acknowledge": int(count)}:
                for delivery in self.held[-count:]:
                    self.keeper.release(delivery)
                    await self.client.publish(delivery.token, b"+ACK")
                await self.client.flush()
                say(acknowledged=count)
            case {"hold": "again"}:
                for delivery in self.held:
                    self.keeper.hold("run", delivery)
            case {"block": float(seconds)}:
                time.sleep(seconds)  # noqa: ASYNC251 - the very mistake that is tested
            case {"fresh": _}:
                say(fresh=self.keeper.is_fresh(), gaps=self.keeper.gaps)
            case {"blink": "main"}:
                await self.client.close()
                self.client = Client()
                await self.connect()
                say(blinked=True)
            case _:
                raise AssertionError(order)


def say(**words: object) -> None:
    sys.stdout.write(json.dumps(words) + "\n")
    sys.stdout.flush()


def _work(orders: Orders, environment: Mapping[str, str], heard: Connection, says: Connection, log: Path) -> None:
    """Be the worker."""
    become(environment, out=log, err=log)
    os.dup2(heard.fileno(), 0)
    os.dup2(says.fileno(), 1)
    heard.close()
    says.close()
    sys.stdin = open(0, closefd=False)  # noqa: SIM115 - as long as the process
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
    asyncio.run(_Worker(orders).work())
