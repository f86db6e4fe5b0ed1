"""Where in the user's code a call stands."""

from __future__ import annotations

import asyncio
import os
import sys
from functools import lru_cache
from types import FrameType

__all__ = ("caller",)

_OURS = os.path.dirname(os.path.dirname(os.path.abspath(__file__))) + os.sep
_ASYNCIO = os.path.dirname(os.path.abspath(asyncio.__file__)) + os.sep
_RUN_BEGINS_IN = "_run_passes"


def caller() -> str:
    """Return file:line of the innermost frame that is neither ours nor asyncio's, in the run that is at work.

    A task whose code is all ours (`asyncio.gather(ctx.call(…))`) says where it was made; empty, if that is unknown.
    """
    frame: FrameType | None = sys._getframe(1)  # pyright: ignore[reportPrivateUsage]  # there is no public one that is cheap
    while frame is not None:
        name = _short(frame.f_code.co_filename)
        if name:
            return f"{name}:{frame.f_lineno}"
        if frame.f_code.co_name == _RUN_BEGINS_IN:
            break  # What called the run's loop is the worker, not the user's code.
        frame = frame.f_back
    return getattr(asyncio.current_task(), "place", "")


@lru_cache(maxsize=4096)
def _short(path: str) -> str:
    """The file's last two parts: enough to find it, the same on every machine."""
    if path.startswith((_OURS, _ASYNCIO)) or path.startswith("<frozen"):
        return ""
    return "/".join(path.replace("\\", "/").rsplit("/", 2)[-2:])
