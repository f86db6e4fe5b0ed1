"""The demo as a newcomer sees it: piped, interrupted, sabotaged, and what it leaves."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
TOTALS = re.compile(r"^  (completed|requests|repeats absorbed|charges) +(\d+)", re.MULTILINE)
TIMELINE = re.compile(r"^ +\d+\.\d\d s  worker \d +(\w+)", re.MULTILINE)
OUTPUT_IN_README = (ROOT / "README.md").read_text(encoding="utf-8").partition("```text\n")[2].partition("```")[0]


def test_an_interrupted_demo_leaves_no_process_and_the_next_one_charges_every_order_once(tmp_path: Path) -> None:
    with demo(tmp_path) as interrupted:
        until_said(interrupted, "of 500 orders")
        interrupted.send_signal(signal.SIGINT)
        interrupted.communicate(timeout=30)
    assert interrupted.returncode == 130

    with demo(tmp_path, "--orders", "100") as process:
        said, _ = process.communicate(timeout=100)

    totals = dict(TOTALS.findall(said))
    assert process.returncode == 0, said
    assert totals["completed"] == totals["charges"] == "101"
    assert int(totals["requests"]) == 101 + int(totals["repeats absorbed"])
    assert "\x1b" not in said
    assert TIMELINE.findall(said).count("killed") == 2
    assert re.search(r'replayed +\d+  charge = await charge_card\(order\) +"ch_1", as worker \d recorded it', said)
    assert shape(OUTPUT_IN_README) <= shape(said)
    shows_what_it_names(said, tmp_path)


def test_the_sabotaged_demo_ends_red_with_double_charges(tmp_path: Path) -> None:
    with demo(tmp_path, "--orders", "200", "--sabotage", "no-key") as process:
        said, _ = process.communicate(timeout=100)

    totals = dict(TOTALS.findall(said))
    assert process.returncode == 1, said
    assert totals["repeats absorbed"] == "0"
    assert int(totals["charges"]) > int(totals["completed"])
    assert "orders were charged more than once" in said


def test_of_two_demos_in_one_directory_the_second_is_refused_and_the_first_leaves_no_process_when_it_is_killed(
    tmp_path: Path,
) -> None:
    with demo(tmp_path) as first:
        until_said(first, "One order")
        with demo(tmp_path) as second:
            said, _ = second.communicate(timeout=30)
        until_said(first, "killed")
        first.kill()  # The fixture `nothing_left_running` looks for the workers, the services and the server.

    assert second.returncode == 2
    assert said == f"another demo or playground runs in {tmp_path / 'relight'}; wait for its end\n"


def test_the_playground_without_a_terminal_prints_its_help_and_ends(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "examples.demo.play"]

    ended = subprocess.run(command, check=True, cwd=ROOT, env=environment(tmp_path), capture_output=True, text=True)

    assert "approve RUN" in ended.stdout


def test_the_playground_starts_kills_and_approves(tmp_path: Path) -> None:
    terminal, inside = os.openpty()
    command = [sys.executable, "-m", "examples.demo.play"]
    with subprocess.Popen(command, cwd=ROOT, env=environment(tmp_path), stdin=inside, stdout=inside) as process:
        os.close(inside)
        read_until(terminal, "quit            end")
        os.write(terminal, b"start 1000\n")
        id = re.findall(r"started (\S+);", read_until(terminal, "now try"))[0]
        os.write(terminal, b"kill 1\n")
        read_until(terminal, "worker 3 is ready")
        os.write(terminal, b"kill 9\nruns\n")
        said = read_until(terminal, id)
        os.write(terminal, b"quit\n")
        read_until(terminal, "have ended")
        assert process.wait(30) == 0
    os.close(terminal)
    assert "there is no worker '9'" in said


def demo(directory: Path, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-u", "-m", "examples.demo", *arguments],
        cwd=ROOT,
        env=environment(directory),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def environment(directory: Path) -> dict[str, str]:
    others = {name: value for name, value in os.environ.items() if not name.startswith("RELIGHT_")}
    return {**others, "RELIGHT_LOCAL_DIRECTORY": str(directory / "relight")}


def until_said(process: subprocess.Popen[str], text: str) -> None:
    assert process.stdout is not None
    for line in process.stdout:
        if text in line:
            return
    raise AssertionError(f"the demo ended without having said {text!r}")


def read_until(terminal: int, text: str) -> str:
    said = ""
    while text not in said:
        said += os.read(terminal, 4096).decode()
    return said


def shape(said: str) -> set[str]:
    """The lines without what differs from one demo to the next: numbers, and how many spaces they need."""
    return {re.sub(r"\d[\d.,]*", "0", " ".join(line.split())) for line in said.splitlines()}


def shows_what_it_names(said: str, directory: Path) -> None:
    """The commands at the end of the demo work at once, as they stand."""
    for verb in ("show", "history"):
        command = re.findall(rf"^  (\S+relight {verb} \S+)$", said, re.MULTILINE)[0].split()
        ended = subprocess.run(
            command, check=False, cwd=ROOT, env=environment(directory), capture_output=True, text=True
        )
        assert ended.returncode == 0, ended.stderr
        assert "completed" in ended.stdout.lower()
