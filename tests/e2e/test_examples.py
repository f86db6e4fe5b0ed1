"""Each example runs alone, in a directory of its own, and says what it is there to show."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest

from relight import Relight

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples"

SAID = {
    "approval": ("was answered already; the first answer counts", "published: Hello"),
    "continue_as_new": ("7 orders, 42.5 in all", "of the last history"),
    "children": ("2 words in the first, 30 in all; then an empty chapter", "its first child: 2"),
    "compensation": (
        "booked: ['flight-rome', 'hotel-rome', 'charge-rome']",
        "cancelled the hotel for tokyo, if there was one\ncancelled the flight for tokyo",
        "failed and undone: the card was declined; by a step: True; not undone: {}",
    ),
    "encryption": (
        "Ann has a cold\nBen has a cold\nAnn has a cold\n",
        "for which there is no codec or key here\n",
        "'RunCompleted'",
    ),
    "fan_out": ("150\n5\n",),
    "interceptors": ("load_invoices begins, attempt 1", "invoices of acme", "invoices of globex"),
    "order": ("to ann: confirmed", "#1\n", "to ben: declined: ben has no 9900.00"),
    "quickstart": ("fetching Lyon\nfetching Oslo\nfetching Nairobi\n7\n",),
    "requests": (
        "bread -> {'bread': 1}",
        "jam -> rejected: no more jam",
        "(at data)",
        "{'bread': 1, 'jam': 2}\n",
    ),
    "retries": ("done at attempt 3", "broken#1: still no disk (an OSError)", "hopeless#1: there is no such customer\n"),
    "secret_keys": (
        "charged ann with 1 header\n",
        "the result of step 'careless' at result.used: secret 'stripe_key' stands in it",
        "no answer from https://api.example.com?key=[secret stripe_key]\n",
    ),
    "signals": ("['bread', 'butter', 'jam']", "['milk', 'eggs']"),
    "testing_example": ("passed",),
    "time_travel": ("held: paused\nbought: 3 x tea\n", "dearer: 2 x tea\nricher: 10 x tea\n"),
    "timers": ("had no answer within 0.2 s", "the fast answer"),
    "versions": (
        "beside version 2: hello ann\n",
        "a run of version 1: good morning, ben\n",
        "one of its own: good morning, cat\n",
    ),
    "unsafe_step": ("and then the worker dies", "unknown_outcome: ", "seen on the account statement"),
}


def test_every_example_is_run_here() -> None:
    assert {path.stem for path in EXAMPLES.glob("*.py")} == {*SAID, "fastapi_app"}


@pytest.mark.parametrize("name", sorted(SAID))
def test_the_example_runs_alone_and_says_what_it_shows(name: str, tmp_path: Path) -> None:
    ended = run_example(name, tmp_path)

    assert ended.returncode == 0, ended.stdout + ended.stderr
    for said in SAID[name]:
        assert said in ended.stdout, ended.stdout + ended.stderr
    assert "Traceback" not in ended.stderr


async def test_the_quickstart_goes_on_after_a_kill_without_fetching_again(tmp_path: Path) -> None:
    killed = await asyncio.create_subprocess_exec(
        sys.executable, "-u", EXAMPLES / "quickstart.py", cwd=tmp_path, env=own_server(), stdout=subprocess.PIPE
    )
    assert killed.stdout is not None
    fetched = [await killed.stdout.readline() for _ in range(3)]
    async with Relight.local(tmp_path / ".relight") as client:
        async for record in client.get_run("report-1").history(follow=True):
            if record.kind == "TimerArmed":
                break
        killed.kill()
        await killed.wait()

        ended = await asyncio.to_thread(run_example, "quickstart", tmp_path)

    assert fetched == [b"fetching Lyon\n", b"fetching Oslo\n", b"fetching Nairobi\n"]
    assert ended.stdout.splitlines()[0] == "7"


def test_the_fastapi_app_starts_approves_and_shows_a_run(tmp_path: Path) -> None:
    port = _free_port()
    command = [sys.executable, "-m", "uvicorn", "examples.fastapi_app:app", "--port", str(port), "--log-level", "error"]
    with subprocess.Popen(command, cwd=tmp_path, env={**own_server(), "PYTHONPATH": str(ROOT)}) as server:
        try:
            with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=30) as browser:
                _until_served(browser, server)

                started = browser.post("/greetings/g-1", params={"name": "ann"})
                approved = browser.post("/greetings/g-1/approval")
                shown = browser.get("/greetings/g-1")
                missing = browser.get("/greetings/g-2")
        finally:
            server.terminate()
    assert (started.status_code, started.json()) == (202, {"run": "g-1"})
    assert approved.json() == {"greeting": "Hello, ann"}
    assert shown.json()["status"] == "completed"
    assert missing.status_code == 404
    assert "g-2" in missing.json()["detail"]


def run_example(name: str, directory: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(EXAMPLES / f"{name}.py")],
        check=False,
        cwd=directory,
        env=own_server(),
        capture_output=True,
        text=True,
    )


def own_server() -> dict[str, str]:
    """The environment without what would lead an example to another server than its own."""
    return {name: value for name, value in os.environ.items() if not name.startswith("RELIGHT_")}


def _until_served(browser: httpx.Client, server: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        assert server.poll() is None, "uvicorn ended"
        try:
            browser.get("/openapi.json")
        except httpx.ConnectError:
            time.sleep(0.02)
        else:
            return
    raise TimeoutError("uvicorn does not answer")


def _free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port: int = one.getsockname()[1]
        return port
