"""Connecting: what is refused, in one line, and what is made, migrated or left alone."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Coroutine
from importlib.metadata import version
from inspect import iscoroutinefunction

import msgspec
import pytest
import uvloop
from nats.aio.client import Client
from structlog.testing import capture_logs
from tests.integration.door_on_server import bare, door, eventually, options, quick_limits

from relight.actors.door import Silent
from relight.actors.jetstream.client import Access
from relight.actors.jetstream.connection import Connection
from relight.actors.jetstream.door import DoorOptions, JetStreamDoor
from relight.actors.jetstream.transport import DirectTransport
from relight.config.guarded import find_binary
from relight.config.limits import LIMITS
from relight.config.server import EmbeddedServer
from relight.errors import IncompatibleStreamError, InvalidIdError, UnavailableError, UnsuitableServerError
from relight.subjects.grammar import Subjects
from relight.subjects.ids import WorkerId


class Info(msgspec.Struct):
    config: dict[str, object]


async def test_a_refused_connection_is_one_line_and_no_flood(capfd: pytest.CaptureFixture[str]) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"nats://127.0.0.1:{unused.getsockname()[1]}"
        access = Access(servers=(url,), connect_timeout_s=0.7)

        with capture_logs() as logs, pytest.raises(UnavailableError) as refused:
            await JetStreamDoor.open(DoorOptions(namespace="n", access=access, name="test"))

    assert url in str(refused.value)
    assert "\n" not in str(refused.value)
    assert [entry["log_level"] for entry in logs if entry["log_level"] != "debug"] == ["warning"]
    assert "Traceback" not in "".join(capfd.readouterr())


async def test_a_server_without_jetstream_is_refused_with_the_remedy() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
    arguments = (find_binary(), "-a", "127.0.0.1", "-p", str(port))
    server = await asyncio.create_subprocess_exec(*arguments, stderr=asyncio.subprocess.DEVNULL)
    access = Access(servers=(f"nats://127.0.0.1:{port}",))

    try:
        with pytest.raises(UnsuitableServerError, match="-js"):
            await JetStreamDoor.open(DoorOptions(namespace="n", access=access, name="test"))
    finally:
        server.terminate()
        await server.wait()


async def test_a_server_that_is_too_old_is_refused_with_version_and_remedy() -> None:
    async def greet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b'INFO {"version":"2.13.4","headers":true,"max_payload":1048576,"jetstream":true}\r\n')
        while line := await reader.readline():
            if line.startswith(b"PING"):
                writer.write(b"PONG\r\n")
        writer.close()

    async with await asyncio.start_server(greet, "127.0.0.1", 0) as old:
        access = Access(servers=(f"nats://127.0.0.1:{old.sockets[0].getsockname()[1]}",))

        with pytest.raises(UnsuitableServerError, match=r"2\.13\.4.*2\.14"):
            await JetStreamDoor.open(DoorOptions(namespace="n", access=access, name="test"))


@pytest.mark.parametrize("run", [asyncio.run, uvloop.run], ids=["asyncio", "uvloop"])
def test_both_loops_carry_a_door_through_a_restart(
    server: EmbeddedServer, namespace: str, run: Callable[[Coroutine[object, object, None]], None]
) -> None:
    log = Subjects(namespace).log("order-1")

    async def live() -> None:
        async with await door(server, namespace) as one:
            first = await one.publish(log, bytes(900_000), fence=0)
            server.kill()
            server.start()

            async def is_stored() -> bool:
                try:
                    return await one.publish(log, b"2", fence=first) > first
                except UnavailableError:
                    return False

            await eventually(is_stored)
            assert [len(stored.data) for stored in await one.read(log, after=0, limit=5)] == [900_000, 1]

    run(live())


async def test_an_outage_is_logged_once_and_its_end_too(server: EmbeddedServer, namespace: str) -> None:
    async with await door(server, namespace) as one:
        with capture_logs() as logs:
            await asyncio.to_thread(server.kill)
            await eventually(lambda: any(entry["event"] == "connection_lost" for entry in logs))
            await asyncio.to_thread(server.start)
            await eventually(lambda: any(entry["event"] == "connection_restored" for entry in logs))
            await one.last(Subjects(namespace).log("r"))

    events = [entry["event"] for entry in logs if entry["log_level"] != "debug"]
    assert events.count("connection_lost") == 1
    assert events.count("connection_restored") == 1
    assert events.count("connection_error") <= 3


@pytest.mark.parametrize("shards", [1, 3, 64])
async def test_the_number_of_streams_is_found_by_those_who_come_later(
    server: EmbeddedServer, namespace: str, shards: int
) -> None:
    async with await door(server, namespace, shards=shards):
        pass

    async with await door(server, namespace) as later:
        assert later.shards == shards


async def test_several_doors_that_open_at_once_make_one_set_of_streams(server: EmbeddedServer, namespace: str) -> None:
    doors = await asyncio.gather(*(door(server, namespace, shards=4) for _ in range(6)))

    log = Subjects(namespace).log("order-1")
    await doors[0].publish(log, b"1", fence=0)
    assert [await one.count(log) for one in doors] == [1] * 6
    for one in doors:
        await one.close()


@pytest.mark.parametrize(
    ("change", "setting"),
    [
        ({"storage": "memory"}, "storage"),
        ({"max_age": 3_600_000_000_000}, "max_age"),
        ({"max_msgs": 1000}, "max_msgs"),
        ({"max_bytes": 1_000_000}, "max_bytes"),
        ({"discard": "new"}, "discard"),
        ({}, "subjects"),
        ({"deny_purge": True}, "deny_purge"),
    ],
)
async def test_an_incompatible_stream_is_refused_and_left_as_it_is(
    shared_server: EmbeddedServer, namespace: str, change: dict[str, object], setting: str
) -> None:
    name = f"RELIGHT_{namespace}_RUN_0"
    config: dict[str, object] = {"name": name, "subjects": list(Subjects(namespace).of_every_slot()), **change}
    if setting == "subjects":
        config["subjects"] = [f"relight.{namespace}.log.*.*"]
    async with bare(shared_server) as (_, api):
        await api.need(f"STREAM.CREATE.{name}", Info, config)
        made = await api.need(f"STREAM.INFO.{name}", Info)

        with pytest.raises(IncompatibleStreamError, match=f"{name}.*{setting}"):
            await door(shared_server, namespace, shards=1)

        assert await api.need(f"STREAM.INFO.{name}", Info) == made


async def test_a_stream_that_lacks_harmless_settings_gets_them_and_keeps_its_own(
    shared_server: EmbeddedServer, namespace: str
) -> None:
    name = f"RELIGHT_{namespace}_RUN_0"
    config = {"name": name, "subjects": list(Subjects(namespace).of_every_slot()), "metadata": {"a": "b"}}
    async with bare(shared_server) as (_, api):
        await api.need(f"STREAM.CREATE.{name}", Info, {**config, "description": "ours", "max_consumers": -1})

        async with await door(shared_server, namespace):
            found = (await api.need(f"STREAM.INFO.{name}", Info)).config

    for setting in ("allow_direct", "allow_msg_schedules", "allow_msg_ttl", "allow_rollup_hdrs"):
        assert found[setting] is True
    assert found["description"] == "ours"
    assert str(found["metadata"]).count("relight-protocol") == 1
    assert "'a': 'b'" in str(found["metadata"])


async def test_another_number_of_shards_is_refused(shared_server: EmbeddedServer, namespace: str) -> None:
    async with await door(shared_server, namespace, shards=2):
        with pytest.raises(IncompatibleStreamError, match="subjects"):
            await door(shared_server, namespace, shards=4)


async def test_an_incompatible_consumer_is_refused(shared_server: EmbeddedServer, namespace: str) -> None:
    async with await door(shared_server, namespace) as one:
        config = {
            "durable_name": "wake-q",
            "ack_policy": "explicit",
            "filter_subject": f"relight.{namespace}.wake.*.q.*",
        }
        stream = f"RELIGHT_{namespace}_RUN_0"
        await one.api.need(f"CONSUMER.CREATE.{stream}.wake-q", object, {"stream_name": stream, "config": config})

        with pytest.raises(IncompatibleStreamError, match="ack_wait"):
            await one.consume("wake", "q", lambda delivery: None, places=1)


async def test_a_queue_that_can_name_no_consumer_is_refused(shared_server: EmbeddedServer, namespace: str) -> None:
    async with await door(shared_server, namespace) as one:
        with pytest.raises(InvalidIdError, match="'/'"):
            await one.consume("wake", "a/b", lambda delivery: None, places=1)


async def test_more_replicas_than_servers_are_refused(shared_server: EmbeddedServer, namespace: str) -> None:
    wanted = options(shared_server, namespace, replicas=3)

    with pytest.raises(IncompatibleStreamError, match="replicas"):
        await JetStreamDoor.open(wanted)


async def test_a_clock_that_has_gone_wrong_is_set_right_without_a_reconnect(
    server: EmbeddedServer, namespace: str
) -> None:
    """Workers whose clocks differ by half a second don't answer each other's questions."""
    async with await door(server, namespace, limits=quick_limits(anchor_s=0.1)) as one:
        one._clock._offset_s += 5  # pyright: ignore[reportPrivateUsage]
        wrong_ms = one.clock.now_ms()

        await eventually(lambda: one.clock.now_ms() < wrong_ms - 4_000)


async def test_the_clock_shows_the_servers_time(server: EmbeddedServer, namespace: str) -> None:
    log = Subjects(namespace).log("r")
    async with await door(server, namespace) as one:
        before_ms = one.clock.now_ms()
        await one.publish(log, b"1")
        after_ms = one.clock.now_ms()
        stored = await one.last(log)

        assert stored is not None
        assert before_ms - 50 <= stored.stored_at_ms <= after_ms + 50


async def test_a_question_to_nobody_is_none_to_a_mute_worker_silent_and_to_the_living_answered(
    shared_server: EmbeddedServer, namespace: str
) -> None:
    subjects, mute = Subjects(namespace), WorkerId("mute")
    async with await door(shared_server, namespace) as one, bare(shared_server) as (other, _):
        await one.watch(subjects.owner(mute), lambda subject, data: None)

        def answer(subject: bytes, reply: bytes, data: bytes, headers: bytes | None) -> None:
            other.send(reply.decode(), b"mine " + data)

        other.listen(subjects.owner("alive"), answer)
        await other.confirm()

        assert await one.ask(WorkerId("gone"), b"?", timeout_s=5) is None
        with pytest.raises(Silent):
            await one.ask(mute, b"?", timeout_s=LIMITS.ask_s)
        assert await one.ask(WorkerId("alive"), b"?", timeout_s=5) == b"mine ?"


def test_nats_py_has_the_private_parts_that_the_connection_leans_on() -> None:
    client = Client()
    loop = asyncio.new_event_loop()
    reader = asyncio.StreamReader(loop=loop)
    loop.close()

    assert version("nats-py").startswith("2.16."), "adapt connection.py to this nats-py, then this test"
    for name in (
        "_process_op_err",
        "_process_err",
        "_process_pong",
        "_process_msg",
        "_connect_to_server",
        "_process_connect_init",
        "_process_info",
        "_read_loop",
    ):
        assert iscoroutinefunction(getattr(Client, name, None)), f"nats-py has no {name} any more: adapt connection.py"
    for name in (
        "_server_pool",
        "_current_server",
        "_subs",
        "_pongs",
        "_ps",
        "_sid",
        "_err",
        "_transport",
        "_pongs_received",
        "_pings_outstanding",
    ):
        assert hasattr(client, name), f"nats-py has no {name} any more: adapt connection.py"
    for name in ("_io_reader", "_io_writer", "_bare_io_reader", "_bare_io_writer"):
        assert hasattr(DirectTransport(), name), f"nats-py's transport has no {name} any more: adapt transport.py"
    for name in ("_buffer", "_eof", "_exception", "_maybe_resume_transport"):
        assert hasattr(reader, name), f"asyncio's reader has no {name} any more: adapt transport.py"


async def test_a_password_in_an_address_is_in_no_error() -> None:
    access = Access(servers=("nats://ann:s3cret@127.0.0.1:1",), connect_timeout_s=1.0)

    with pytest.raises(UnavailableError) as refused:
        await Connection.open(access, name="test")

    assert "s3cret" not in str(refused.value)
    assert "127.0.0.1:1" in str(refused.value)
