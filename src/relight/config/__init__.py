"""What a deployment can't choose (`limits`), what it can (`settings`), and servers of one's own (`server`, `local`).

Only the bounds are exported here: the pure modules import them, and must not load the rest.
"""

from __future__ import annotations

from relight.config.limits import LIMITS, Limits

__all__ = ("LIMITS", "Limits")
