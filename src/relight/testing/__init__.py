"""For tests of workflows: in memory, with the real engine, virtual time and crashes at will."""

from relight.testing.crash import CrashFailure, CrashReport, crash_everywhere
from relight.testing.environment import TestEnvironment
from relight.testing.stage import StalledError

__all__ = ("CrashFailure", "CrashReport", "StalledError", "TestEnvironment", "crash_everywhere")
