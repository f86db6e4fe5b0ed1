"""A client's certificate, in files as deployments have them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
)
from cryptography.x509.oid import NameOID

__all__ = ("Certificate", "new_certificate")


@dataclass(frozen=True)
class Certificate:
    """Where it is, and its key, without and with a passphrase."""

    path: Path
    key: Path
    sealed_key: Path


def new_certificate(directory: Path) -> Certificate:
    """Make one that signs itself."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "client")])
    since = datetime.now(UTC)
    signed = x509.CertificateBuilder(name, name, key.public_key(), 1, since, since + timedelta(days=1)).sign(
        key, hashes.SHA256()
    )
    made = Certificate(directory / "client.pem", directory / "client.key", directory / "sealed.key")
    made.path.write_bytes(signed.public_bytes(Encoding.PEM))
    for path, sealing in ((made.key, NoEncryption()), (made.sealed_key, BestAvailableEncryption(b"secret"))):
        path.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, sealing))
    return made
