"""What the shell completes: run ids and workflow names, as far as the server says them at once."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import get_args

__all__ = ("complete_run", "complete_status", "complete_workflow")

_SECONDS = 0.8
_RUNS_MAX = 100


def complete_run(incomplete: str) -> list[str]:
    """Return ids of the newest runs."""
    return [run for run, _ in _newest() if run.startswith(incomplete)]


def complete_workflow(incomplete: str) -> list[str]:
    """Return names of workflows that ran lately."""
    return [name for name in dict.fromkeys(name for _, name in _newest() if name) if name.startswith(incomplete)]


def complete_status(incomplete: str) -> list[str]:
    """Return the words for how a run stands."""
    from relight.sdk._run import RunStatus

    return [one for one in get_args(RunStatus) if one.startswith(incomplete)]


def _newest() -> list[tuple[str, str]]:
    if "RELIGHT_URL" not in os.environ and not Path(_directory(), "state.json").exists():
        return []
    try:
        return asyncio.run(_ask())
    except Exception:  # noqa: BLE001 - a shell that completes nothing says enough; a word here would end up in its line
        return []


def _directory() -> str:
    return os.environ.get("RELIGHT_LOCAL_DIRECTORY") or ".relight"


async def _ask() -> list[tuple[str, str]]:
    from relight.cli.listing import newest
    from relight.cli.place import find_place
    from relight.cli.session import client

    async with asyncio.timeout(_SECONDS):
        async with client(find_place(url=None, namespace=None, credentials=None)) as relight:
            return [(one.run, one.workflow) for one in (await newest(relight, limit=_RUNS_MAX)).runs]
