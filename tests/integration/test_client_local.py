"""`Relight.local()`, in an environment that is meant for something else, and opened twice."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.integration.cli_process import Terminal

from relight import RefusedError, Relight
from relight.actors.jetstream.client import Access
from relight.actors.jetstream.inspection import server_sights
from relight.config.guarded import read_endpoint


async def test_copies_that_are_meant_for_a_cluster_do_not_count(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    variables = {"RELIGHT_REPLICAS": "3"}
    monkeypatch.setenv("RELIGHT_REPLICAS", "3")

    for _ in ("made", "found"):
        async with Relight.local(tmp_path / ".relight"):
            pass
    runs = await Terminal(tmp_path, variables).run("runs")
    doctor = await Terminal(tmp_path, variables).run("doctor")

    assert (runs.code, runs.err) == (0, "")
    assert (doctor.code, doctor.err) == (0, "")


@pytest.mark.parametrize(
    ("sync", "seen", "said"),
    [
        (None, (False, 120.0), "every 120 s"),
        ("1s", (False, 1.0), "every 1 s"),
        ("always", (True, 120.0), "always: before each acknowledgement"),
    ],
)
async def test_the_server_syncs_as_the_setting_says_whoever_starts_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sync: str | None, seen: tuple[bool, float], said: str
) -> None:
    if sync is not None:
        monkeypatch.setenv("RELIGHT_SYNC", sync)

    async with Relight.local(tmp_path / ".relight"):
        endpoint = read_endpoint(tmp_path / ".relight")
        assert endpoint is not None
        (server,) = await server_sights(Access(servers=(endpoint.system_url,)))
    doctor = await Terminal(tmp_path, {} if sync is None else {"RELIGHT_SYNC": sync}).run("doctor", "--json")

    assert (server.sync_always, server.sync_interval_s) == seen
    assert {one["topic"]: one["text"] for one in doctor.documents}["fsync"] == said


async def test_a_client_that_is_open_is_not_opened_once_more(tmp_path: Path) -> None:
    client = Relight.local(tmp_path / ".relight")

    async with client:
        with pytest.raises(RefusedError, match="open already; make another Relight"):
            await client.__aenter__()
        assert [run async for run in client.runs()] == []

    assert read_endpoint(tmp_path / ".relight") is None
    async with client:
        assert read_endpoint(tmp_path / ".relight") is not None
