"""Requests to runs on a real server, whose workers are processes that die."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import pytest
from tests.crash.apps import answers
from tests.crash.apps_fleet import Fleet
from tests.runs import recorded

from relight import Relight, RunEndedError
from relight.config.server import EmbeddedServer
from relight.subjects import records as r


async def test_who_asked_gets_the_answer_of_the_worker_that_goes_on(
    shared_server: EmbeddedServer, namespace: str, tmp_path: Path
) -> None:
    async with Fleet(shared_server, namespace, tmp_path, sees_deaths=True) as fleet:
        first = await fleet.worker("answers")
        run = await fleet.relight.start(answers, fleet.text, 1)
        asked = [asyncio.create_task(run.request("number", 7, type=object, id="n-7", timeout=40)) for _ in range(2)]
        await fleet.soon("gate", run=run.id)
        await fleet.worker("answers")

        await first.kill()
        fleet.open_the_gate()

        assert await asyncio.gather(*asked) == 2 * [{"number": 7, "gate": "open"}]
        assert len(await recorded(fleet.relight, run, r.RequestReceived)) == 1
        assert await run.result(timeout=30) == 1


async def test_many_ask_one_run_from_two_clients_and_who_comes_too_late_hears_so(
    shared_server: EmbeddedServer, namespace: str, tmp_path: Path
) -> None:
    async with (
        Fleet(shared_server, namespace, tmp_path) as fleet,
        Relight(shared_server.url, namespace=namespace) as other,
    ):
        fleet.open_the_gate()
        run = await fleet.relight.start(answers, fleet.text, 40)
        both = (run, other.get_run(run.id))
        asked = [asyncio.create_task(both[n % 2].request("number", n, type=dict[str, object])) for n in range(42)]
        await fleet.worker("answers")

        said = await asyncio.gather(*asked, return_exceptions=True)
        began_s = time.monotonic()
        with pytest.raises(RunEndedError):
            await run.request("number", 1, type=object)

        answered = {n: one["number"] for n, one in enumerate(said) if isinstance(one, dict)}
        assert len(answered) == 40
        assert all(n == number for n, number in answered.items())
        assert [type(one) for one in said if not isinstance(one, dict)] == 2 * [RunEndedError]
        assert time.monotonic() - began_s < 4
