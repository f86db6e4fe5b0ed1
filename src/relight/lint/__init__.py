"""Looks through workflows for what would not be the same in a replay. It reads source text and runs none of it."""

from __future__ import annotations

from relight.lint.finding import Caller, Finding
from relight.lint.linting import Report
from relight.lint.rules import RULES, Rule
from relight.lint.sources import lint_sources

__all__ = ("RULES", "Caller", "Finding", "Report", "Rule", "lint_sources")
