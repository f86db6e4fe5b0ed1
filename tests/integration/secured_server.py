"""A nats-server as companies run it: TLS on both sides, and users that prove by a signature who they are."""

from __future__ import annotations

import base64
import json
import os
import secrets
import subprocess
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from importlib import import_module
from ipaddress import ip_address
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from tests.processes import eventually

from relight.config.guarded import find_binary, free_port

__all__ = ("SecuredServer", "secured_server")

_nkeys: Any = import_module("nkeys")  # Without types.

_UNLIMITED = {"subs": -1, "data": -1, "payload": -1, "conn": -1, "leaf": -1, "imports": -1, "exports": -1}
_SIGNS_CERTIFICATES = x509.KeyUsage(
    digital_signature=False, content_commitment=False, key_encipherment=False, data_encipherment=False,
    key_agreement=False, key_cert_sign=True, crl_sign=True, encipher_only=False, decipher_only=False,
)  # fmt: skip
_JETSTREAM = {"mem_storage": -1, "disk_storage": -1, "streams": -1, "consumer": -1}


@dataclass(frozen=True)
class SecuredServer:
    """Where it is, and the files that a client needs. `user` and `system` are credentials."""

    url: str
    authority: Path
    certificate: Path
    key: Path
    user: Path
    system: Path


@contextmanager
def secured_server(directory: Path) -> Generator[SecuredServer]:
    """Run one for the block."""
    _write_certificates(directory)
    process, port = _started(directory)
    with process:
        try:
            yield SecuredServer(
                f"tls://127.0.0.1:{port}",
                *(directory / name for name in ("ca.pem", "client.pem", "client.key", "user.creds", "system.creds")),
            )
        finally:
            process.terminate()


def _started(directory: Path) -> tuple[subprocess.Popen[bytes], int]:
    """Start it on a port that turns out to be free."""
    config, log = directory / "server.conf", directory / "server.log"
    while True:
        port = free_port()
        config.write_text(_config(directory, port))
        log.write_text("")
        process = subprocess.Popen([find_binary(), "-c", str(config), "-l", str(log)])
        try:
            eventually(lambda: "Server is ready" in log.read_text() or process.poll() is not None)  # noqa: B023
        except TimeoutError:
            process.kill()
            raise
        if process.poll() is None:
            return process, port
        said = log.read_text()
        assert "address already in use" in said, said


def _config(directory: Path, port: int) -> str:
    operator, account, system = _Signer("OPERATOR"), _Signer("ACCOUNT"), _Signer("ACCOUNT")
    claims = {"type": "account", "version": 2, "limits": {**_UNLIMITED, "wildcards": True}}
    with_jetstream = {**claims, "limits": {**_UNLIMITED, **_JETSTREAM, "wildcards": True}}
    accounts = {
        account.name: operator.signed(account.name, with_jetstream),
        system.name: operator.signed(system.name, claims),
    }
    _write_credentials(directory / "user.creds", account)
    _write_credentials(directory / "system.creds", system)
    preloaded = "\n".join(f"  {name}: {token}" for name, token in accounts.items())
    itself = operator.signed(operator.name, {"type": "operator", "version": 2, "system_account": system.name})
    return f"""
listen: "127.0.0.1:{port}"
operator: {itself}
system_account: {system.name}
resolver: MEMORY
resolver_preload {{
{preloaded}
}}
jetstream {{ store_dir: {json.dumps(str(directory / "data"))} }}
tls {{
  cert_file: {json.dumps(str(directory / "server.pem"))}
  key_file: {json.dumps(str(directory / "server.key"))}
  ca_file: {json.dumps(str(directory / "ca.pem"))}
  verify: true
}}
"""


class _Signer:
    """Somebody with a key of its own."""

    def __init__(self, kind: str) -> None:
        prefix = getattr(_nkeys, f"PREFIX_BYTE_{kind}")
        self.seed = bytes(_nkeys.encode_seed(secrets.token_bytes(32), prefix))
        self._pair: Any = _nkeys.from_seed(bytearray(self.seed))
        self.name: str = self._pair.public_key.decode()

    def signed(self, subject: str, claims: dict[str, Any]) -> str:
        """Return what this one says of the subject, as the token that nats-server reads."""
        body: dict[str, Any] = {"iat": 1_700_000_000, "iss": self.name, "name": subject, "sub": subject, "nats": claims}
        body["jti"] = base64.b32encode(sha256(json.dumps(body).encode()).digest()).decode().rstrip("=")
        said = ".".join(_part(json.dumps(one).encode()) for one in ({"typ": "JWT", "alg": "ed25519-nkey"}, body))
        return f"{said}.{_part(self._pair.sign(said.encode()))}"


def _part(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def _write_credentials(path: Path, account: _Signer) -> None:
    user = _Signer("USER")
    claims: dict[str, Any] = {"type": "user", "version": 2, "subs": -1, "data": -1, "payload": -1, "pub": {}, "sub": {}}
    path.write_text(
        f"-----BEGIN NATS USER JWT-----\n{account.signed(user.name, claims)}\n------END NATS USER JWT------\n\n"
        f"-----BEGIN USER NKEY SEED-----\n{user.seed.decode()}\n------END USER NKEY SEED------\n"
    )


def _write_certificates(directory: Path) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    authority = _certificate("authority", key, "authority", key, is_authority=True)
    (directory / "ca.pem").write_bytes(authority.public_bytes(serialization.Encoding.PEM))
    for name in ("server", "client"):
        own = ec.generate_private_key(ec.SECP256R1())
        certificate = _certificate(name, own, "authority", key)
        (directory / f"{name}.pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        written = own.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        with open(os.open(directory / f"{name}.key", os.O_WRONLY | os.O_CREAT, 0o600), "wb") as file:
            file.write(written)


def _certificate(
    name: str, key: ec.EllipticCurvePrivateKey, issuer: str, signing: ec.EllipticCurvePrivateKey, *,
    is_authority: bool = False,
) -> x509.Certificate:  # fmt: skip
    now = datetime.now(UTC)
    names = [x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, one)]) for one in (name, issuer)]
    builder = (
        x509.CertificateBuilder()
        .subject_name(names[0])
        .issuer_name(names[1])
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(hours=1))
        .add_extension(x509.BasicConstraints(ca=is_authority, path_length=None), critical=True)
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        # From Python 3.13 on these two are asked for, and of an authority its usage.
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(signing.public_key()), critical=False)
    )
    if is_authority:
        builder = builder.add_extension(_SIGNS_CERTIFICATES, critical=True)
    return builder.sign(signing, hashes.SHA256())
