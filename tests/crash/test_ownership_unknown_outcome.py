"""An append whose acknowledgement is lost: it is found out, written once, and the rightful owner goes on."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from tests.crash.apps import gated
from tests.crash.apps_fleet import Fleet
from tests.crash.apps_proxy import Proxy

from relight.config.server import EmbeddedServer


@pytest.mark.parametrize("lost", ["the acknowledgement", "the append", "the connection"])
async def test_an_append_with_unknown_outcome_is_written_once_and_its_owner_goes_on(
    shared_server: EmbeddedServer, namespace: str, tmp_path: Path, lost: str
) -> None:
    async with Proxy(shared_server.url) as proxy, Fleet(shared_server, namespace, tmp_path) as fleet:
        owner = await fleet.worker("gated", url=proxy.url)
        run = await fleet.relight.start(gated, fleet.text)
        await fleet.soon("gate")
        await fleet.turned(run.id, 1)
        await fleet.worker("gated")
        main = proxy.part("main")

        main.hold_after(b".log.", "client" if lost == "the append" else "server")
        fleet.open_the_gate()
        await asyncio.wait_for(main.was_triggered.wait(), 20)
        if lost == "the acknowledgement":
            await fleet.appended(run.id, 2)
        main.cut()  # What is held back is lost with it.

        assert await run.result(timeout=20) == "open"
        await fleet.no_lease_left()
        turns = await fleet.journal(run.id)
        assert {(turn.owner, turn.epoch) for turn in turns} == {(owner.id, 1)}
        assert [one.step for one in fleet.executions()] == ["one", "gate", "two"]


async def test_an_append_that_is_never_answered_is_looked_up_on_the_living_connection(
    shared_server: EmbeddedServer, namespace: str, tmp_path: Path
) -> None:
    async with Proxy(shared_server.url) as proxy, Fleet(shared_server, namespace, tmp_path) as fleet:
        owner = await fleet.worker("gated", url=proxy.url)
        run = await fleet.relight.start(gated, fleet.text)
        await fleet.soon("gate")
        await fleet.turned(run.id, 1)

        proxy.part("main").drop_answers_to(b".log.")
        fleet.open_the_gate()

        assert await run.result(timeout=30) == "open"
        await fleet.no_lease_left()
        assert {turn.owner for turn in await fleet.journal(run.id)} == {owner.id}
        assert [one.step for one in fleet.executions()] == ["one", "gate", "two"]
