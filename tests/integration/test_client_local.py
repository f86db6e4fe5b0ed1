"""`Relight.local()`, in an environment that is meant for something else, and opened twice."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.integration.cli_process import Terminal

from relight import RefusedError, Relight
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


async def test_a_client_that_is_open_is_not_opened_once_more(tmp_path: Path) -> None:
    client = Relight.local(tmp_path / ".relight")

    async with client:
        with pytest.raises(RefusedError, match="open already; make another Relight"):
            await client.__aenter__()
        assert [run async for run in client.runs()] == []

    assert read_endpoint(tmp_path / ".relight") is None
    async with client:
        assert read_endpoint(tmp_path / ".relight") is not None
