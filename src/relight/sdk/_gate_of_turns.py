"""The gate for what a workflow asks for. It is passed when the turn is made, not where the code asks.

Which secrets are known depends on the process, so that an error in the code would be none in a replay elsewhere.
Instead the run is parked as stuck, with nothing recorded of what was refused, and goes on when the code is mended.
"""

from __future__ import annotations

from typing import TypeVar, cast

import msgspec
from msgspec import Raw

from relight.actors import program as p
from relight.errors import SecretExposedError
from relight.sdk._known_secrets import Secrets

__all__ = ("gated",)

_TEXTS = ("reason", "problem")
"""Fields with words about what happened; names and ids are not among them."""

Asked = TypeVar("Asked", bound=msgspec.Struct)


def gated(asked: list[p.Asked], secrets: Secrets) -> list[p.Asked]:
    """Return what may be recorded: words without known secrets.

    Raises:
        BrokenProgramError: A known secret stands in a value.
    """
    try:
        return [_gated(one, secrets) for one in asked]
    except SecretExposedError as error:
        raise p.BrokenProgramError(str(error)) from None


def _gated(asked: Asked, secrets: Secrets) -> Asked:
    changed: dict[str, str] = {}
    for field in asked.__struct_fields__:
        value: object = getattr(asked, field)
        if field in _TEXTS and isinstance(value, str):
            changed[field] = secrets.redacted(value)
        for one in cast("tuple[object, ...]", value) if isinstance(value, tuple) else (value,):
            if isinstance(one, Raw):
                secrets.check(bytes(one), what=f"what the workflow records ({type(asked).__name__})", root=field)
    return msgspec.structs.replace(asked, **changed) if changed else asked
