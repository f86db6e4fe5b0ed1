"""The server of a directory when its users fork, its directory is removed, its files are torn, or its port is taken."""

from __future__ import annotations

import multiprocessing
import os
import shutil
import signal
import socket
import stat
import subprocess
import sys
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import pytest
from tests.processes import eventually, eventually_ended, is_running

from relight.config import guard
from relight.config.guarded import Endpoint, read_endpoint
from relight.config.local import LocalServer
from relight.config.server import EmbeddedServer
from relight.errors import InvalidValueError, UnavailableError

# Some of these are about forks; what Python warns of is harmless in children that only wait.
pytestmark = pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")

_LAST_USER_THAT_DIES_WHEN_IT_HAS_TOLD_THE_GUARD = """
import os, signal, sys
from pathlib import Path
from relight.config.guarded import read_endpoint
from relight.config.local import LocalServer

local = LocalServer.join(sys.argv[1])
guard = read_endpoint(Path(sys.argv[1])).guard_process
print(guard, flush=True)

def is_stopped(thread):
    return (thread / "stat").read_text().rpartition(") ")[2][0] == "T"

def die(event, arguments):
    global die
    if event == "os.kill" and arguments == (guard, signal.SIGTERM) and die:
        die = None
        os.kill(guard, signal.SIGSTOP)  # It gets no processor for a moment.
        while not all(is_stopped(thread) for thread in Path(f"/proc/{guard}/task").iterdir()):
            continue
        os.kill(guard, signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGKILL)

sys.addaudithook(lambda event, arguments: die and die(event, arguments))
local.leave()
"""

_GUARD_WITHOUT_PATIENCE = """
import os, sys
from relight.config import guard

guard.READY_S = 0.05
sys.exit(guard.main(sys.argv[1], 1, guard_lock=os.open("guard.lock", os.O_RDWR | os.O_CREAT), restart=False))
"""


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return tmp_path / ".relight"


@pytest.fixture
def fork() -> Iterator[Callable[[], int]]:
    """Fork this process as a pool of workers does; the child does nothing until the test is over."""
    with ExitStack() as stack:
        yield lambda: stack.enter_context(_forked())


@contextmanager
def _forked() -> Generator[int]:
    reader, writer = os.pipe()
    child = multiprocessing.get_context("fork").Process(target=os.read, args=(reader, 1))
    child.start()
    assert child.pid is not None
    yield child.pid
    child.kill()
    child.join()
    os.close(reader)
    os.close(writer)


def _endpoint(directory: Path) -> Endpoint:
    endpoint = read_endpoint(directory)
    assert endpoint is not None
    return endpoint


def test_a_directory_can_be_joined_again_although_a_fork_of_its_last_user_lives(
    directory: Path, fork: Callable[[], int]
) -> None:
    local = LocalServer.join(directory)
    server = local.endpoint()
    child = fork()

    local.leave()

    assert server is not None
    assert not is_running(server.server_process)
    with LocalServer.join(directory) as again:
        assert is_running(_endpoint(directory).server_process)
        assert again.url == _endpoint(directory).url
    assert is_running(child)


def test_the_last_one_ends_the_server_although_a_fork_of_another_user_lives(
    directory: Path, fork: Callable[[], int]
) -> None:
    first = LocalServer.join(directory)
    fork()
    second = LocalServer.join(directory)
    server = _endpoint(directory).server_process

    first.leave()
    second.leave()

    assert not is_running(server)


def test_a_fork_in_the_middle_of_joining_holds_nothing_up(directory: Path, fork: Callable[[], int]) -> None:
    with ThreadPoolExecutor(1) as threads:
        joining = threads.submit(LocalServer.join, directory)
        eventually((directory / "nats-server.log").exists)
        fork()
        local = joining.result()

    with LocalServer.join(directory) as other:
        assert other.url == local.url
    local.leave()

    assert read_endpoint(directory) is None
    LocalServer.join(directory).leave()


def test_a_fork_keeps_the_server_when_its_parent_is_killed(directory: Path) -> None:
    script = (
        "import os, sys, time; from relight.config.local import LocalServer\n"
        "local = LocalServer.join(sys.argv[1])\n"
        "child = os.fork()\n"
        "if not child: time.sleep(100)\n"
        "print(child, flush=True); time.sleep(100)"
    )
    user = subprocess.Popen((sys.executable, "-c", script, str(directory)), stdout=subprocess.PIPE)
    assert user.stdout is not None
    child = int(user.stdout.readline())
    server = _endpoint(directory)

    user.kill()
    user.wait()
    user.stdout.close()
    with LocalServer.join(directory) as other:
        assert other.url == server.url
    ran_on = is_running(server.server_process)
    os.kill(child, signal.SIGKILL)

    assert ran_on
    eventually_ended(server.server_process)


def test_a_fork_does_not_leave_in_its_parents_name(directory: Path) -> None:
    with LocalServer.join(directory) as local, LocalServer.join(directory) as other:
        child = multiprocessing.get_context("fork").Process(target=local.leave)
        child.start()
        child.join()

        other.leave()

        assert child.exitcode == 0
        assert is_running(_endpoint(directory).server_process)


def test_who_leaves_a_removed_directory_ends_its_own_server_and_not_that_of_others(directory: Path) -> None:
    local = LocalServer.join(directory)
    removed = _endpoint(directory)
    shutil.rmtree(directory)
    with LocalServer.join(directory) as other:
        local.leave()

        eventually_ended(removed.server_process)
        assert is_running(_endpoint(directory).server_process)
        assert other.url == _endpoint(directory).url


def test_a_directory_may_be_gone_when_its_user_leaves(directory: Path) -> None:
    local = LocalServer.join(directory)
    server = _endpoint(directory).server_process
    shutil.rmtree(directory)

    local.leave()

    eventually_ended(server)
    assert not directory.exists()


def test_a_directory_that_was_emptied_belongs_to_who_comes_next(directory: Path) -> None:
    local = LocalServer.join(directory)
    removed = _endpoint(directory)
    for one in directory.iterdir():
        shutil.rmtree(one) if one.is_dir() else one.unlink()
    with LocalServer.join(directory) as other:
        local.leave()

        eventually_ended(removed.guard_process)
        assert other.url == _endpoint(directory).url


def test_who_joins_when_the_last_user_died_leaving_gets_a_server_that_stays(directory: Path) -> None:
    script = _LAST_USER_THAT_DIES_WHEN_IT_HAS_TOLD_THE_GUARD
    user = subprocess.Popen((sys.executable, "-c", script, str(directory)), stdout=subprocess.PIPE)
    guard_process = int(user.communicate()[0])

    with ThreadPoolExecutor(1) as threads:
        joining = threads.submit(LocalServer.join, directory)
        believed_in_it, _ = wait((joining,), timeout=0.5)
        os.kill(guard_process, signal.SIGCONT)
        with joining.result() as local:
            eventually_ended(guard_process)
            assert local.url == _endpoint(directory).url
            assert is_running(_endpoint(directory).server_process)
    assert not believed_in_it


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"guard": 1, "ser', "\0" * 40])
def test_a_state_that_was_torn_by_a_power_loss_is_none(directory: Path, text: str) -> None:
    LocalServer.join(directory).leave()
    (directory / "state.json").write_text(text, encoding="utf-8")

    assert read_endpoint(directory) is None
    with LocalServer.join(directory) as local:
        assert local.url == _endpoint(directory).url


@pytest.mark.parametrize("text", ["", "\0" * 32])
def test_a_password_that_was_lost_by_a_power_loss_is_made_anew(directory: Path, text: str) -> None:
    LocalServer.join(directory).leave()
    (directory / "system.password").write_text(text, encoding="utf-8")

    with LocalServer.join(directory) as local:
        password = (directory / "system.password").read_text(encoding="utf-8")

    assert len(password) == 32
    assert password.isprintable()
    assert password in local.system_url


@pytest.mark.parametrize("text", ["", "\0\0", "80", "99999999", "nonsense"])
def test_a_port_that_was_torn_by_a_power_loss_is_another_one(directory: Path, text: str) -> None:
    LocalServer.join(directory).leave()
    (directory / "port").write_text(text, encoding="utf-8")

    with LocalServer.join(directory) as local:
        assert local.url == _endpoint(directory).url


def test_after_a_killed_guard_the_next_user_brings_the_server_back_where_the_others_look_for_it(
    directory: Path,
) -> None:
    with LocalServer.join(directory) as local:
        killed = _endpoint(directory)
        os.kill(killed.guard_process, signal.SIGKILL)
        eventually_ended(killed.server_process)

        with LocalServer.join(directory) as other:
            assert other.url == local.url
            assert is_running(_endpoint(directory).server_process)


def test_a_last_port_that_somebody_has_taken_is_given_up(directory: Path) -> None:
    with LocalServer.join(directory):
        port = _endpoint(directory).port
    with socket.create_server(("127.0.0.1", port)), LocalServer.join(directory):
        assert _endpoint(directory).port != port


def test_a_server_whose_port_is_taken_when_it_is_to_come_back_comes_back_later(directory: Path) -> None:
    with LocalServer.join(directory):
        killed = _endpoint(directory)
        log = directory / "nats-server.log"

        with ExitStack() as taken:
            os.kill(killed.server_process, signal.SIGKILL)
            eventually(lambda: _is_bound(taken, killed.port))
            eventually(lambda: "address already in use" in log.read_text(encoding="utf-8"))

        eventually(lambda: read_endpoint(directory) is not None)
        assert _endpoint(directory).guard_process == killed.guard_process
        assert _endpoint(directory).port == killed.port


def _is_bound(stack: ExitStack, port: int) -> bool:
    try:
        stack.enter_context(socket.create_server(("127.0.0.1", port)))
    except OSError:
        return False
    return True


def test_a_server_that_is_killed_while_it_starts_anew_is_started_again(directory: Path) -> None:
    with LocalServer.join(directory):
        first = _endpoint(directory)
        os.kill(first.server_process, signal.SIGKILL)
        eventually(lambda: _kill_other(first.guard_process, first.server_process))

        eventually(lambda: (seen := read_endpoint(directory)) is not None and is_running(seen.server_process))
        assert _endpoint(directory).guard_process == first.guard_process


def _kill_other(guard_process: int, known: int) -> bool:
    """Kill the guard's child, once that is another nats-server than the known one."""
    server = _server_of(guard_process)
    if server in (None, known):
        return False
    assert server is not None
    os.kill(server, signal.SIGKILL)
    return True


def _server_of(guard_process: int) -> int | None:
    """Return the guard's child, once it is a nats-server."""
    for child in Path(f"/proc/{guard_process}/task/{guard_process}/children").read_text().split():
        with suppress(FileNotFoundError):  # It has ended meanwhile.
            if b"nats-server" in Path(f"/proc/{child}/cmdline").read_bytes():
                return int(child)
    return None


def test_a_server_gets_two_minutes_to_recover_its_data_and_then_it_is_said(tmp_path: Path) -> None:
    slow = tmp_path / "nats-server"
    slow.write_text("#!/bin/sh\nexec sleep 100\n")
    slow.chmod(0o755)
    (tmp_path / "ports").mkdir()

    command = (sys.executable, "-c", _GUARD_WITHOUT_PATIENCE, str(slow))
    ended = subprocess.run(command, cwd=tmp_path, stderr=subprocess.PIPE, text=True, check=False)

    assert guard.READY_S >= 120
    assert ended.returncode == 1
    assert ended.stderr == "it was not ready after 0.05 s, and was killed\n"


def test_why_an_earlier_server_did_not_start_is_not_told_of_this_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    directory = tmp_path / "server"
    directory.mkdir()
    (directory / "data").write_text("not a directory", encoding="utf-8")
    with pytest.raises(UnavailableError, match="storage directory"):
        EmbeddedServer(directory).start()
    (directory / "data").unlink()
    (tmp_path / "python").symlink_to(os.path.realpath(sys.executable))
    broken = tmp_path / "nats-server"
    broken.write_text("#!/bin/sh\necho 'no libc.so' >&2\nexit 127\n")
    broken.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))

    with pytest.raises(UnavailableError, match=r"did not start: no libc\.so$"):
        EmbeddedServer(directory).start()


def test_git_goes_on_seeing_a_directory_of_somebodys_own(tmp_path: Path) -> None:
    (tmp_path / "project").mkdir()

    for _ in range(2):
        LocalServer.join(tmp_path / "project").leave()

    assert not (tmp_path / "project" / ".gitignore").exists()


def test_a_directory_that_was_left_half_made_is_ignored_by_git(directory: Path) -> None:
    (directory / "ports").mkdir(parents=True)

    LocalServer.join(directory).leave()

    assert (directory / ".gitignore").read_text(encoding="utf-8") == "*\n"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_directory_of_another_user_is_named_with_its_setting(directory: Path) -> None:
    LocalServer.join(directory).leave()
    (directory / "users.lock").chmod(stat.S_IRUSR)

    with pytest.raises(InvalidValueError, match=r"^local_directory \(RELIGHT_LOCAL_DIRECTORY\): .*Permission denied"):
        LocalServer.join(directory)


def test_locks_that_are_no_files_are_named_with_the_setting(directory: Path) -> None:
    (directory / "users.lock").mkdir(parents=True)

    with pytest.raises(InvalidValueError, match=r"^local_directory \(RELIGHT_LOCAL_DIRECTORY\): .*can't be used"):
        LocalServer.join(directory)
