"""Values for which there is no annotation on this side: data of suspensions, signals, answers, details."""

from __future__ import annotations

from pydantic_core import PydanticSerializationError, to_json

from relight.config.limits import LIMITS
from relight.errors import InvalidValueError, PayloadTooLargeError
from relight.sdk._gate import check_secrets, shortened

__all__ = ("check_size", "checked_text", "encode_any")


def encode_any(value: object, *, what: str, bytes_max: int = LIMITS.payload_bytes_max) -> bytes:
    """Return a value as JSON; models, dataclasses, dates and the like as pydantic writes them.

    Raises:
        InvalidValueError: It can't be written as JSON.
        PayloadTooLargeError: Larger than `bytes_max` bytes.
        SecretExposedError: A secret stands in it that the worker of the step here has revealed.
    """
    try:
        data = to_json(value, bytes_mode="base64", inf_nan_mode="strings")
    except (PydanticSerializationError, ValueError) as error:
        raise InvalidValueError(
            what, "", shortened(str(error), 200), "pass JSON values, models or dataclasses"
        ) from None
    check_size(data, bytes_max, what=what)
    check_secrets(data, what=what)
    return data


def check_size(data: bytes, bytes_max: int, *, what: str) -> None:
    """Refuse what is larger. Raises `PayloadTooLargeError`."""
    if len(data) > bytes_max:
        raise PayloadTooLargeError(what, size_bytes=len(data), limit_bytes=bytes_max)


def checked_text(text: str, *, what: str) -> str:
    """Return a text that can be recorded. Raises like `encode_any`, and `InvalidValueError` if it is none."""
    if not isinstance(text, str):  # pyright: ignore[reportUnnecessaryIsInstance]  # what users may pass
        raise InvalidValueError(what, "", f"{type(text).__name__} is no text", "pass a str")
    encode_any(text, what=what)
    return text
