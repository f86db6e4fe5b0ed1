"""The gate for what the running step hands on: no known secret of its worker leaves the process in a value."""

from __future__ import annotations

from relight.sdk._scope import SCOPE, StepScope

__all__ = ("check_secrets", "redacted", "shortened")


def check_secrets(data: bytes, *, what: str, root: str = "value") -> None:
    """Refuse the JSON of a value in which a secret stands that the worker of the step here has revealed.

    A workflow's values are checked when its turn is made: an error here would be none in a replay elsewhere.

    Raises:
        SecretExposedError: It names the secret and the place.
    """
    scope = SCOPE.get()
    if isinstance(scope, StepScope) and scope.secrets is not None and scope.secrets.is_used:
        scope.secrets.check(data, what=what, root=root)


def shortened(text: str, characters_max: int) -> str:
    """Return the beginning of a text, in a step without known secrets: of one that is cut, a part could be left."""
    return redacted(text)[:characters_max]


def redacted(text: str) -> str:
    """Return words for others, of the step that runs here, with `[secret NAME]` in place of what is known."""
    scope = SCOPE.get()
    return scope.secrets.redacted(text) if isinstance(scope, StepScope) and scope.secrets is not None else text
