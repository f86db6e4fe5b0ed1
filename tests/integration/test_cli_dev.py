"""`relight dev`: a server and a worker that follow the files, and leave nothing behind."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Generator
from contextlib import contextmanager
from importlib.util import cache_from_source
from pathlib import Path

import pytest
from tests.integration.cli_process import Terminal, background
from tests.processes import MARK, eventually, eventually_ended, marked

APP = """
from relight import WorkflowContext, workflow

@workflow
async def version(ctx: WorkflowContext) -> str:
    return "{}"
"""


@pytest.fixture
def app(tmp_path: Path) -> Path:
    path = tmp_path / "app.py"
    path.write_text(APP.format("one"))
    return path


@contextmanager
def developing(app: Path, **variables: str) -> Generator[subprocess.Popen[str]]:
    # A server given for everything else must not be the one that is developed on.
    variables = {"RELIGHT_URL": "nats://127.0.0.1:1", **variables}
    with background("dev", "app.py", directory=app.parent, variables=variables) as dev:
        yield dev


def read_until(dev: subprocess.Popen[str], word: str) -> str:
    """Read lines until one has the word; pytest's time-out bounds the wait."""
    assert dev.stdout is not None
    said = ""
    for line in dev.stdout:
        said += line
        if word in line:
            return said
    raise AssertionError(f"{word!r} was not said, but:\n{said}")


def save(app: Path, text: str) -> None:
    app.write_text(text)


def worker_process() -> int:
    (found,) = [process for process, command in marked(os.environ[MARK]).items() if " worker app.py" in command]
    return found


async def test_it_runs_the_files_as_they_are_and_ctrl_c_leaves_nothing(app: Path) -> None:
    terminal = Terminal(app.parent, {})
    with developing(app) as dev:
        greeting = read_until(dev, "worker_started")
        first = await terminal.run("start", "version", "--wait")
        save(app, APP.format("two"))
        read_until(dev, "worker_started")
        second = await terminal.run("start", "version", "--wait")
        save(app, "x = (")
        broken = read_until(dev, "waiting for a change")
        save(app, APP.format("three"))
        read_until(dev, "worker_started")

        dev.send_signal(signal.SIGINT)
        rest = read_until(dev, "stopped; the data stays")

        assert dev.wait(20) == 0
    assert "nats://127.0.0.1:" in greeting
    assert "relight start version" in greeting
    assert (first.out, second.out) == ('"one"\n', '"two"\n')
    assert "SyntaxError" in broken
    assert "Traceback" not in rest + broken.replace("Traceback (most recent call last):\n  File", "")
    eventually(lambda: not marked(os.environ[MARK]))


async def test_a_killed_worker_is_replaced_and_a_killed_dev_leaves_nothing(app: Path) -> None:
    with developing(app) as dev:
        read_until(dev, "worker_started")
        os.kill(worker_process(), signal.SIGKILL)
        said = read_until(dev, "worker_started")
        worker = worker_process()

        dev.kill()
        dev.wait()

        eventually_ended(worker)
    assert "the worker was killed (SIGKILL)" in said
    eventually(lambda: not marked(os.environ[MARK]))


async def test_its_server_syncs_as_the_setting_says(app: Path) -> None:
    with developing(app, RELIGHT_SYNC="always") as dev:
        read_until(dev, "worker_started")

        doctor = await Terminal(app.parent, {}).run("doctor", "--json")

    assert "always: before each acknowledgement" in [one["text"] for one in doctor.documents]


def test_a_worker_that_its_watchdog_has_ended_is_replaced(app: Path) -> None:
    ending = "import os, pathlib\nif not pathlib.Path('ended').exists(): pathlib.Path('ended').touch(); os._exit(70)\n"
    app.write_text(ending + APP.format("one"))

    with developing(app) as dev:
        said = read_until(dev, "worker_started")

    assert "its loop was blocked; starting another one" in said


def test_a_worker_whose_import_hangs_ends_with_dev(app: Path) -> None:
    app.write_text("import time\nprint('IMPORTING', flush=True)\ntime.sleep(1000)\n")
    with developing(app) as dev:
        read_until(dev, "IMPORTING")
        worker = worker_process()

        dev.kill()
        dev.wait()

        eventually_ended(worker)


def test_of_two_versions_that_were_saved_within_a_second_the_last_one_runs(app: Path) -> None:
    said = "print('VERSION {}', flush=True)\n" + APP.format("one")
    app.write_text(said.format(1))
    variables = {"PYTHONDONTWRITEBYTECODE": "", "RELIGHT_URL": "nats://127.0.0.1:1"}
    with background("dev", "app.py", directory=app.parent, variables=variables) as dev:
        read_until(dev, "worker_started")
        save(app, said.format(2))
        saved_ns = app.stat().st_mtime_ns // 1_000_000_000 * 1_000_000_000
        os.utime(app, ns=(saved_ns, saved_ns))
        read_until(dev, "VERSION 2")
        # As if it had been read, and saved again, just then.
        os.utime(cache_from_source(app), ns=(saved_ns, saved_ns + 500_000_000))
        save(app, said.format(3))
        os.utime(app, ns=(saved_ns, saved_ns + 900_000_000))
        read_until(dev, "VERSION 3")


@pytest.mark.parametrize("seed", ["random", ""])
def test_a_seed_of_hashes_that_is_none_is_fixed(app: Path, seed: str) -> None:
    app.write_text("print('HASH', hash('relight'), flush=True)\n" + APP.format("one"))
    variables = {"PYTHONHASHSEED": seed, "RELIGHT_URL": "nats://127.0.0.1:1"}
    with background("dev", "app.py", directory=app.parent, variables=variables) as dev:
        in_dev = [line for line in read_until(dev, "worker_started").splitlines() if line.startswith("HASH")]
    with background("worker", "app.py", directory=app.parent, variables=variables) as worker:
        in_worker = [read_until(worker, "HASH").splitlines()[-1]]

    expected = subprocess.check_output(
        (sys.executable, "-c", "print('HASH', hash('relight'))"), env={**os.environ, "PYTHONHASHSEED": "0"}, text=True
    )
    assert in_dev == in_worker == [expected.strip()]


def test_a_server_named_in_small_letters_is_not_the_one_that_is_developed_on(app: Path) -> None:
    variables = {"relight_url": "nats://127.0.0.1:1"}
    with background("dev", "app.py", directory=app.parent, variables=variables) as dev:
        assert "worker_started" in read_until(dev, "worker_started")


async def test_runs_of_yesterday_are_seen_without_dev(app: Path) -> None:
    terminal = Terminal(app.parent, {})
    with developing(app) as dev:
        read_until(dev, "worker_started")
        await terminal.run("start", "version", "--id", "yesterday", "--wait")
        dev.send_signal(signal.SIGINT)
        dev.wait(20)

    shown = await terminal.run("show", "yesterday", "--json")

    assert (shown.document["status"], shown.document["result"]) == ("completed", "one")


async def test_a_missing_application_is_one_line_and_starts_nothing(tmp_path: Path) -> None:
    answer = await Terminal(tmp_path, {}).run("dev", "missing.py")

    assert (answer.code, len(answer.err.splitlines())) == (1, 1)
    assert "is no file" in answer.err
    assert not (tmp_path / ".relight").exists()


async def test_for_programs_all_that_it_says_is_json(app: Path) -> None:
    with background("dev", "app.py", "--json", directory=app.parent, variables={}) as dev:
        said = read_until(dev, "worker_started")
        app.write_text("x = (")
        said += read_until(dev, "waiting for a change")
        dev.send_signal(signal.SIGINT)
        assert dev.stdout is not None
        said += dev.stdout.read()
        assert dev.wait(20) == 0

    documents = [json.loads(line) for line in said.splitlines() if line.startswith("{")]
    plain = [line for line in said.splitlines() if not line.startswith("{")]
    assert documents[0] | {"url": "", "directory": ""} == {"app": "app.py", "url": "", "directory": ""}
    assert [one["workflow"] for one in documents if "workflow" in one] == ["version"]
    assert "the worker ended; waiting for a change" in [one.get("dev") for one in documents]
    assert "worker_started" in [one.get("event") for one in documents]
    assert "SyntaxError" in plain[-1]


async def test_the_log_of_a_worker_is_json_where_the_setting_says_so(app: Path) -> None:
    with developing(app, RELIGHT_LOG_FORMAT="json") as dev:
        started = read_until(dev, "worker_started").splitlines()[-1]
        dev.send_signal(signal.SIGINT)
        assert dev.wait(20) == 0

    assert json.loads(started)["event"] == "worker_started"
