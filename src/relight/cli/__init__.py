"""The command `relight`. Nothing but the standard library is loaded before a verb is chosen."""

from __future__ import annotations

import io
import os
import sys

__all__ = ("main",)


def main() -> None:
    """Run the command with the process's arguments and end the process: 0 done, 1 refused or failed, 2 wrong usage."""
    _make_output_take_everything()
    try:
        from relight.cli.application import run_application

        run_application()
    except KeyboardInterrupt:  # While it was loaded: a verb has its own answer.
        sys.exit(130)


def _make_output_take_everything() -> None:
    """What the terminal's encoding lacks is written as an escape; what was closed takes what nobody wants to see."""
    for name in ("stdout", "stderr"):
        stream: io.TextIOWrapper | None = getattr(sys, name)
        if stream is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115 - as long as the process
        else:
            stream.reconfigure(errors="backslashreplace")
