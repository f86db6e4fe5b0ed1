"""What servers tell the system account."""

from __future__ import annotations

from relight.actors.jetstream.inspection import ServerSight, server_sight


def test_a_server_that_syncs_always_is_seen_as_such() -> None:
    answer = b'{"data":{"server_name":"n1","version":"2.15.1","jetstream":{"config":{"sync_always":true}}}}'

    assert server_sight(answer) == ServerSight("n1", "2.15.1", now=None, sync_always=True, sync_interval_s=0.0)


def test_a_server_without_jetstream_stores_nothing_and_is_not_judged() -> None:
    assert server_sight(b'{"data":{"server_name":"n4","version":"2.15.1","jetstream":{}}}') is None
