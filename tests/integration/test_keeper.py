"""The keeper keeps leases whatever the worker's loop does, and knows when it can't. Real server, real processes."""

from __future__ import annotations

import asyncio
import secrets
import signal
import threading
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path

import pytest
from nats.aio.client import Client
from tests.integration.keeper_worker import Orders, WorkerProcess, deliveries, fill, make_consumer, open_pull, pull

from relight.actors.jetstream.keeper import Access, Keeper, KeeperOptions
from relight.actors.watchdog import EXIT_LOOP_BLOCKED
from relight.config.limits import LIMITS
from relight.config.server import EmbeddedServer
from relight.errors import UnavailableError
from relight.subjects.grammar import Subjects
from relight.subjects.ids import WorkerId

ACK_WAIT_S = 1.0
QUICK = replace(LIMITS, ack_wait_s=ACK_WAIT_S, renew_s=0.3)
ADA = WorkerId("ada")


@pytest.fixture
async def client(shared_server: EmbeddedServer) -> AsyncIterator[Client]:
    client = Client()
    await client.connect(shared_server.url)
    yield client
    await client.close()


@pytest.fixture
async def stream(client: Client) -> str:
    name = f"S{secrets.token_hex(4)}"
    await make_consumer(client, name, ack_wait_s=ACK_WAIT_S)
    return name


@pytest.fixture
async def keeper(shared_server: EmbeddedServer, namespace: str) -> AsyncIterator[Keeper]:
    access = Access(servers=(shared_server.url,))
    keeper = Keeper(KeeperOptions(namespace=namespace, worker=ADA, access=access, limits=QUICK))
    await keeper.start()
    yield keeper
    await keeper.stop()


async def test_leases_are_renewed_while_the_main_thread_is_blocked(client: Client, stream: str, keeper: Keeper) -> None:
    await fill(client, stream, 3)
    for delivery in await pull(client, stream, 3):
        keeper.hold("run", delivery)
    await open_pull(client, stream, 3)

    block(2.5 * ACK_WAIT_S)

    assert await deliveries(client, stream) == 3
    assert keeper.is_fresh()


async def test_a_released_delivery_is_delivered_again(client: Client, stream: str, keeper: Keeper) -> None:
    await fill(client, stream, 2)
    kept, released = await pull(client, stream, 2)
    keeper.hold("kept", kept)
    keeper.hold("released", released)

    keeper.release(released)
    (redelivered,) = await pull(client, stream, 1)

    assert (redelivered.sequence, redelivered.delivered) == (released.sequence, 2)


async def test_thousands_of_leases_are_kept(client: Client, stream: str, keeper: Keeper) -> None:
    await fill(client, stream, 5_000)
    for delivery in await pull(client, stream, 5_000):
        keeper.hold("run", delivery)
    await open_pull(client, stream, 5_000)

    block(2.5 * ACK_WAIT_S)

    assert await deliveries(client, stream) == 5_000


async def test_questions_are_answered_while_the_main_thread_is_blocked(
    client: Client, keeper: Keeper, namespace: str
) -> None:
    await keeper.answer(ADA, lambda question: b"mine: " + question if question == b"r" else None)
    answers: list[bytes] = []
    asker = threading.Thread(target=lambda: answers.append(asyncio.run(ask(client, namespace))))

    asker.start()
    asker.join(timeout=5)

    assert answers == [b"mine: r"]


async def test_no_server_means_a_clear_error_and_no_thread(namespace: str) -> None:
    access = Access(servers=("nats://127.0.0.1:9",), connect_timeout_s=0.3)
    keeper = Keeper(KeeperOptions(namespace=namespace, worker=ADA, access=access))

    with pytest.raises(UnavailableError, match=r"127\.0\.0\.1:9"):
        await keeper.start()
    await keeper.stop()

    assert not keeper.is_fresh()
    assert not any(thread.name == "relight-keeper" for thread in threading.enumerate())


async def test_after_a_server_restart_the_keeper_is_fresh_again(server: EmbeddedServer, namespace: str) -> None:
    keeper = Keeper(KeeperOptions(namespace=namespace, worker=ADA, access=Access(servers=(server.url,)), limits=QUICK))
    await keeper.start()
    gaps = keeper.gaps

    server.stop()
    await eventually(lambda: not keeper.is_fresh())
    server.start()
    await eventually(keeper.is_fresh)

    assert keeper.gaps > gaps
    await keeper.stop()


async def test_a_stopped_process_is_stale_and_renews_only_what_is_held_again(
    client: Client, stream: str, shared_server: EmbeddedServer, namespace: str, tmp_path: Path
) -> None:
    await fill(client, stream, 1)
    orders = orders_for(shared_server, namespace, stream=stream, ack_wait_s=ACK_WAIT_S, renew_s=0.3)
    with WorkerProcess(orders, tmp_path / "log") as worker:
        worker.order(pull=1)
        worker.line()
        worker.order(fresh=True)
        before = worker.line()

        worker.signal(signal.SIGSTOP)
        block(0.7 * ACK_WAIT_S)
        worker.signal(signal.SIGCONT)
        (redelivered,) = await pull(client, stream, 1)
        worker.order(fresh=True)
        after = worker.line()

        assert before["fresh"]
        assert redelivered.delivered == 2
        assert after["fresh"]
        assert after["gaps"] > before["gaps"]

        worker.order(hold="again")
        worker.order(fresh=True)
        worker.line()
        await open_pull(client, stream, 1)
        block(2 * ACK_WAIT_S)

        assert await deliveries(client, stream) == 2


async def test_a_blocked_loop_is_named_and_then_ended(
    shared_server: EmbeddedServer, namespace: str, tmp_path: Path
) -> None:
    orders = orders_for(shared_server, namespace, loop_blocked_warn_s=0.2, loop_blocked_end_s=1.0)
    with WorkerProcess(orders, tmp_path / "log") as worker:
        began_at = time.monotonic()
        worker.order(block=30.0)

        exit_code = await asyncio.wait_for(worker.process.wait(), 10)

        assert exit_code == EXIT_LOOP_BLOCKED
        assert time.monotonic() - began_at < 5
        log = [line for line in worker.log.read_text(encoding="utf-8").splitlines() if "loop_blocked" in line]
        assert [line.split("]")[1].split()[0] for line in log] == ["loop_blocked", "loop_blocked", "loop_blocked_end"]
        assert all("keeper_worker.py" in line and "function=obey" in line for line in log)


async def test_a_process_that_was_stopped_for_long_is_not_taken_for_blocked(
    shared_server: EmbeddedServer, namespace: str, tmp_path: Path
) -> None:
    orders = orders_for(shared_server, namespace, loop_blocked_warn_s=0.4, loop_blocked_end_s=1.0)
    with WorkerProcess(orders, tmp_path / "log") as worker:
        worker.signal(signal.SIGSTOP)
        block(1.5)
        worker.signal(signal.SIGCONT)
        worker.order(fresh=True)

        assert "fresh" in worker.line()
        assert "loop_blocked" not in worker.log.read_text(encoding="utf-8")


async def test_a_forgotten_keeper_does_not_keep_its_process_alive(
    shared_server: EmbeddedServer, namespace: str, tmp_path: Path
) -> None:
    with WorkerProcess(orders_for(shared_server, namespace), tmp_path / "log") as worker:
        worker.forget()

        assert await asyncio.wait_for(worker.process.wait(), 10) == 0


async def ask(client: Client, namespace: str) -> bytes:
    """Ask from a loop of its own, as another process would."""
    other = Client()
    await other.connect(str(client.connected_url.geturl() if client.connected_url else ""))
    subjects = Subjects(namespace)
    answer = await other.request(subjects.owner(ADA), b"r", timeout=2)
    await other.close()
    return answer.data


def block(seconds: float) -> None:
    """Block the main thread: the very thing that the keeper must withstand."""
    time.sleep(seconds)


async def eventually(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0.01)


def orders_for(
    server: EmbeddedServer,
    namespace: str,
    *,
    stream: str = "",
    ack_wait_s: float = 10.0,
    renew_s: float = 3.0,
    loop_blocked_warn_s: float = 1.0,
    loop_blocked_end_s: float = 30.0,
) -> Orders:
    return Orders(
        url=server.url,
        system_url=None,
        namespace=namespace,
        worker="ada",
        stream=stream,
        consumer="c",
        ack_wait_s=ack_wait_s,
        renew_s=renew_s,
        loop_blocked_warn_s=loop_blocked_warn_s,
        loop_blocked_end_s=loop_blocked_end_s,
    )
