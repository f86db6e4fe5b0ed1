"""What the command does where its output can't go."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from tests.integration.cli_process import COMMAND, environment

from relight.config.server import EmbeddedServer


def said(server: EmbeddedServer, redirected: str, **variables: str) -> subprocess.CompletedProcess[bytes]:
    command = f"{COMMAND[0]} doctor {redirected}"
    variables = {"RELIGHT_URL": server.url, **variables}
    return subprocess.run(["/bin/sh", "-c", command], env=environment(variables), capture_output=True, check=False)


def test_an_encoding_that_lacks_a_character_gets_an_escape(shared_server: EmbeddedServer) -> None:
    done = said(shared_server, "", PYTHONIOENCODING="latin-1")

    assert b"\\u2192" in done.stdout
    assert done.stderr == b""


def test_a_closed_output_is_written_to_by_nobody(shared_server: EmbeddedServer) -> None:
    done = said(shared_server, ">&-")

    assert (done.returncode, done.stderr) == (said(shared_server, ">/dev/null").returncode, b"")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="a device of Linux")
def test_a_full_disk_is_one_line(shared_server: EmbeddedServer) -> None:
    done = said(shared_server, ">/dev/full")

    assert (done.returncode, done.stderr) == (1, b"[Errno 28] No space left on device\n")
