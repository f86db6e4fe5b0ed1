"""What the command does where somebody could be asked."""

from __future__ import annotations

from pathlib import Path

from tests.certificates import new_certificate
from tests.integration.pseudo_terminal import at_a_terminal


async def test_a_key_with_a_passphrase_is_refused_and_nobody_is_asked_for_it(tmp_path: Path) -> None:
    certificate = new_certificate(tmp_path)
    variables = {
        "RELIGHT_URL": "tls://127.0.0.1:1",
        "RELIGHT_TLS_CERT": str(certificate.path),
        "RELIGHT_TLS_KEY": str(certificate.sealed_key),
    }

    async with at_a_terminal("runs", directory=tmp_path, variables=variables) as terminal:
        code = await terminal.code()

    assert code == 1
    assert "the key without a passphrase" in terminal.said
    assert "Enter PEM pass phrase" not in terminal.said
