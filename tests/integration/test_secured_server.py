"""A server that wants TLS certificates and signatures: all that is needed comes by the settings."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs
from tests.integration.secured_server import SecuredServer, secured_server

from relight import Relight, UnavailableError, Worker, WorkflowContext, step, workflow
from relight.actors.jetstream.client import Access
from relight.actors.jetstream.connection import Connection
from relight.actors.jetstream.inspection import server_sights
from relight.actors.jetstream.keeper_connection import connect
from relight.config.settings import Settings
from relight.sdk._backend import JetStreamBackend


@pytest.fixture
def secured(tmp_path: Path) -> Iterator[SecuredServer]:
    with secured_server(tmp_path) as server:
        yield server


@step
async def add(one: int, other: int) -> int:
    return one + other


@workflow
async def adds(ctx: WorkflowContext) -> int:
    return await add(1, 2)


async def test_credentials_and_certificates_let_clients_and_workers_in(
    secured: SecuredServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RELIGHT_TLS_CA", str(secured.authority))
    monkeypatch.setenv("RELIGHT_TLS_CERT", str(secured.certificate))
    monkeypatch.setenv("RELIGHT_TLS_KEY", str(secured.key))
    monkeypatch.setenv("RELIGHT_SYSTEM_CREDENTIALS", str(secured.system))

    async with Relight(secured.url, credentials=secured.user) as relight, Worker(relight, [adds]):
        run = await relight.start(adds)

        assert await run.result(timeout=10) == 3


async def test_a_context_that_is_given_lets_them_in_whatever_the_settings_say(
    secured: SecuredServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RELIGHT_TLS_CA", str(secured.certificate))  # It has not signed the server's.
    monkeypatch.setenv("RELIGHT_SYSTEM_CREDENTIALS", str(secured.system))
    context = ssl.create_default_context(cafile=secured.authority)
    context.load_cert_chain(secured.certificate, secured.key)

    async with Relight(secured.url, credentials=secured.user, tls=context) as relight, Worker(relight, [adds]):
        run = await relight.start(adds)
        assert isinstance(relight.backend, JetStreamBackend)
        system = relight.backend.system_access()

        assert await run.result(timeout=10) == 3
        assert system is not None
        assert len(await server_sights(system)) == 1


@pytest.mark.parametrize("missing", ["RELIGHT_TLS_CERT", "RELIGHT_CREDENTIALS"])
async def test_who_lacks_one_of_them_is_refused_in_one_line(
    secured: SecuredServer, monkeypatch: pytest.MonkeyPatch, missing: str, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("RELIGHT_TLS_CA", str(secured.authority))
    if missing != "RELIGHT_TLS_CERT":
        monkeypatch.setenv("RELIGHT_TLS_CERT", str(secured.certificate))
        monkeypatch.setenv("RELIGHT_TLS_KEY", str(secured.key))
    if missing != "RELIGHT_CREDENTIALS":
        monkeypatch.setenv("RELIGHT_CREDENTIALS", str(secured.user))

    with pytest.raises(UnavailableError) as refused:
        async with Relight(secured.url):
            pass

    assert "\n" not in str(refused.value)
    assert "Traceback" not in "".join(capfd.readouterr())


async def test_credentials_that_are_being_written_keep_nobody_out_for_good(secured: SecuredServer) -> None:
    settings = Settings.read(
        url=secured.url, tls_ca=secured.authority, tls_cert=secured.certificate, tls_key=secured.key
    )
    access = Access(servers=settings.servers, credentials=secured.user, tls=settings.tls())
    whole = secured.user.read_text()
    back = asyncio.Event()
    with capture_logs() as lines:
        connection = await Connection.open(access, name="main")
        keeper = await connect(access, name="keeper", reconnected=back.set, closed=lambda: None)
        secured.user.write_text(whole[: len(whole) // 2])
        for one in (connection, keeper):
            transport: Any = one._transport  # pyright: ignore[reportPrivateUsage]
            transport._io_writer.transport.abort()
        async with asyncio.timeout(20):
            while sum("be begun" in str(line.get("error")) for line in lines) < 2:
                await asyncio.sleep(0.01)
            secured.user.write_text(whole)
            await back.wait()
            while not connection.is_open:
                await asyncio.sleep(0.01)
        await connection.close()
        await keeper.close()
