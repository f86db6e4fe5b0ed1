"""Settings: arguments, variables, defaults, and what is said about a value that is not acceptable."""

from __future__ import annotations

import os
from pathlib import Path
from typing import get_args

import pytest
from pydantic import SecretStr
from tests.certificates import Certificate, new_certificate

from relight.config.settings import PREFIX, Settings
from relight.errors import InvalidValueError

_DOCUMENT = Path(__file__).parents[2] / "docs" / "settings.md"


@pytest.fixture(autouse=True)
def no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith(PREFIX)]:
        monkeypatch.delenv(name)


def test_an_argument_wins_over_its_variable_which_wins_over_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RELIGHT_SHARDS", "8")

    assert Settings.read(shards=4).shards == 4
    assert Settings.read(shards=None).shards == 8
    assert Settings.read().replicas == 1


def test_an_empty_variable_is_as_good_as_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RELIGHT_URL", "")

    assert Settings.read().servers == ()


@pytest.mark.parametrize(
    "url", ["nats://a:4222, tls://b", ["nats://a:4222", "tls://b"], ("a:4222", "tls://b")], ids=str
)
def test_several_servers_are_given_as_text_or_as_a_sequence(url: str | list[str]) -> None:
    assert Settings.read(url=url).servers == ("nats://a:4222", "tls://b")


def test_no_text_of_the_settings_holds_a_password() -> None:
    settings = Settings.read(url="nats://ann:hunter2@a", system_url="nats://system:hunter2@a")

    assert settings.servers == ("nats://ann:hunter2@a",)
    assert "hunter2" not in f"{settings!r} {settings} {settings.model_dump()} {settings.model_dump_json()}"


def test_credentials_of_the_system_account_serve_for_the_same_servers(tmp_path: Path) -> None:
    credentials = tmp_path / "system.creds"
    credentials.touch()

    assert Settings.read(url="nats://a").system_servers == ()
    assert Settings.read(url="nats://a", system_credentials=credentials).system_servers == ("nats://a",)
    assert Settings.read(url="nats://a", system_url="nats://s:p@a").system_servers == ("nats://s:p@a",)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("SHARDS", "0", "shards (RELIGHT_SHARDS): '0' is not acceptable; give 1 to 64 streams"),
        ("SHARDS", "many", "shards (RELIGHT_SHARDS): 'many' is not acceptable; give 1 to 64 streams"),
        ("REPLICAS", "6", "replicas (RELIGHT_REPLICAS): '6' is not acceptable; give 1 to 5 copies"),
        ("LOG_FORMAT", "xml", "log_format (RELIGHT_LOG_FORMAT): 'xml' is not acceptable; give plain, json"),
        (
            "CREDENTIALS",
            "/no/such.creds",
            "credentials (RELIGHT_CREDENTIALS): '/no/such.creds' is not acceptable; give path of a file that exists",
        ),
        ("SYNC", "0", "sync (RELIGHT_SYNC): '0' is not acceptable; give default, always, or a duration such as 1s"),
        (
            "URL",
            "http://ann:hunter2@a",
            "url (RELIGHT_URL): the value is not acceptable; give nats:// or tls:// addresses, separated by commas",
        ),
        (
            "URL",
            "nats://a:99999999",
            "url (RELIGHT_URL): the value is not acceptable; give nats:// or tls:// addresses, separated by commas",
        ),
    ],
)
def test_a_value_that_is_not_acceptable_is_named_in_one_line(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, message: str
) -> None:
    monkeypatch.setenv(PREFIX + name, value)

    with pytest.raises(InvalidValueError) as refused:
        Settings.read()

    assert str(refused.value) == message


def test_an_argument_that_is_not_acceptable_is_named_like_its_variable() -> None:
    with pytest.raises(
        InvalidValueError, match=r"^concurrency \(RELIGHT_CONCURRENCY\): '0' is not acceptable; give 1 to"
    ):
        Settings.read(concurrency=0)


@pytest.mark.parametrize("name", ["url", "system_url", "encryption_keys"])
def test_what_may_be_secret_is_not_said(name: str) -> None:
    with pytest.raises(InvalidValueError, match="the value is not acceptable") as refused:
        Settings.read(**{name: {"2026": "hunter2"}})  # type: ignore[arg-type]  # the mistake that is tested

    assert "hunter2" not in f"{refused.value!r} {refused.value} {vars(refused.value)}"


@pytest.mark.parametrize("name", ["credentials", "tls_key", "system_credentials"])
def test_nor_is_a_key_that_is_given_in_place_of_its_file(name: str) -> None:
    with pytest.raises(InvalidValueError, match="the value is not acceptable; give path of a file"):
        Settings.read(**{name: "-----BEGIN PRIVATE KEY-----\nhunter2\n"})  # type: ignore[arg-type]  # likewise


def test_every_setting_that_is_kept_secret_is_told_apart() -> None:
    secret = {name for name, field in Settings.model_fields.items() if SecretStr in get_args(field.annotation)}

    assert secret == {"url", "system_url", "encryption_keys"}


def test_a_certificate_without_its_key_is_refused(tmp_path: Path) -> None:
    certificate = tmp_path / "client.pem"
    certificate.touch()

    with pytest.raises(InvalidValueError, match=r"^tls_key \(RELIGHT_TLS_KEY\): is missing; "):
        Settings.read(tls_cert=certificate)


def test_files_without_certificates_are_refused_when_they_are_read(tmp_path: Path) -> None:
    authority = tmp_path / "authority.pem"
    authority.write_text("nothing", encoding="utf-8")

    with pytest.raises(InvalidValueError, match=r"^tls_ca \(RELIGHT_TLS_CA\): can't be used: "):
        Settings.read(tls_ca=authority).tls()


@pytest.fixture
def certificate(tmp_path: Path) -> Certificate:
    return new_certificate(tmp_path)


def test_of_the_files_the_one_that_can_not_be_used_is_named(certificate: Certificate, tmp_path: Path) -> None:
    authority = tmp_path / "authority.pem"
    authority.write_text("nothing", encoding="utf-8")
    good = Settings.read(tls_cert=certificate.path, tls_key=certificate.key)
    with_bad_authority = Settings.read(tls_ca=authority, tls_cert=certificate.path, tls_key=certificate.key)
    with_bad_key = Settings.read(tls_cert=certificate.path, tls_key=authority)

    assert good.tls() is not None
    with pytest.raises(InvalidValueError, match=r"^tls_ca \(RELIGHT_TLS_CA\): can't be used: "):
        with_bad_authority.tls()
    with pytest.raises(InvalidValueError, match=r"^tls_cert \(RELIGHT_TLS_CERT\): can't be used: "):
        with_bad_key.tls()


def test_without_tls_settings_there_is_no_context() -> None:
    assert Settings.read().tls() is None


def test_the_table_in_the_manual_is_the_code() -> None:
    documented = [line for line in _DOCUMENT.read_text(encoding="utf-8").splitlines() if line.startswith("| `")]

    assert documented == _rows()


def _rows() -> list[str]:
    return [
        f"| `{name}` | `{PREFIX}{name.upper()}` | {_default(field.default)} | {field.title} | {field.description} |"
        for name, field in Settings.model_fields.items()
    ]


def _default(value: object) -> str:
    return "none" if value is None else f"`{value}`"
