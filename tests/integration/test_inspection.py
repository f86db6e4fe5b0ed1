"""How far the clocks of a server and of this machine are apart."""

from __future__ import annotations

import time
from types import SimpleNamespace

import pytest

from relight import Relight
from relight.actors.jetstream import inspection
from relight.actors.jetstream.client import Access
from relight.actors.jetstream.streams import stream_name
from relight.config.server import EmbeddedServer


@pytest.mark.parametrize("ahead_s", [3.0, -3.0, 0.0])
async def test_the_skew_is_how_far_the_servers_clock_is_ahead_of_this_one(
    shared_server: EmbeddedServer, client: Relight, monkeypatch: pytest.MonkeyPatch, ahead_s: float
) -> None:
    reads_s: list[float] = []

    def shifted_s() -> float:
        reads_s.append(time.time() + ahead_s)
        return reads_s[-1]

    monkeypatch.setattr(inspection, "time", SimpleNamespace(time=shifted_s))

    async with inspection.open_inspection(Access(servers=(shared_server.url,))) as looking:
        skew_s = await looking.skew_s(stream_name(client.settings.namespace, 0))

    # The server has read its clock at some time between the two reads of this one.
    asked_s, answered_s = reads_s
    assert skew_s == pytest.approx(-ahead_s, abs=(answered_s - asked_s) / 2 + 0.001)
