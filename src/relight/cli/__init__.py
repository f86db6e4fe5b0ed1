"""The command `relight`. Nothing but the standard library is loaded before a verb is chosen."""

from __future__ import annotations

__all__ = ("main",)


def main() -> None:
    """Run the command with the process's arguments and end the process: 0 done, 1 refused or failed, 2 wrong usage."""
    from relight.cli.application import run_application

    run_application()
