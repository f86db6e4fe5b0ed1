"""What a deployment chooses: read once at the edge, from arguments and `RELIGHT_*`, then passed inwards."""

from __future__ import annotations

import ssl
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Literal, TypedDict, Unpack, cast, final, get_args
from urllib.parse import urlsplit

from pydantic import Field, FilePath, SecretStr, ValidationError, field_validator
from pydantic_core import ErrorDetails
from pydantic_settings import BaseSettings, SettingsConfigDict

from relight.config.limits import LIMITS
from relight.config.server_config import check_sync
from relight.errors import InvalidValueError

__all__ = ("PREFIX", "LogFormat", "LogLevel", "Settings", "SettingsArguments")

PREFIX = "RELIGHT_"

LogLevel = Literal["debug", "info", "warning", "error"]
LogFormat = Literal["plain", "json"]

_SERVERS = "nats:// or tls:// addresses, separated by commas"
_FILE = "path of a file that exists"
_SCHEMES = ("nats", "tls", "ws", "wss")


class SettingsArguments(TypedDict, total=False):
    """What may be given by argument; None is as good as not given."""

    url: str | Sequence[str] | None
    namespace: str | None
    credentials: Path | str | None
    tls_ca: Path | str | None
    tls_cert: Path | str | None
    tls_key: Path | str | None
    system_url: str | Sequence[str] | None
    system_credentials: Path | str | None
    shards: int | None
    replicas: int | None
    concurrency: int | None
    value_inline_bytes_max: int | None
    value_bytes_max: int | None
    encryption_keys: str | None
    local_directory: Path | str | None
    sync: str | None
    log_level: LogLevel | None
    log_format: LogFormat | None


@final
class Settings(BaseSettings):
    """Every setting, checked; made by `read`. Addresses may hold passwords: no text of a `Settings` shows them."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, env_ignore_empty=True, frozen=True, extra="forbid", hide_input_in_errors=True
    )

    url: SecretStr | None = Field(
        None,
        title=_SERVERS,
        description="NATS servers to connect to. Without it there is only `Relight.local()`.",
    )
    namespace: str = Field(
        "default",
        min_length=1,
        title="one token",
        description="Keeps deployments in one NATS account apart: runs, streams and consumers of another are not seen.",
    )
    credentials: FilePath | None = Field(None, title=_FILE, description="Credentials (.creds) for the NATS servers.")
    tls_ca: FilePath | None = Field(
        None,
        title=_FILE,
        description="Certificate authority that signed the servers' certificates; without it the system's.",
    )
    tls_cert: FilePath | None = Field(
        None,
        title=_FILE,
        description="This client's certificate, for servers that ask for one.",
    )
    tls_key: FilePath | None = Field(None, title=_FILE, description="The private key of that certificate.")
    system_url: SecretStr | None = Field(
        None,
        title=_SERVERS,
        description="The servers with the system account's user: failover in milliseconds.",
    )
    system_credentials: FilePath | None = Field(
        None,
        title=_FILE,
        description="Credentials (.creds) of the system account, for the same purpose.",
    )
    shards: int = Field(
        1,
        ge=1,
        le=LIMITS.slots,
        title=f"1 to {LIMITS.slots} streams",
        description="Streams that the runs are spread over. 1 in development, 8 to 16 in production.",
    )
    replicas: int = Field(
        1,
        ge=1,
        le=5,
        title="1 to 5 copies",
        description="Copies of each stream. 3 survive the loss of one server of a cluster. `Relight.local()` has 1.",
    )
    concurrency: int = Field(
        200,
        ge=1,
        le=LIMITS.concurrency_max,
        title=f"1 to {LIMITS.concurrency_max} runs",
        description="Runs that one worker begins and goes on with at the same time. Waiting runs do not count, and "
        "what wakes them never waits for room.",
    )
    version: str | None = Field(
        None,
        title="a name such as 2026-11-23 or v14",
        description='Of a worker: runs of a workflow with `pin="version"` stay with the version that began them.',
    )
    value_inline_bytes_max: int = Field(
        LIMITS.value_inline_bytes_max,
        ge=1024,
        le=LIMITS.payload_bytes_max // 4,
        title=f"1024 to {LIMITS.payload_bytes_max // 4} bytes",
        description="A value whose JSON is larger is stored apart from the run's history, in an object store.",
    )
    value_bytes_max: int = Field(
        LIMITS.value_bytes_max,
        ge=1024,
        le=LIMITS.value_bytes_max,
        title=f"1024 to {LIMITS.value_bytes_max} bytes",
        description="A value whose JSON is larger is refused: a step that returns it fails, without a retry.",
    )
    encryption_keys: SecretStr | None = Field(
        None,
        title="id:base64 of 32 bytes, several separated by commas",
        description="Keys that wrap the data keys of encrypted runs; new ones by the last of them.",
    )
    local_directory: Path = Field(
        Path(".relight"),
        title="path of a directory",
        description="Where the server of `Relight.local()` keeps its data. Not one of another user, or writable for "
        "everybody.",
    )
    sync: str = Field(
        "default",
        title="default, always, or a duration such as 1s",
        description="When the server of `Relight.local()` calls fsync: every two minutes, at each ack, this often.",
    )
    log_level: LogLevel = Field(
        "info",
        title="debug, info, warning, error",
        description="The least severe log lines that are written.",
    )
    log_format: LogFormat = Field("plain", title="plain, json", description="Log lines for people, or for programs.")

    @classmethod
    def read(cls, **arguments: Unpack[SettingsArguments]) -> Settings:
        """Return the settings: an argument wins over its variable, which wins over the default.

        Raises:
            InvalidValueError: A value is not acceptable; one line names the setting, its variable, the value (unless
                it may be secret) and what is acceptable.
        """
        given = {name: _joined(value) for name, value in arguments.items() if value is not None}
        try:
            settings = cls(**given)  # type: ignore[arg-type]  # checked by pydantic, which is the point
        except ValidationError as error:
            # Without the cause: it would show a traceback of pydantic's below the one line that matters.
            raise _refusal(error.errors(include_url=False, include_context=False)[0], given) from None
        if (settings.tls_cert is None) != (settings.tls_key is None):
            missing = "tls_key" if settings.tls_key is None else "tls_cert"
            raise InvalidValueError(_label(missing), "", "is missing", "a certificate and its key are given together")
        return settings

    @property
    def servers(self) -> tuple[str, ...]:
        """The addresses of `url`, with any passwords in them; empty if it was not given."""
        return _addresses(self.url)

    @property
    def system_servers(self) -> tuple[str, ...]:
        """The addresses of `system_url`; without one those of `url`, if there are credentials of the system account."""
        return _addresses(self.system_url or (self.url if self.system_credentials else None))

    def tls(self) -> ssl.SSLContext | None:
        """Return what the TLS settings ask for, None without any (a `tls://` address then uses the system's).

        Raises:
            InvalidValueError: A file holds no certificate or key, or the two do not belong together.
        """
        if self.tls_ca is None and self.tls_cert is None:
            return None
        with _usable("tls_ca", "give a PEM file"):
            context = ssl.create_default_context(cafile=self.tls_ca)
        if self.tls_cert is not None:
            with _usable("tls_cert", "give PEM files that match, the key without a passphrase"):
                # Without this OpenSSL asks at the terminal, of which a program knows nothing.
                context.load_cert_chain(self.tls_cert, self.tls_key, password=lambda: "")
        return context

    @field_validator("url", "system_url")
    @classmethod
    def _check_addresses(cls, value: SecretStr | None) -> SecretStr | None:
        for address in _addresses(value):
            parts = urlsplit(address)
            if parts.scheme not in _SCHEMES or not parts.hostname or parts.port == 0:
                raise ValueError("no address of a NATS server")
        return value

    @field_validator("sync")
    @classmethod
    def _check_sync(cls, value: str) -> str:
        return check_sync(value)


@contextmanager
def _usable(name: str, remedy: str) -> Generator[None]:
    try:
        yield
    except OSError as error:
        raise InvalidValueError(_label(name), "", f"can't be used: {error}", remedy) from error


def _joined(value: object) -> object:
    if isinstance(value, Sequence) and not isinstance(value, str):
        return ",".join(str(one) for one in cast(Sequence[object], value))
    return value


def _addresses(value: SecretStr | None) -> tuple[str, ...]:
    parts = [] if value is None else [part.strip() for part in value.get_secret_value().split(",")]
    return tuple(part if "://" in part else f"nats://{part}" for part in parts if part)


def _refusal(problem: ErrorDetails, given: dict[str, object]) -> InvalidValueError:
    name = str(problem["loc"][0])
    text = str(given.get(name, problem["input"]))
    shown = "the value" if _may_be_secret(name, text) else repr(text[:80])
    return InvalidValueError(_label(name), "", f"{shown} is not acceptable", f"give {_values(name)}")


def _may_be_secret(name: str, text: str) -> bool:
    # Text of several lines in place of a path is what stands in the file: a private key.
    return SecretStr in get_args(Settings.model_fields[name].annotation) or "\n" in text


def _values(name: str) -> str:
    # Kept as the field's title, the one free text of a field besides its description.
    return Settings.model_fields[name].title or ""


def _label(name: str) -> str:
    return f"{name} ({PREFIX}{name.upper()})"
