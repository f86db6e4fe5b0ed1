"""What is wrong with a value, where, and what to do about it: type and path, never the content."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import is_dataclass
from datetime import date, time, timedelta
from decimal import Decimal
from enum import Enum
from functools import reduce
from typing import Literal, NamedTuple, TypeAlias, cast
from uuid import UUID

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails, PydanticSerializationError, from_json, to_json

from relight.sdk._gate import shortened
from relight.sdk._values_compare import Difference, state_of
from relight.sdk._values_path import at_key, at_name, joined

__all__ = ("Problem", "annotation_name", "problem_of_difference", "problem_of_encoding", "problem_of_validation")

_BytesMode: TypeAlias = Literal["utf8", "base64"]

_TEXT_MAX = 160
_DEPTH_MAX = 50
_PLAIN = "plain data (None, bool, int, float, str, list, dict with str keys), a dataclass or a pydantic model"
_BYTES = 'give its model or dataclass the pydantic config ser_json_bytes="base64", val_json_bytes="base64"'
_NAN = 'give its model or dataclass the pydantic config ser_json_inf_nan="strings"'
_TEXTUAL = (date, time, timedelta, Decimal, UUID, bytes, Enum)


class Problem(NamedTuple):
    path: str
    text: str
    remedy: str


def annotation_name(annotation: object) -> str:
    """Return the annotation as a person would write it, cut to 80 characters."""
    text = annotation.__qualname__ if type(annotation) is type or isinstance(annotation, type) else repr(annotation)
    return text[:80]


def problem_of_difference(found: Difference, annotation: str) -> Problem:
    """`annotation` is empty for an unannotated value."""
    return Problem(found.path, found.problem, _remedy(found.returned, found.decoded, annotation))


def _remedy(returned: object, decoded: object, annotation: str) -> str:
    kind = type(returned).__qualname__
    if not annotation or annotation in ("dict", "list"):
        return _remedy_unannotated(returned, kind)
    if isinstance(returned, float) and not math.isfinite(returned):
        return f"annotate it as float there instead of as part of {annotation}, or in a model: {_NAN}"
    if type(returned) is type(decoded):
        return f"pass a {kind} that JSON gives back as it was, and let {annotation} change nothing when it is read"
    is_text = isinstance(returned, (str, *_TEXTUAL)) and isinstance(decoded, (str, *_TEXTUAL))
    if is_text or ("|" in annotation and kind in annotation):
        return (
            f"text can't tell the members of {annotation} apart in JSON; "
            "use one of the types, or put it in a model with a field that says which it is"
        )
    if isinstance(returned, type(decoded)):
        return f"name {kind} in the annotation {annotation}, or use {type(decoded).__qualname__} itself"
    return f"name {kind} in the annotation {annotation}, or pass what the annotation says"


def _remedy_unannotated(returned: object, kind: str) -> str:
    if isinstance(returned, dict):
        return "annotate the type, for example dict[int, str], or use str keys"
    if type(returned) in (list, str, int, bool, type(None)):
        return f"annotate the type, or use {_PLAIN}"
    return f"annotate the type, for example -> {kind}, or use {_PLAIN}"


def problem_of_encoding(value: object, error: Exception) -> Problem:
    """Find the part of `value` that JSON can't hold."""
    path, part = _unencodable(value, "base64") or _unencodable(value, "utf8") or ("", value)
    kind = type(part).__qualname__
    if isinstance(part, str):
        return Problem(path, "the str holds lone surrogates, which no UTF-8 text can", "use bytes, annotated as bytes")
    if isinstance(part, bytes):
        return Problem(path, "the bytes are not UTF-8, which is what the model's own settings write", _BYTES)
    if isinstance(error, RecursionError) or "ircular" in str(error) or "depth" in str(error):
        return Problem(path, f"the {kind} is nested too deeply, or holds itself", f"use {_PLAIN}")
    return Problem(path, f"{kind} can't be written as JSON", f"use {_PLAIN}; keep clients and locks in step.deps")


def _unencodable(value: object, bytes_mode: _BytesMode, depth: int = 0) -> tuple[str, object] | None:
    if depth > _DEPTH_MAX or _is_encodable(value, bytes_mode):
        return None
    for step, part in _parts(value):
        if found := _unencodable(part, bytes_mode, depth + 1):
            return joined(step, found[0]), found[1]
    return "", value


def _is_encodable(value: object, bytes_mode: _BytesMode) -> bool:
    try:
        to_json(value, bytes_mode=bytes_mode)
    except (PydanticSerializationError, ValueError, RecursionError):
        return False
    return True


def _parts(value: object) -> Iterator[tuple[str, object]]:
    if isinstance(value, dict):
        for key, item in cast("dict[object, object]", value).items():
            yield at_key(key), item
    elif isinstance(value, (list, tuple)):
        for index, item in enumerate(cast("list[object]", value)):
            yield f"[{index}]", item
    elif isinstance(value, (set, frozenset)):
        yield from (("{…}", member) for member in cast("set[object]", value))
    else:
        yield from ((at_name(name), item) for name, item in _attributes(value).items())


def _attributes(value: object) -> dict[str, object]:
    is_data = isinstance(value, BaseModel) or is_dataclass(value)
    return state_of(value) if is_data else {}


def problem_of_validation(error: ValidationError, given: object, annotation: str, *, is_own: bool = False) -> Problem:
    """Say what the annotation refuses.

    Args:
        error: pydantic's.
        given: JSON as bytes, or the value itself: pydantic's location also names members of unions, which are left out.
        annotation: Its name.
        is_own: Whether `given` was just encoded here, so that what is refused is reading it back.
    """
    # Of a union each member complains; the one that got deepest was most likely meant.
    first = max(error.errors(include_url=False, include_input=False), key=lambda one: len(one["loc"]))
    path, part = _place(first["loc"], _parsed(given), missing=first["type"] == "missing")
    others = f" (and {error.error_count() - 1} more)" if error.error_count() > 1 else ""
    text = f"{_message(first)}{others}"
    if not is_own:
        return Problem(path, f"{text}; {_json_name(part)} was given", f"pass what {annotation} takes")
    if first["type"] == "json_invalid":
        return Problem("", "JSON readers refuse it: too deep, or an int of too many digits", "pass it as text")
    remedy = f"return what {annotation} takes, with no field left out of its JSON"
    if part is None:
        # Of nan and the infinities pydantic makes null, too.
        is_number = first["type"] == "float_type" and bool(path)
        remedy = f"return a number; for nan {_NAN}" if is_number else f"it is None: return what {annotation} takes"
    return Problem(path, f"it can't be read back: {text}", remedy)


def _message(details: ErrorDetails) -> str:
    # The only message of pydantic's that repeats the input.
    if details["type"] == "union_tag_invalid":
        return shortened(f"Input's tag should be one of {details.get('ctx', {}).get('expected_tags', '')}", _TEXT_MAX)
    return shortened(details["msg"], _TEXT_MAX)


def _json_name(part: object) -> str:
    return "null" if part is None else type(part).__qualname__


def _parsed(given: object) -> object:
    if not isinstance(given, bytes):
        return given
    try:
        return cast("object", from_json(given))
    except ValueError:
        return given


def _place(location: tuple[int | str, ...], value: object, *, missing: bool) -> tuple[str, object]:
    steps: list[str] = []
    for depth, step in enumerate(location):
        found = _child(value, step)
        if found:
            steps.append(found[0])
            value = found[1]
        elif missing and depth == len(location) - 1:
            steps.append(at_name(str(step)))
    return reduce(lambda rest, step: joined(step, rest), reversed(steps), ""), value


def _child(value: object, step: int | str) -> tuple[str, object] | None:
    if isinstance(value, dict):
        items = cast("dict[object, object]", value)
        if step not in items:
            return None
        return (at_name(step) if isinstance(step, str) else at_key(step)), items[step]
    if isinstance(value, (list, tuple)) and isinstance(step, int):
        items_list = cast("list[object]", value)
        return (f"[{step}]", items_list[step]) if step < len(items_list) else None
    attributes = _attributes(cast("object", value))  # type: ignore[redundant-cast]  # pyright needs it.
    return (at_name(step), attributes[step]) if isinstance(step, str) and step in attributes else None
