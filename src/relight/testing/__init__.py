"""For tests of workflows: in memory, with the real engine, virtual time and faults at will.

Everything is loaded when it is first used: the plugin for pytest lives in this package, and pytest loads it in every
project, also where no test has to do with Relight.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from relight.testing.crash import CrashFailure, CrashReport, crash_everywhere
    from relight.testing.environment import TestEnvironment
    from relight.testing.golden import GoldenFailure
    from relight.testing.linting import Finding, lint
    from relight.testing.replaying import replay
    from relight.testing.simulation import SimulationFailure, SimulationReport
    from relight.testing.stage import StalledError

__all__ = (
    "CrashFailure",
    "CrashReport",
    "Finding",
    "GoldenFailure",
    "SimulationFailure",
    "SimulationReport",
    "StalledError",
    "TestEnvironment",
    "crash_everywhere",
    "lint",
    "replay",
)

_HOMES = {
    "CrashFailure": "crash",
    "CrashReport": "crash",
    "Finding": "linting",
    "GoldenFailure": "golden",
    "SimulationFailure": "simulation",
    "SimulationReport": "simulation",
    "StalledError": "stage",
    "TestEnvironment": "environment",
    "crash_everywhere": "crash",
    "lint": "linting",
    "replay": "replaying",
}
"""The module of this package in which each name lives."""


if not TYPE_CHECKING:
    # Unseen by type checkers, for which every name of the module would exist otherwise.
    def __getattr__(name: str) -> object:
        if name not in _HOMES:
            raise AttributeError(f"module 'relight.testing' has no attribute {name!r}")
        value: object = getattr(import_module(f"relight.testing.{_HOMES[name]}"), name)
        globals()[name] = value
        return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
