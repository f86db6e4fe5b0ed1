"""A server that wants TLS certificates and signatures: all that is needed comes by the settings."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.integration.secured_server import SecuredServer, secured_server

from relight import Relight, UnavailableError, Worker, WorkflowContext, step, workflow


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
