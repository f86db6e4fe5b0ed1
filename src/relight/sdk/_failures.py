"""Errors as they are recorded: names, message and traceback text; never objects."""

from __future__ import annotations

import traceback

from relight.config.limits import KIB
from relight.errors import StepFailed
from relight.sdk._known_secrets import Secrets
from relight.subjects.records import Failure

__all__ = ("failure_of", "step_failed")

_MESSAGE_CHARACTERS_MAX = 4 * KIB
_TRACEBACK_CHARACTERS_MAX = 8 * KIB


def failure_of(error: BaseException, secrets: Secrets) -> Failure:
    """Return what is recorded of an error, without known secrets. A `StepFailed` stays what it was, wherever it is
    raised again.
    """
    kinds = [f"{one.__module__}.{one.__qualname__}" for one in type(error).__mro__ if one is not object]
    text = "".join(traceback.format_exception(error))
    return Failure(
        type=kinds[0],
        message=secrets.redacted(_printable(str(error)))[:_MESSAGE_CHARACTERS_MAX],
        bases=tuple(kinds[1:]),
        traceback=secrets.redacted(_printable(text))[-_TRACEBACK_CHARACTERS_MAX:],
    )


def step_failed(step: str, failure: Failure) -> StepFailed:
    """Return the exception that the workflow sees, the same live and in replay."""
    return StepFailed(
        failure.message, error_type=failure.type, bases=failure.bases, traceback=failure.traceback, step=step
    )


def _printable(text: str) -> str:
    """Lone surrogates can't be written as JSON."""
    return text.encode("utf-8", "backslashreplace").decode()
