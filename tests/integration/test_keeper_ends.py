"""A keeper ends although a cancellation was lost on its way."""

from __future__ import annotations

import asyncio

import pytest

from relight.actors.jetstream import keeper as module
from relight.actors.jetstream.keeper import Access, Keeper, KeeperOptions
from relight.config.server import EmbeddedServer
from relight.subjects.ids import WorkerId


class _Deaf(Keeper):  # type: ignore[misc]  # pyright: ignore[reportGeneralTypeIssues]  # it is final, but for this test
    async def _watch(self) -> None:
        await asyncio.Event().wait()


async def test_a_keeper_that_does_not_hear_that_it_is_to_end_is_ended(
    shared_server: EmbeddedServer, namespace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_END_S", 0.2)
    access = Access(servers=(shared_server.url,))
    keeper = _Deaf(KeeperOptions(namespace=namespace, worker=WorkerId("deaf"), access=access))
    await keeper.start()

    async with asyncio.timeout(10):
        await keeper.stop()
