"""What a connection writes at once, and what it gathers."""

from __future__ import annotations

import asyncio
import time

from relight.actors.jetstream.connection import Connection


class Wire(asyncio.WriteTransport):
    """A socket that only remembers."""

    def __init__(self) -> None:
        super().__init__()
        self.written: list[bytes] = []

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.written.append(bytes(data))


def connected() -> tuple[Connection, Wire]:
    connection, wire = Connection(), Wire()
    connection.wire, connection.is_open = wire, True
    return connection, wire


async def passes(count: int) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


async def test_the_first_frame_goes_out_at_once_and_the_others_of_its_tick_together() -> None:
    connection, wire = connected()

    for number in range(3):
        connection.send("a", b"%d" % number)
    at_once = list(wire.written)
    await passes(1)

    assert at_once == [b"PUB a  1\r\n0\r\n"]
    assert wire.written[1:] == [b"PUB a  1\r\n1\r\nPUB a  1\r\n2\r\n"]


async def test_while_it_is_busy_frames_of_several_ticks_go_out_together() -> None:
    connection, wire = connected()
    for number in range(3):
        connection.send("a", b"%d" % number)
    await passes(1)
    wire.written.clear()

    connection.send("b", b"")
    await passes(1)
    connection.send("b", b"")
    assert wire.written == []
    await passes(3)

    assert wire.written == [2 * b"PUB b  0\r\n\r\n"]


async def test_after_a_single_frame_the_next_one_goes_out_at_once_again() -> None:
    connection, wire = connected()
    for number in range(3):
        connection.send("a", b"%d" % number)
    await passes(1)
    connection.send("b", b"")
    await passes(4)
    wire.written.clear()

    connection.send("c", b"")

    assert wire.written == [b"PUB c  0\r\n\r\n"]


async def test_what_is_gathered_goes_out_however_long_the_passes_take() -> None:
    connection, wire = connected()
    for number in range(3):
        connection.send("a", b"%d" % number)
    await passes(1)
    wire.written.clear()

    connection.send("b", b"")
    blocked_until_s = time.monotonic() + 0.01
    while time.monotonic() < blocked_until_s:
        pass  # A step of somebody's that takes its time.
    await passes(1)

    assert wire.written == [b"PUB b  0\r\n\r\n"]
