"""Values for which there is no annotation on this side: data of suspensions, signals, answers, details.

Who reads them has one, most likely the value's own class. So a model or dataclass is written as its class reads it, by
field name, and what is sent is proven to be read as it was. What a workflow leaves is not proven: an error here would
be none in histories that have the value.
"""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel
from pydantic_core import PydanticSerializationError, from_json, to_json

from relight.config.limits import LIMITS
from relight.errors import InvalidValueError, PayloadTooLargeError
from relight.sdk._gate import check_secrets, shortened
from relight.sdk._values import ValueType, value_type
from relight.sdk._values_order import with_ordered_sets

__all__ = ("check_size", "checked_text", "encode_any", "encode_as_ever", "encode_sent")


def encode_sent(value: object, *, what: str, bytes_max: int = LIMITS.payload_bytes_max) -> bytes:
    """Return a value as JSON for somebody else, who reads it by a type that is not known here.

    Raises:
        InvalidValueError: It can't be written as JSON, or would not be read: a model or dataclass as it is, the rest at
            all.
        PayloadTooLargeError: Larger than `bytes_max` bytes.
        SecretExposedError: A secret stands in it that the worker of the step here has revealed.
    """
    own = _own_type(value)
    if own is not None:
        return _checked(own.record(value, what=what, root="value")[0], what, bytes_max)
    data = _checked(_written(value, what), what, bytes_max)
    try:
        from_json(data)
    except ValueError:
        problem = "JSON readers refuse it: too deep, or an int of too many digits"
        raise InvalidValueError(what, "", problem, "pass it as text") from None
    return data


def encode_any(value: object, *, what: str, bytes_max: int = LIMITS.payload_bytes_max) -> bytes:
    """Return a value as JSON; models, dataclasses, dates and the like as pydantic writes them.

    Raises:
        InvalidValueError: It can't be written as JSON.
        PayloadTooLargeError: Larger than `bytes_max` bytes.
        SecretExposedError: A secret stands in it that the worker of the step here has revealed.
    """
    own = _own_type(value)
    try:
        data = _written(value, what) if own is None else own.record(value, what=what, root="value")[0]
    except InvalidValueError:
        data = _written(value, what)
    return _checked(data, what, bytes_max)


def encode_as_ever(value: object, *, what: str, bytes_max: int = LIMITS.payload_bytes_max) -> bytes:
    """Return a value as JSON whose bytes are part of digests in histories. Raises like `encode_any`."""
    return _checked(_written(value, what, is_as_ever=True), what, bytes_max)


def _own_type(value: object) -> ValueType[Any] | None:
    kind = type(value)
    if not (isinstance(value, BaseModel) or hasattr(kind, "__dataclass_fields__")):
        return None
    try:
        return value_type(kind)
    except InvalidValueError:
        return None  # Nobody can read it as what it is; as a dict they can.


def _written(value: object, what: str, *, is_as_ever: bool = False) -> bytes:
    try:
        return to_json(
            with_ordered_sets(value, is_as_ever),
            bytes_mode="base64",
            inf_nan_mode="strings",
            by_alias=is_as_ever,
            round_trip=not is_as_ever,
        )
    except (PydanticSerializationError, ValueError, RecursionError) as error:
        problem = shortened(str(error), 200)
        raise InvalidValueError(what, "", problem, "pass JSON values, models or dataclasses") from None


def _checked(data: bytes, what: str, bytes_max: int) -> bytes:
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
