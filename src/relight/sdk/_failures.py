"""Errors as they are recorded: names, message and traceback text; never objects."""

from __future__ import annotations

import traceback
from pathlib import Path
from typing import cast

from relight.config.limits import KIB
from relight.errors import RelightError, RunFailed, StepFailed
from relight.sdk._known_secrets import Secrets
from relight.subjects.records import Failure

__all__ = ("failure_of", "step_failed")

_MESSAGE_CHARACTERS_MAX = 4 * KIB
_TRACEBACK_CHARACTERS_MAX = 8 * KIB
_OURS = f"{Path(__file__).parents[1]}/"
_CAUSED = "\nThe above exception was the direct cause of the following exception:\n\n"


def failure_of(error: BaseException, secrets: Secrets) -> Failure:
    """Return what is recorded of an error, without known secrets. A `StepFailed` stays what it was, wherever it is
    raised again. The traceback shows users' lines, those of the step or the child that failed first.

    Whatever the error's own code does: an error that could not be recorded would keep its run from going on.
    """
    kinds = [f"{one.__module__}.{one.__qualname__}" for one in type(error).__mro__ if one is not object]
    try:
        text = _traceback(error)
    except Exception as broken:  # noqa: BLE001 - a property of the error can raise anything
        text = f"(no traceback: the error's own code raised {type(broken).__name__})"
    return Failure(
        type=kinds[0],
        message=secrets.redacted(_printable(_message(error)))[:_MESSAGE_CHARACTERS_MAX],
        bases=tuple(kinds[1:]),
        traceback=secrets.redacted(_printable(text))[-_TRACEBACK_CHARACTERS_MAX:],
    )


def step_failed(step: str, failure: Failure) -> StepFailed:
    """Return the exception that the workflow sees, the same live and in replay."""
    return StepFailed(
        failure.message, error_type=failure.type, bases=failure.bases, traceback=failure.traceback, step=step
    )


def _message(error: BaseException) -> str:
    try:
        return str(error)
    except Exception as broken:  # noqa: BLE001 - `__str__` of the error can raise anything
        return f"(no message: the error's own code raised {type(broken).__name__})"


def _traceback(error: BaseException) -> str:
    """Return the text of a traceback; empty if it would show nothing but lines of Relight."""
    said = traceback.TracebackException.from_exception(error, compact=True)
    pairs: list[tuple[traceback.TracebackException, BaseException | None]] = [(said, error)]
    has_lines = False
    while pairs:
        one, raised = pairs.pop()
        one.stack[:] = _of_users(one.stack, is_refusal=isinstance(raised, RelightError))
        has_lines = has_lines or bool(one.stack)
        pairs += _causes(one, raised)
    recorded = error.traceback if isinstance(error, StepFailed | RunFailed) else ""
    own = "".join(said.format()) if has_lines else ""
    return f"{recorded.rstrip()}\n{_CAUSED}{own}" if recorded and own else recorded or own


def _of_users(frames: list[traceback.FrameSummary], *, is_refusal: bool) -> list[traceback.FrameSummary]:
    """Leave out what led to the first line of a user, and all of Relight if it says by the error what is wrong."""
    theirs = [index for index, one in enumerate(frames) if not one.filename.startswith(_OURS)]
    if is_refusal:
        return [frames[index] for index in theirs]
    return frames[theirs[0] :] if theirs else frames


def _causes(
    said: traceback.TracebackException, raised: BaseException | None
) -> list[tuple[traceback.TracebackException, BaseException | None]]:
    if raised is None:
        return []
    group = cast("BaseExceptionGroup[BaseException]", raised) if isinstance(raised, BaseExceptionGroup) else None
    inner = group.exceptions if group else ()
    pairs = [(said.__cause__, raised.__cause__), (said.__context__, raised.__context__)]
    pairs += zip(said.exceptions or (), inner, strict=False)
    return [(one, cause) for one, cause in pairs if one is not None]


def _printable(text: str) -> str:
    """Lone surrogates can't be written as JSON."""
    return text.encode("utf-8", "backslashreplace").decode()
