"""One server for all processes of a directory: it outlives each of them, and none of it outlives the last."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import final

import pytest
from tests.processes import eventually, eventually_ended, is_running
from tests.raw_nats import connected, create_stream, last_message, store

from relight.config.file_lock import FileLock
from relight.config.guarded import Endpoint, read_endpoint
from relight.config.local import LocalServer
from relight.errors import InvalidValueError

_USER = """
import sys
from relight.config.local import LocalServer

for line in sys.stdin:
    local = LocalServer.join(sys.argv[1])
    print(local.url, flush=True)
    sys.stdin.readline()
    local.leave()
    print("left", flush=True)
"""


@final
class User:
    """Another process that joins and leaves when it is told to."""

    def __init__(self, directory: Path) -> None:
        self.process = subprocess.Popen(
            (sys.executable, "-c", _USER, str(directory)), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def join(self) -> str:
        self.begin()
        return self.answer()

    def leave(self) -> None:
        self.begin()
        assert self.answer() == "left"

    def kill(self) -> None:
        self.process.kill()
        self.process.communicate()

    def begin(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write("\n")
        self.process.stdin.flush()

    def answer(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return tmp_path / ".relight"


@pytest.fixture
def new_user(directory: Path) -> Iterator[Callable[[], User]]:
    users: list[User] = []

    def start() -> User:
        users.append(User(directory))
        return users[-1]

    yield start
    for user in users:
        user.kill()


def _endpoint(directory: Path) -> Endpoint:
    endpoint = read_endpoint(directory)
    assert endpoint is not None
    return endpoint


async def _answers(url: str) -> bool:
    async with connected(url) as connection:
        await connection.flush()
    return True


def test_the_second_process_joins_the_server_of_the_first(directory: Path, new_user: Callable[[], User]) -> None:
    first, second = new_user(), new_user()

    assert first.join() == second.join()


def test_the_server_outlives_its_starter_and_ends_with_its_last_user(
    directory: Path, new_user: Callable[[], User]
) -> None:
    first, second = new_user(), new_user()
    first.join()
    second.join()
    endpoint = _endpoint(directory)

    first.leave()
    ran_on = is_running(endpoint.server_process)
    second.leave()

    assert ran_on
    assert not is_running(endpoint.server_process)
    assert not is_running(endpoint.guard_process)
    assert read_endpoint(directory) is None


def test_the_server_outlives_its_killed_starter(directory: Path, new_user: Callable[[], User]) -> None:
    first, second = new_user(), new_user()
    first.join()
    second.join()

    first.kill()

    with LocalServer.join(directory) as third:
        assert third.url == _endpoint(directory).url
        assert is_running(_endpoint(directory).server_process)


@pytest.mark.parametrize("users", [1, 3])
def test_the_server_ends_when_its_last_user_is_killed(
    directory: Path, new_user: Callable[[], User], users: int
) -> None:
    processes = [new_user() for _ in range(users)]
    for process in processes:
        process.join()
    endpoint = _endpoint(directory)

    for process in processes:
        process.kill()

    eventually_ended(endpoint.server_process)
    eventually_ended(endpoint.guard_process)


async def test_a_killed_server_comes_back_on_its_port_with_its_data(directory: Path) -> None:
    with LocalServer.join(directory) as local:
        async with connected(local.url) as connection:
            await create_stream(connection, "DEMO")
            await store(connection, "DEMO", b"kept")
        killed = _endpoint(directory).server_process

        os.kill(killed, signal.SIGKILL)
        eventually(lambda: (seen := read_endpoint(directory)) is not None and seen.server_process != killed)

        async with connected(local.url) as connection:
            assert await last_message(connection, "DEMO") == b"kept"


def test_the_last_user_may_leave_while_a_dead_server_is_replaced(directory: Path) -> None:
    local = LocalServer.join(directory)
    endpoint = _endpoint(directory)

    os.kill(endpoint.server_process, signal.SIGKILL)
    local.leave()

    assert not is_running(endpoint.guard_process)
    assert read_endpoint(directory) is None


async def test_a_killed_guard_leaves_no_server_and_the_next_user_starts_one(
    directory: Path, new_user: Callable[[], User]
) -> None:
    user = new_user()
    user.join()
    orphan = _endpoint(directory)

    os.kill(orphan.guard_process, signal.SIGKILL)
    eventually_ended(orphan.server_process)

    with LocalServer.join(directory) as local:
        assert _endpoint(directory).server_process != orphan.server_process
        assert not is_running(orphan.server_process)
        assert await _answers(local.url)


async def test_a_dying_server_that_still_takes_connections_is_not_believed(directory: Path) -> None:
    LocalServer.join(directory).leave()
    guard_lock = FileLock(directory / "guard.lock")
    assert guard_lock.take("exclusive")
    with socket.create_server(("127.0.0.1", 0)) as dying:
        port = dying.getsockname()[1]
        state = f'{{"guard": {os.getpid()}, "server": {os.getpid()}, "port": {port}}}'
        (directory / "state.json").write_text(state, "utf-8")

        joining = asyncio.create_task(asyncio.to_thread(LocalServer.join, directory))
        connection, _ = await asyncio.to_thread(dying.accept)
        guard_lock.close()
        connection.close()

        with await joining as local:
            assert await _answers(local.url)


async def test_a_state_of_dead_processes_is_not_believed(directory: Path) -> None:
    LocalServer.join(directory).leave()
    # The process id is one that lives, as if the system had given it to another process since.
    (directory / "state.json").write_text(f'{{"guard": {os.getpid()}, "server": {os.getpid()}, "port": 1}}', "utf-8")

    with LocalServer.join(directory) as local:
        assert await _answers(local.url)


def test_processes_that_start_at_once_get_one_server(directory: Path, new_user: Callable[[], User]) -> None:
    users = [new_user() for _ in range(4)]

    for user in users:
        user.begin()
    urls = {user.answer() for user in users}

    assert len(urls) == 1
    assert urls == {_endpoint(directory).url}


def test_those_who_come_while_the_last_one_leaves_always_get_a_server(directory: Path) -> None:
    def come_and_go(_: int) -> bool:
        with LocalServer.join(directory) as local:
            endpoint = _endpoint(directory)
            return endpoint.url == local.url and is_running(endpoint.server_process)

    with ThreadPoolExecutor(3) as threads:
        lived = list(threads.map(come_and_go, range(30)))

    assert all(lived)
    assert read_endpoint(directory) is None


def test_a_starter_that_is_killed_at_any_moment_blocks_nobody(directory: Path, new_user: Callable[[], User]) -> None:
    for _ in range(5):
        starter = new_user()
        starter.begin()
        eventually((directory / "server.conf").exists)
        starter.kill()

        with LocalServer.join(directory) as local:
            assert is_running(_endpoint(directory).server_process)
            assert local.url == _endpoint(directory).url
        (directory / "server.conf").unlink()


async def test_the_data_persists_from_one_run_to_the_next(directory: Path) -> None:
    with LocalServer.join(directory) as local:
        async with connected(local.url) as connection:
            await create_stream(connection, "DEMO")
            await store(connection, "DEMO", b"kept")

    with LocalServer.join(directory) as local:
        async with connected(local.url) as connection:
            assert await last_message(connection, "DEMO") == b"kept"


def test_leaving_twice_is_leaving_once(directory: Path) -> None:
    with LocalServer.join(directory) as other:
        local = LocalServer.join(directory)

        local.leave()
        local.leave()

        assert is_running(_endpoint(directory).server_process)
        assert other.url == local.url


def test_the_directory_is_its_owners_only_and_git_ignores_it(directory: Path) -> None:
    with LocalServer.join(directory):
        assert stat.S_IMODE(directory.stat().st_mode) == 0o700
        assert (directory / ".gitignore").read_text(encoding="utf-8") == "*\n"


def test_an_unknown_fsync_policy_starts_nothing(directory: Path) -> None:
    with pytest.raises(InvalidValueError, match="is no fsync policy"):
        LocalServer.join(directory, sync="sometimes")

    assert not directory.exists()


def test_a_waiting_guard_uses_no_processor_time(directory: Path) -> None:
    with LocalServer.join(directory):
        guard = _endpoint(directory).guard_process
        threads = list(Path(f"/proc/{guard}/task").iterdir())
        eventually(lambda: all((thread / "stat").read_text().rpartition(") ")[2][0] == "S" for thread in threads))
        used = Path(f"/proc/{guard}/stat").read_text().rpartition(") ")[2].split()

    assert int(used[11]) + int(used[12]) < 50
