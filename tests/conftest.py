"""Fixtures that every test may use: real servers, unique names, and a check that nothing is left running."""

from __future__ import annotations

import gc
import os
import secrets
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.cluster_of_three import ClusterOfThree
from tests.processes import MARK, marked, unreaped_child

from relight.config.server import EmbeddedServer

_START_EVENTS = frozenset({"subprocess.Popen", "os.fork", "os.forkpty", "os.posix_spawn", "os.spawn"})
_processes_started = 0


def _count_processes(event: str, _arguments: tuple[object, ...]) -> None:
    global _processes_started
    if event in _START_EVENTS:
        _processes_started += 1


sys.addaudithook(_count_processes)

# A shell that starts the tests in the background has them ignore Ctrl-C, and so would all that they start.
signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_finish() -> None:
    """What was imported stays: to look at it took the collector a tenth of a second each time."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session")
def shared_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedServer]:
    """A server for all tests of this process that use a namespace of their own."""
    with EmbeddedServer(tmp_path_factory.mktemp("shared_server")) as server:
        yield server


@pytest.fixture(autouse=True)
def nothing_left_running(request: pytest.FixtureRequest) -> Iterator[None]:
    """Every process that a test starts has ended, and was reaped, when the test is over."""
    if "shared_server" in request.fixturenames:
        request.getfixturevalue("shared_server")  # It outlives the test, so it must not bear its mark.
    mark, before = secrets.token_hex(8), _processes_started
    os.environ[MARK] = mark
    yield
    del os.environ[MARK]
    # Most tests start none, and looking at all processes of the machine takes milliseconds.
    if _processes_started > before:
        left = _left_after_grace(mark)
        assert not left, f"the test left processes behind: {left}"


def _left_after_grace(mark: str) -> dict[int, str]:
    # A guard whose user was killed needs an instant; a process that was reaped a moment ago may still be listed.
    deadline = time.monotonic() + 10
    while (left := marked(mark) | _unreaped()) and time.monotonic() < deadline:
        time.sleep(0.01)
    return left


def _unreaped() -> dict[int, str]:
    child = unreaped_child()
    return {} if child is None else {child: "ended, but nobody has taken its exit code"}


@pytest.fixture
def server(tmp_path: Path) -> Iterator[EmbeddedServer]:
    """A server for one test, which may stop, kill and start it."""
    with EmbeddedServer(tmp_path / "server") as server:
        yield server


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[ClusterOfThree]:
    """Three servers with JetStream replicated over them; a test may stop, kill and start single nodes."""
    with ClusterOfThree(tmp_path / "cluster") as cluster:
        yield cluster


@pytest.fixture
def namespace() -> str:
    """A name that no other test uses."""
    return f"t{secrets.token_hex(6)}"
