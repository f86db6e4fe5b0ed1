"""The configuration file of an embedded nats-server: what is promised about it stands here, in one place."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from relight.errors import InvalidValueError

__all__ = ("SYSTEM_USER", "Cluster", "ServerConfig", "Sync", "check_sync")

SYSTEM_USER = "system"

Sync = Literal["default", "always"] | str
"""When nats-server calls fsync: `default` (its own, every two minutes), `always` (before each acknowledgement), or a
duration such as `1s`. A killed process loses nothing with any of them; a power loss costs what was not synced."""


@dataclass(frozen=True, kw_only=True)
class Cluster:
    """One node of a cluster: its names, the port of its routes, and those of all nodes."""

    name: str
    node: str
    port: int
    route_ports: tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class ServerConfig:
    """One server on loopback: clients need no credentials and land in the account RELIGHT; SYS has a password."""

    name: str
    directory: Path
    port: int
    system_password: str
    sync: Sync = "default"
    cluster: Cluster | None = None

    def render(self) -> str:
        """Return the text of the file. It holds the system password, so the file is its owner's only."""
        return "\n".join((*self._server_lines(), *self._account_lines(), *self._cluster_lines(), ""))

    def _server_lines(self) -> tuple[str, ...]:
        # A log that is full is moved aside; two of them are kept, so that a server left alone can't fill the disk.
        return (
            f"server_name: {json.dumps(self.name)}",
            f'listen: "127.0.0.1:{self.port}"',
            f"log_file: {_quoted(self.directory / 'nats-server.log')}",
            "logfile_size_limit: 16MB",
            "logfile_max_num: 2",
            f"ports_file_dir: {_quoted(self.directory / 'ports')}",
            f"jetstream {{ store_dir: {_quoted(self.directory / 'data')}{self._sync()} }}",
        )

    def _sync(self) -> str:
        return "" if self.sync == "default" else f", sync_interval: {json.dumps(self.sync)}"

    def _account_lines(self) -> tuple[str, ...]:
        return (
            "accounts {",
            "  RELIGHT { jetstream: enabled, users: [ { user: relight, password: relight } ] }",
            f"  SYS {{ users: [ {{ user: {SYSTEM_USER}, password: {json.dumps(self.system_password)} }} ] }}",
            "}",
            "system_account: SYS",
            "no_auth_user: relight",
        )

    def _cluster_lines(self) -> tuple[str, ...]:
        if self.cluster is None:
            return ()
        routes = ", ".join(f'"nats-route://127.0.0.1:{port}"' for port in self.cluster.route_ports)
        return (
            "cluster {",
            f"  name: {json.dumps(self.cluster.name)}",
            f'  listen: "127.0.0.1:{self.cluster.port}"',
            f"  routes: [ {routes} ]",
            "}",
        )


def check_sync(sync: Sync) -> Sync:
    """Return `sync` if nats-server understands it.

    Raises:
        InvalidValueError: It is neither `default`, nor `always`, nor a duration such as `500ms`, `1s`, `2m`.
    """
    if sync in ("default", "always") or re.fullmatch(r"[1-9][0-9]{0,5}(ms|s|m|h)", sync):
        return sync
    raise InvalidValueError(
        "sync", "", f"{sync[:40]!r} is no fsync policy", 'pass "default", "always" or a duration such as "1s"'
    )


def _quoted(path: Path) -> str:
    return json.dumps(str(path), ensure_ascii=False)  # nats-server knows no \u.
