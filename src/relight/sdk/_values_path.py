"""Where in a value something stands, as errors say it.

A path becomes part of records, so it is bounded; and it is cut between steps only: a key of which a part is left could
be a secret that can't be recognised any more.
"""

from __future__ import annotations

__all__ = ("at_key", "at_name", "joined")

_KEY_MAX = 80
_PATH_MAX = 400
_SHOWN = (str, int, bool, bytes, type(None))


def at_name(name: str) -> str:
    """Return the step to an attribute, or to a key that can be written like one."""
    return f".{name}" if name.isidentifier() and len(name) <= _KEY_MAX else at_key(name)


def at_key(key: object) -> str:
    """Return the step to a key; one that is long is not shown, one that is no plain value only by its type."""
    text = repr(key) if type(key) in _SHOWN else type(key).__qualname__
    return f"[{text}]" if len(text) <= _KEY_MAX else f"[a key of {len(text)} characters]"


def joined(first: str, second: str) -> str:
    """Return a path of two parts; the second is left out if it is long."""
    return f"{first}{second if len(second) <= _PATH_MAX else '…'}"
