"""Where in the user's code a call stands."""

from __future__ import annotations

import os
import sys
from functools import lru_cache
from types import FrameType

__all__ = ("caller",)

_OURS = os.path.dirname(os.path.dirname(os.path.abspath(__file__))) + os.sep
_ASYNCIO = os.path.dirname(os.path.abspath(sys.modules["asyncio"].__file__ or "")) + os.sep


def caller() -> str:
    """Return file:line of the innermost frame that is neither ours nor asyncio's; empty if there is none."""
    frame: FrameType | None = sys._getframe(1)  # pyright: ignore[reportPrivateUsage]  # there is no public one that is cheap
    while frame is not None:
        name = _short(frame.f_code.co_filename)
        if name:
            return f"{name}:{frame.f_lineno}"
        frame = frame.f_back
    return ""


@lru_cache(maxsize=4096)
def _short(path: str) -> str:
    """The file's last two parts: enough to find it, the same on every machine."""
    if path.startswith((_OURS, _ASYNCIO)) or path.startswith("<frozen"):
        return ""
    return "/".join(path.replace("\\", "/").rsplit("/", 2)[-2:])
