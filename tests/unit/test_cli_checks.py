"""What `relight doctor` concludes."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

from relight.actors.jetstream.inspection import Cluster, Peer, ServerSight, StreamSight
from relight.cli.checks import Findings, Verdict, checks_of, promise_of

NOW = datetime(2030, 1, 1, tzinfo=UTC)


def stream(replicas: int, *, is_current: bool = True) -> StreamSight:
    peers = [Peer(name=f"node-{number}", current=is_current) for number in range(2, replicas + 1)]
    return StreamSight(
        config={"name": "RELIGHT_default_RUN_0", "num_replicas": replicas},
        ts=NOW,
        cluster=Cluster(name="east", leader="node-1", replicas=peers),
    )


def bucket(name: str, replicas: int) -> StreamSight:
    return StreamSight(config={"name": name, "num_replicas": replicas}, ts=NOW)


def server(*, sync_always: bool) -> ServerSight:
    return ServerSight(name="node", version="2.15.1", now=NOW, sync_always=sync_always, sync_interval_s=120.0)


FOUND = Findings(
    url="127.0.0.1:4222",
    version=(2, 15, 1),
    payload_bytes_max=1024 * 1024,
    namespace="default",
    streams=[stream(3)] * 8,
    queues=["default"],
    skew_s=0.001,
    servers=[server(sync_always=True)] * 3,
)


def verdicts(found: Findings, topic: str) -> list[Verdict]:
    return [one.verdict for one in checks_of(found) if one.topic == topic]


def test_everything_is_well_with_three_replicas_and_sync_always() -> None:
    assert {one.verdict for one in checks_of(FOUND)} == {"ok"}
    assert "loss of power of all servers at once" in promise_of(FOUND).text
    assert "not promised" not in promise_of(FOUND).text


def test_power_loss_needs_both_replicas_and_sync() -> None:
    without_sync = promise_of(replace(FOUND, servers=[server(sync_always=one) for one in (True, True, False)]))
    without_replicas = promise_of(replace(FOUND, streams=[stream(1)]))
    not_visible = promise_of(replace(FOUND, servers=None))

    assert without_sync.text.endswith("which needs `sync_interval: always`")
    assert without_replicas.text.endswith("which needs 3 replicas")
    assert without_replicas.remedy == "enough for development"
    assert not_visible.text.endswith("which needs `sync_interval: always` (not visible here)")
    assert {without_sync.verdict, without_replicas.verdict, not_visible.verdict} == {"warning"}


def test_one_stream_with_fewer_copies_decides() -> None:
    assert verdicts(replace(FOUND, streams=[stream(3), stream(1)]), "replicas") == ["warning"]


def test_fewer_servers_than_copies_is_bad() -> None:
    assert verdicts(replace(FOUND, servers=[server(sync_always=True)] * 2), "replicas") == ["bad"]


def test_a_copy_that_is_behind_is_bad() -> None:
    behind = checks_of(replace(FOUND, streams=[stream(3, is_current=False)]))

    (bad,) = [one for one in behind if one.verdict == "bad"]
    assert "node-2, node-3" in bad.text


def test_an_older_server_a_small_payload_and_a_wrong_clock_are_told() -> None:
    assert verdicts(replace(FOUND, version=(2, 14, 0)), "version") == ["warning"]
    assert verdicts(replace(FOUND, payload_bytes_max=512 * 1024), "max_payload") == ["bad"]
    assert verdicts(replace(FOUND, skew_s=-3.0), "clock") == ["warning"]
    assert verdicts(replace(FOUND, skew_s=None, streams=[]), "clock") == ["ok"]


def test_it_is_told_which_of_two_clocks_is_ahead() -> None:
    told = [
        one.text for skew_s in (3.0, -3.0) for one in checks_of(replace(FOUND, skew_s=skew_s)) if one.topic == "clock"
    ]

    assert told == ["3000 ms behind the server's", "3000 ms ahead of the server's"]


def test_large_values_and_data_keys_in_fewer_copies_decide_too() -> None:
    fewer = replace(FOUND, apart=[bucket("OBJ_RELIGHT_default", 3), bucket("KV_RELIGHT_default_KEYS", 1)])

    assert promise_of(replace(FOUND, apart=[bucket("OBJ_RELIGHT_default", 3)])).verdict == "ok"
    assert promise_of(fewer).text.endswith("which needs 3 replicas")
    assert verdicts(fewer, "replicas") == ["ok", "warning"]
    (remedy,) = [one.remedy for one in checks_of(fewer) if one.topic == "replicas" and one.remedy]
    assert remedy == "nats stream edit KV_RELIGHT_default_KEYS --replicas=3"


def test_a_system_account_that_does_not_work_is_bad_and_none_a_warning() -> None:
    assert verdicts(replace(FOUND, servers=None), "system account") == ["warning"]
    assert verdicts(replace(FOUND, servers=None, system_problem="refused"), "system account") == ["bad"]


def test_streams_that_can_not_be_used_promise_nothing() -> None:
    assert promise_of(replace(FOUND, problem="RUN_0 has a limit")).verdict == "bad"
