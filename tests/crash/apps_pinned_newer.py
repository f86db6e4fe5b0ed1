"""The newer deployment of the workflow in `apps_pinned`."""

from __future__ import annotations

from typing import Any

from tests.crash.apps_pinned import stays_newer

from relight import Workflow

__all__ = ("WORKFLOWS",)

WORKFLOWS: dict[str, Workflow[..., Any]] = {"stays": stays_newer}
