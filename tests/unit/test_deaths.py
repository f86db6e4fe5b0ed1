"""What of the server's connection events is the death of a worker; and what of its leases nobody living holds."""

from __future__ import annotations

from functools import partial

import pytest
from tests import connection_events

from relight.actors.door import Delivery
from relight.actors.jetstream.announced import Neighbours
from relight.actors.jetstream.announcements import Announcement, LeaseName
from relight.actors.jetstream.deaths import Deaths, event_of
from relight.actors.jetstream.deaths_sweep import unclaimed
from relight.actors.jetstream.keeper_leases import Leases
from relight.subjects.ids import WorkerId

WORKER = WorkerId("w1")

opened = partial(connection_events.opened, WORKER)
closed = partial(connection_events.closed, WORKER)

BY_THE_KERNEL = ("Client Closed", "Read Error", "Write Error")

BY_THE_SERVER = (
    "Server Shutdown",
    "Slow Consumer (Pending Bytes)",
    "Slow Consumer (Write Deadline)",
    "Stale Connection",
    "Parse Error",
    "Protocol Violation",
    "Authentication Expired",
    "Authentication Timeout",
    "Authentication Failure",
    "Credentials Revoked",
    "TLS Handshake Failure",
    "Maximum Connections Exceeded",
    "Maximum Message Payload Exceeded",
    "Kicked",
    "Unknown State",
    "",
)
"""As nats-server words them. The process lives, and connects again."""


def deaths_after(*events: bytes) -> tuple[Deaths, list[bool]]:
    deaths = Deaths()
    seen = [event_of(one) for one in events]
    return deaths, [deaths.note(one) for one in seen if one is not None]


@pytest.mark.parametrize("reason", BY_THE_KERNEL)
def test_a_worker_whose_connections_were_both_closed_by_its_kernel_is_dead(reason: str) -> None:
    deaths, noted = deaths_after(opened("main", 1), opened("keeper", 2), closed("main", 1, reason), closed("keeper", 2))

    assert noted == [False, False, False, True]
    assert deaths.is_gone(WORKER)


@pytest.mark.parametrize("reason", BY_THE_SERVER)
def test_a_worker_whose_connections_the_server_has_ended_is_not_dead(reason: str) -> None:
    deaths, noted = deaths_after(
        opened("main", 1), opened("keeper", 2), closed("main", 1, reason), closed("keeper", 2, reason)
    )

    assert noted == [False] * 4
    assert not deaths.is_gone(WORKER)


@pytest.mark.parametrize("reason", BY_THE_SERVER)
def test_nor_is_one_of_whose_connections_the_server_has_ended_one(reason: str) -> None:
    deaths, noted = deaths_after(closed("main", 1, reason), closed("keeper", 2))

    assert noted == [False, False]
    assert not deaths.is_gone(WORKER)


def test_one_whose_last_connection_is_open_is_not_dead() -> None:
    """After a blink the new connection may be there before the server has seen the end of the old one."""
    _, noted = deaths_after(opened("main", 1), opened("main", 3), closed("keeper", 2), closed("main", 1))

    assert noted == [False] * 4


def test_one_that_is_back_is_not_dead_any_more() -> None:
    deaths, noted = deaths_after(closed("main", 1), closed("keeper", 2), opened("keeper", 3))

    assert noted == [False, True, False]
    assert not deaths.is_gone(WORKER)


def test_one_whose_first_connections_nobody_saw_end_is_dead_all_the_same() -> None:
    """The server was started anew: the connection of whoever listens was lost with all others."""
    deaths, noted = deaths_after(
        opened("main", 1),
        opened("keeper", 2),
        opened("keeper", 3),
        opened("main", 4),
        closed("main", 4),
        closed("keeper", 3),
    )

    assert noted == [False] * 5 + [True]
    assert deaths.is_gone(WORKER)


def test_connections_of_others_say_nothing() -> None:
    other = closed("main", 1).replace(b"relight-worker/", b"another/")

    assert event_of(other) is None
    assert event_of(b'{"client": "relight-worker/w1/main"') is None


def test_one_that_was_silent_for_long_is_told_everything_again() -> None:
    neighbours = Neighbours()
    heard = [neighbours.hear(Announcement("eve", frees=True), now) for now in (10.0, 11.0, 20.0, 21.0)]

    assert heard == [True, False, True, False]


def test_leases_older_than_a_sweep_goes_back_still_explain_what_is_pending() -> None:
    held = {1, 2, 20_000}

    assert unclaimed(ack_floor=0, delivered=20_000, pending=3, held=held, spared=set(), far_back=10) == ()
    assert unclaimed(ack_floor=0, delivered=20_000, pending=4, held=held, spared=set(), far_back=3) == [19_998, 19_999]


def test_a_lease_that_was_delivered_here_again_has_not_ended() -> None:
    leases = Leases()
    first, again, other = (delivery(7, 1), delivery(7, 2), delivery(8, 1))
    for one in (first, other, again):
        leases.hold(one)
        leases.mature(float("inf"))
    leases.release(first)
    leases.release(other)

    assert leases.end() == [LeaseName("S.c", 8)]
    assert leases.end() == []


def delivery(sequence: int, delivered: int) -> Delivery:
    return Delivery("s", sequence, b"", None, f"$JS.ACK.S.c.{delivered}.{sequence}.1.1.0", delivered)


def test_what_the_living_have_not_said_again_is_left_to_them_but_explains_nothing() -> None:
    neighbours = Neighbours()
    neighbours.hear(Announcement("stopped", held={"S.c": [1, 2, 3]}, whole=True), now=10.0)
    neighbours.hear(Announcement("alive", held={"S.c": [4]}, whole=True), now=11.0)

    said, remembered = neighbours.held_of("S.c", neighbours.living(11.5), since=10.5)

    assert (said, remembered) == ({4}, {1, 2, 3})
    # Of five, three are pending; two of those that the stopped one held may have been acknowledged long ago.
    assert unclaimed(ack_floor=0, delivered=5, pending=3, held=said, spared=remembered, far_back=10) == [5]
    assert unclaimed(ack_floor=0, delivered=5, pending=1, held=said, spared=remembered, far_back=10) == ()
