"""Where in the user's code a call stands."""

from __future__ import annotations

import asyncio
import os
import sys
import traceback
from collections.abc import Coroutine
from functools import lru_cache
from types import FrameType
from typing import Any

__all__ = ("caller", "place_of_error", "place_of_task")

_OURS = os.path.dirname(os.path.dirname(os.path.abspath(__file__))) + os.sep
_ASYNCIO = os.path.dirname(os.path.abspath(asyncio.__file__)) + os.sep
_RUN_BEGINS_IN = "_run_passes"
_KNOWS_ITS_PLACE = "await_step"


def caller(ours: int = 2) -> str:
    """Return file:line of the innermost frame that is neither ours nor asyncio's, in the run that is at work.

    So many frames, from this function's on, are known to be `ours`.

    A task whose code is all ours (`asyncio.gather(ctx.call(…))`) says where it was made; empty, if that is unknown.
    """
    # There is no public way that is as cheap.
    frame: FrameType | None = sys._getframe(ours)  # pyright: ignore[reportPrivateUsage]
    while frame is not None:
        name = _short(frame.f_code.co_filename)
        if name:
            return f"{name}:{frame.f_lineno}"
        if frame.f_code.co_name == _RUN_BEGINS_IN:
            break  # What called the run's loop is the worker, not the user's code.
        frame = frame.f_back
    return getattr(asyncio.current_task(), "place", "")


def place_of_task(coroutine: Coroutine[Any, Any, Any]) -> str:
    """Return where a task is made of this coroutine, if calls in it would not say by themselves where they stand."""
    code = getattr(coroutine, "cr_code", None)
    if code is not None and (code.co_name == _KNOWS_ITS_PLACE or _short(code.co_filename)):
        return ""
    return caller()


def place_of_error(error: BaseException) -> str:
    """Return file:line of the innermost frame that is neither ours nor asyncio's, of those through which it came."""
    places = [f"{_short(frame.f_code.co_filename)}:{line}" for frame, line in traceback.walk_tb(error.__traceback__)]
    return next((place for place in reversed(places) if not place.startswith(":")), "")


@lru_cache(maxsize=4096)
def _short(path: str) -> str:
    """The file's last two parts: enough to find it, the same on every machine."""
    if path.startswith((_OURS, _ASYNCIO)) or path.startswith("<frozen"):
        return ""
    return "/".join(path.replace("\\", "/").rsplit("/", 2)[-2:])
