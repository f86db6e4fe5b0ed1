"""What the process has imported from which `tests.forked` forks: all that a worker and the command use."""

from __future__ import annotations

import importlib
import pkgutil

from tests.crash import apps, apps_fleet
from tests.integration import cli_process, keeper_worker

import relight.cli

__all__ = ("apps", "apps_fleet", "cli_process", "keeper_worker")

for _module in pkgutil.iter_modules(relight.cli.__path__):
    if _module.name != "__main__":
        importlib.import_module(f"relight.cli.{_module.name}")
