"""One annotation's way to JSON and back, by pydantic, with the proof that a value survives it.

Live equals replay because the workflow always gets the decoded value. `record` refuses what would come back as another
value, so that a step's author learns it at the first call and not in a replay weeks later.

pydantic's settings here: bytes are base64, and nan and the infinities are strings, which come back as floats where the
annotation says float. Models, dataclasses and TypedDicts keep their own settings (pydantic wants it so); what those
can't carry is refused. Fields are written by name and read by name or alias, so that an alias that only validates, or
only serialises, can't lose a field.

Errors name type and path, never the value, which may be secret. For the same reason pydantic's own errors, whose text
holds the input, are not chained. Whatever else is raised comes from the user's own validators, serializers and `__eq__`
(nothing else runs here), which may raise anything: it is refused like the rest, and chained, so that its line is seen.
"""

from __future__ import annotations

import inspect
from functools import lru_cache
from typing import Any, Generic, Never, NoReturn, TypeVar, cast, final

import msgspec
from pydantic import ConfigDict, PydanticUndefinedAnnotation, TypeAdapter, ValidationError
from pydantic.errors import PydanticUserError
from pydantic_core import PydanticSerializationError

from relight.config.limits import LIMITS
from relight.errors import InvalidValueError, PayloadTooLargeError
from relight.sdk._gate import check_secrets
from relight.sdk._values_compare import ATOMS, difference
from relight.sdk._values_order import with_ordered_sets
from relight.sdk._values_remedy import (
    Problem,
    annotation_name,
    problem_of_difference,
    problem_of_encoding,
    problem_of_validation,
)

__all__ = ("ValueType", "value_type")

T = TypeVar("T")

_CONFIG = ConfigDict(
    ser_json_bytes="base64",
    val_json_bytes="base64",
    ser_json_inf_nan="strings",
    hide_input_in_errors=True,
)
_UNANNOTATED: tuple[object, ...] = (object, Any, inspect.Parameter.empty, Never, NoReturn)


@final
class ValueType(Generic[T]):
    """Encodes, decodes and proves the values of one annotation. Make it with `value_type`, which keeps it."""

    __slots__ = ("_serializer", "_validator", "is_annotated", "name")

    def __init__(self, annotation: object) -> None:
        self.is_annotated = annotation not in _UNANNOTATED
        self.name = annotation_name(annotation)
        adapter = _adapter(annotation if self.is_annotated else object)
        self._serializer = adapter.serializer
        self._validator = adapter.validator

    def encode(self, value: object, *, what: str) -> bytes:
        """Return the value as JSON. The same value gives the same bytes in every process.

        It is not proven that it can be decoded: use `record` or `accept` where a workflow gets it back.

        Args:
            value: Anything; that it fits the annotation is not checked.
            what: Names the value in errors, for example `result of charge_card`.

        Raises:
            InvalidValueError: It can't be written as JSON.
            PayloadTooLargeError: It is larger than `limits.value_bytes_max` bytes.
        """
        data = self.encode_unbounded(value, what=what)
        if len(data) > LIMITS.value_bytes_max:
            raise PayloadTooLargeError(what, size_bytes=len(data), limit_bytes=LIMITS.value_bytes_max)
        return data

    def encode_unbounded(self, value: object, *, what: str, root: str = "value") -> bytes:
        """Return the value as JSON of any size, for what is only digested. Raises `InvalidValueError` like `encode`."""
        try:
            if type(value) not in ATOMS:
                value = with_ordered_sets(value)
            # No warnings: a value that does not fit the annotation is found by decoding, which is the only proof.
            return self._serializer.to_json(value, round_trip=True, warnings=False, by_alias=False)
        except (PydanticSerializationError, UnicodeError, RecursionError) as error:
            raise _invalid(what, root, problem_of_encoding(value, error)) from None
        except Exception as error:
            raise _invalid(what, root, problem_of_encoding(value, error)) from error

    def decode(self, data: bytes | memoryview | msgspec.Raw, *, what: str, root: str = "value") -> T:
        """Return the value that the JSON stands for.

        Args:
            data: What `encode` gave, or JSON that a person wrote.
            what: Names the value in errors.
            root: How the path in errors begins.

        Raises:
            InvalidValueError: It is not JSON, or the annotation refuses it.
        """
        json = data if isinstance(data, bytes) else bytes(data)
        try:
            decoded: T = self._validator.validate_json(json, by_alias=True, by_name=True)
            return decoded
        except ValidationError as error:
            raise _invalid(what, root, problem_of_validation(error, json, self.name)) from None
        except Exception as error:
            raise _invalid(what, root, _raised(error)) from error

    def receive(self, data: bytes | memoryview | msgspec.Raw, *, what: str, root: str = "value") -> T:
        """Return what others have sent, decoded; each replay decodes it again.

        Raises:
            InvalidValueError: Like `decode`; or it would be another value the next time, for example because a default
                is made anew.
        """
        decoded = self.decode(data, what=what, root=root)
        if self.is_annotated and type(decoded) not in ATOMS:
            self._prove(decoded, self.decode(data, what=what, root=root), what, root)
        return decoded

    def record(self, value: object, *, what: str, root: str = "result") -> tuple[bytes, T]:
        """Return the JSON to record, and the value decoded from it, which is what the workflow gets.

        The decoded value is the same as `value` in type and value, recursively. An int under `float` comes back as the
        equal float, and a time zone as its offset.

        Args:
            value: What a step returned.
            what: Names the value in errors.
            root: How the path in errors begins: `result.items[3].when`.

        Raises:
            InvalidValueError: It can't be encoded or decoded, or it would not come back unchanged.
            PayloadTooLargeError: It is larger than `limits.value_bytes_max` bytes.
            SecretExposedError: A secret stands in it that the step here, or another one of its worker, has revealed.
        """
        data = self.encode_unbounded(value, what=what, root=root)
        if len(data) > LIMITS.value_bytes_max:
            raise PayloadTooLargeError(what, size_bytes=len(data), limit_bytes=LIMITS.value_bytes_max)
        # First: other errors name paths, and a key in them that is cut short can't be recognised.
        check_secrets(data, what=what, root=root)
        decoded = self._read_back(data, what, root)
        if type(value) not in ATOMS or type(decoded) is not type(value) or value != decoded:
            self._prove(value, decoded, what, root)
        return data, decoded

    def accept(self, value: object, *, what: str, root: str = "value") -> bytes:
        """Return the JSON of a value that the caller passes in, after the annotation has validated it.

        A dict may stand for a model, and what pydantic converts is converted. The validated value would be decoded
        unchanged.

        Raises:
            InvalidValueError: The annotation refuses it, or it would not arrive unchanged.
            PayloadTooLargeError: It is larger than `limits.value_bytes_max` bytes.
        """
        try:
            validated: object = self._validator.validate_python(value, by_alias=True, by_name=True)
        except ValidationError as error:
            raise _invalid(what, root, problem_of_validation(error, value, self.name)) from None
        except Exception as error:
            raise _invalid(what, root, _raised(error)) from error
        return self.record(validated, what=what, root=root)[0]

    def _read_back(self, data: bytes, what: str, root: str) -> T:
        try:
            decoded: T = self._validator.validate_json(data, by_alias=True, by_name=True)
            return decoded
        except ValidationError as error:
            raise _invalid(what, root, problem_of_validation(error, data, self.name, is_own=True)) from None
        except Exception as error:
            raise _invalid(what, root, _raised(error)) from error

    def _prove(self, value: object, decoded: object, what: str, root: str) -> None:
        try:
            found = difference(value, decoded)
        except Exception as error:
            raise _invalid(what, root, _raised(error)) from error
        if found:
            raise _invalid(what, root, problem_of_difference(found, self.name if self.is_annotated else ""))


@lru_cache(maxsize=4096)
def _kept(annotation: object, _text: str) -> ValueType[Any]:
    return ValueType(annotation)


def value_type(annotation: object) -> ValueType[Any]:
    """Return the `ValueType` of an annotation, the same one each time: classes, unions, `list[X]`, `None`, …

    `Any`, `object` and `inspect.Parameter.empty` mean unannotated: plain JSON values only.

    Raises:
        InvalidValueError: pydantic can't handle the annotation, or a name in it is not defined.
    """
    try:
        # `int | str == str | int`, but which comes first can matter to pydantic; so the text is part of the key.
        return _kept(annotation, "" if isinstance(annotation, type) else repr(annotation))
    except TypeError:
        return ValueType(annotation)


def _adapter(annotation: object) -> TypeAdapter[Any]:
    try:
        adapter = _adapter_with_config(annotation)
        if not adapter.pydantic_complete:
            adapter.rebuild(raise_errors=True)
    except PydanticUndefinedAnnotation as error:
        raise InvalidValueError(
            f"annotation {annotation_name(annotation)}",
            "",
            f"the name {error.name!r} in it is not defined",
            "define or import it at the top of its module, not only under TYPE_CHECKING",
        ) from None
    except (PydanticUserError, TypeError) as error:
        raise InvalidValueError(
            f"annotation {annotation_name(annotation)}",
            "",
            f"pydantic can't handle it ({str(error).partition(' Set `')[0].splitlines()[0][:160]})",
            "use plain types, dataclasses, TypedDicts or pydantic models; keep connections and clients in step.deps",
        ) from None
    return adapter


def _adapter_with_config(annotation: object) -> TypeAdapter[Any]:
    try:
        return TypeAdapter(cast("Any", annotation), config=_CONFIG)
    except PydanticUserError as error:
        if error.code != "type-adapter-config-unused":
            raise
        return TypeAdapter(cast("Any", annotation))


def _invalid(what: str, root: str, problem: Problem) -> InvalidValueError:
    return InvalidValueError(what, f"{root}{problem.path}" if problem.path else "", problem.text, problem.remedy)


def _raised(error: Exception) -> Problem:
    return Problem("", f"its own code raised {type(error).__qualname__}", "see the error above for where")
