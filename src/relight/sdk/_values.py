"""What the functions of users take and give: the value types of a signature, and the digest of a call.

A step is matched in replay by a digest of its arguments. So one call has one digest, however it is written
(`charge("c", 1)`, `charge("c", cents=1)`), and defaults that are not passed are not part of it: a step may get a new
optional parameter without losing the runs that are under way.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from copy import deepcopy
from functools import partial
from hashlib import blake2b
from types import CellType, MethodType, SimpleNamespace
from typing import Any, NamedTuple, ParamSpecArgs, ParamSpecKwargs, cast, final, get_args, get_origin, get_type_hints
from weakref import WeakKeyDictionary

import msgspec
from typing_extensions import Format, Unpack, get_annotations

from relight.errors import InvalidValueError
from relight.sdk._values_compare import ATOMS
from relight.sdk._values_type import ValueType, value_type

__all__ = ("Signature", "ValueType", "as_they_are", "digest", "signature_types", "value_type")

_NOT_PASSED = b""
_REMEDY = "pass exactly the workflow's parameters, by position"
_UNKNOWN = inspect.Signature(
    [
        inspect.Parameter("args", inspect.Parameter.VAR_POSITIONAL),
        inspect.Parameter("kwargs", inspect.Parameter.VAR_KEYWORD),
    ]
)


def digest(arguments: Sequence[bytes]) -> str:
    """Return 16 hexadecimal digits that stand for these encoded arguments, the same in every process and version."""
    # JSON holds no raw control characters, so that NUL can't be part of an argument.
    return blake2b(b"\0".join(arguments), digest_size=8).hexdigest()


def as_they_are(args: tuple[Any, ...], kwargs: dict[str, Any], *, what: str) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Return the arguments of a call as they are now: who changes an object later, changes another one.

    Raises:
        InvalidValueError: One can't be copied.
    """
    if not kwargs:
        for one in args:
            if type(one) not in ATOMS:
                break
        else:
            return args, kwargs
    try:
        return deepcopy((args, kwargs))
    except Exception as error:
        problem = f"an argument can't be copied ({type(error).__name__}: {error})"
        raise InvalidValueError(what, "", problem, "pass plain data, such as a model without locks") from error


class _Parameter(NamedTuple):
    name: str
    what: str
    type: ValueType[Any]
    is_required: bool


@final
class Signature:
    """The value types of one function's parameters and of its result."""

    __slots__ = (
        "_args_min",
        "_by_name",
        "_keyword",
        "_positional",
        "_rest",
        "_rest_by_name",
        "_shape",
        "name",
        "result",
    )

    def __init__(self, name: str, shape: inspect.Signature, hints: Mapping[str, object]) -> None:
        self.name = name
        self.result: ValueType[Any] = value_type(_awaited(hints.get("return", object)))
        self._shape = shape
        of_kind = {kind: [_parameter(name, one, hints) for one in _of(shape, kind)] for kind in _KINDS}
        self._positional = (*of_kind[_POSITIONAL_ONLY], *of_kind[_POSITIONAL])
        self._keyword = tuple(of_kind[_KEYWORD])
        self._rest = next(iter(of_kind[_REST]), None)
        self._rest_by_name = next(iter(of_kind[_REST_BY_NAME]), None)
        slots = (*self._positional, *self._keyword)
        self._args_min = _args_min(self._positional, self._keyword)
        self._by_name = {one.name: index for index, one in enumerate(slots)}
        for one in of_kind[_POSITIONAL_ONLY]:
            del self._by_name[one.name]

    def digest(self, args: Sequence[object], kwargs: Mapping[str, object]) -> str:
        """Return the digest of a call. The same arguments give the same digest, by position or by keyword.

        Raises:
            InvalidValueError: An argument can't be written as JSON; it names the parameter.
            TypeError: The function can't be called so.
        """
        if not kwargs and self._args_min <= len(args) <= len(self._positional):
            pairs = zip(self._positional, args)  # noqa: B905 - those that are not passed have defaults
            return digest([one.type.encode_unbounded(arg, what=one.what, root=one.name) for one, arg in pairs])
        direct = self._direct(args, kwargs)
        return digest(self._bound(args, kwargs) if direct is None else direct)

    def encode_arguments(self, args: Sequence[object]) -> tuple[bytes, ...]:
        """Return the arguments of a workflow as JSON, each validated by its parameter's annotation.

        Raises:
            InvalidValueError: One is missing, too many, or refused; it names the parameter. Nothing was sent.
            PayloadTooLargeError: One is larger than `limits.value_bytes_max` bytes.
        """
        parameters = self._parameters_of(len(args))
        self._check_nothing_is_missing(len(args))
        pairs = zip(parameters, args, strict=True)
        return tuple(one.type.accept(value, what=one.what, root=one.name) for one, value in pairs)

    def decode_arguments(
        self, raws: Sequence[bytes | memoryview | msgspec.Raw], *, unchecked: bool = False
    ) -> tuple[Any, ...]:
        """Return the arguments that were recorded. Raises `InvalidValueError` like `encode_arguments`.

        Args:
            raws: Each in its place.
            unchecked: Whoever has sent them did not know the workflow's types.
        """
        parameters = self._parameters_of(len(raws))
        self._check_nothing_is_missing(len(raws))
        pairs = zip(parameters, raws, strict=True)
        if unchecked:
            return tuple(one.type.receive(raw, what=one.what, root=one.name) for one, raw in pairs)
        return tuple(one.type.decode(raw, what=one.what, root=one.name) for one, raw in pairs)

    def _in_order(self, args: Sequence[object]) -> list[bytes]:
        pairs = zip(self._positional, args)  # noqa: B905 - those that are not passed have defaults
        return [one.type.encode_unbounded(arg, what=one.what, root=one.name) for one, arg in pairs]

    def _direct(self, args: Sequence[object], kwargs: Mapping[str, object]) -> list[bytes] | None:
        """Bind without `inspect`, which takes longer than all the rest; None if that needs a closer look."""
        positional = self._positional
        if len(args) > len(positional):
            return None
        encoded = self._in_order(args)
        slots = (*positional, *self._keyword)
        encoded += [_NOT_PASSED] * (len(slots) - len(args))
        for name, value in kwargs.items():
            index = self._by_name.get(name, -1)
            if index < len(args):
                return None
            encoded[index] = slots[index].type.encode_unbounded(value, what=slots[index].what, root=name)
        if any(one.is_required and data is _NOT_PASSED for one, data in zip(slots, encoded, strict=True)):
            return None
        return _trimmed(encoded)

    def _bound(self, args: Sequence[object], kwargs: Mapping[str, object]) -> list[bytes]:
        try:
            passed = self._shape.bind(*args, **kwargs).arguments
        except TypeError as error:
            raise TypeError(f"{self.name}: {error}") from None
        slots = (*self._positional, *self._keyword)
        encoded = [
            one.type.encode_unbounded(passed[one.name], what=one.what, root=one.name)
            if one.name in passed
            else _NOT_PASSED
            for one in slots
        ]
        return _trimmed([*encoded, self._rest_of(passed), self._rest_by_name_of(passed)])

    def _rest_of(self, passed: Mapping[str, Any]) -> bytes:
        if self._rest is None or self._rest.name not in passed:
            return _NOT_PASSED
        one = self._rest
        items = [
            other.type.encode_unbounded(item, what=other.what, root=other.name)
            for other, item in zip(self._repeated(one, len(passed[one.name])), passed[one.name], strict=True)
        ]
        return b"[" + b",".join(items) + b"]"

    def _rest_by_name_of(self, passed: Mapping[str, Any]) -> bytes:
        if self._rest_by_name is None or self._rest_by_name.name not in passed:
            return _NOT_PASSED
        one = self._rest_by_name
        items = [
            name.encode() + b":" + one.type.encode_unbounded(item, what=self._what(name), root=name)
            for name, item in sorted(passed[one.name].items())
        ]
        return b"{" + b",".join(items) + b"}"

    def _repeated(self, one: _Parameter, count: int) -> list[_Parameter]:
        names = [f"{one.name}[{index}]" for index in range(count)]
        return [one._replace(name=name, what=self._what(name)) for name in names]

    def _what(self, parameter: str) -> str:
        return f"argument {parameter!r} of {self.name}"

    def _parameters_of(self, count: int) -> Sequence[_Parameter]:
        beyond = count - len(self._positional)
        if beyond == 0:
            return self._positional
        if beyond > 0 and self._rest is None:
            problem = f"{count} arguments were given, and it takes {len(self._positional)}"
            raise InvalidValueError(f"the call of {self.name}", "", problem, _REMEDY)
        rest = self._repeated(self._rest, beyond) if self._rest else []
        return [*self._positional[:count], *rest]

    def _check_nothing_is_missing(self, count: int) -> None:
        if count >= self._args_min:
            return
        for one in (*self._positional[count:], *self._keyword):
            if one.is_required:
                raise InvalidValueError(one.what, "", "it is missing", _REMEDY)


_POSITIONAL_ONLY = inspect.Parameter.POSITIONAL_ONLY
_POSITIONAL = inspect.Parameter.POSITIONAL_OR_KEYWORD
_KEYWORD = inspect.Parameter.KEYWORD_ONLY
_REST = inspect.Parameter.VAR_POSITIONAL
_REST_BY_NAME = inspect.Parameter.VAR_KEYWORD
_KINDS = (_POSITIONAL_ONLY, _POSITIONAL, _KEYWORD, _REST, _REST_BY_NAME)


def _of(shape: inspect.Signature, kind: object) -> list[inspect.Parameter]:
    return [one for one in shape.parameters.values() if one.kind is kind]


def _args_min(positional: Sequence[_Parameter], keyword: Sequence[_Parameter]) -> int:
    """How many arguments a call without keywords needs: more than there can be if one must be passed by name."""
    if any(one.is_required for one in keyword):
        return sys.maxsize
    return sum(one.is_required for one in positional)


def _parameter(function: str, parameter: inspect.Parameter, hints: Mapping[str, object]) -> _Parameter:
    what = f"argument {parameter.name!r} of {function}"
    is_required = parameter.default is inspect.Parameter.empty and parameter.kind not in (_REST, _REST_BY_NAME)
    annotation = hints.get(parameter.name, object)
    if isinstance(annotation, (ParamSpecArgs, ParamSpecKwargs)) or get_origin(annotation) is Unpack:
        annotation = object
    try:
        return _Parameter(parameter.name, what, value_type(annotation), is_required)
    except InvalidValueError as error:
        raise InvalidValueError(what, "", str(error).rpartition("; ")[0], error.remedy) from None


def _trimmed(encoded: list[bytes]) -> list[bytes]:
    while encoded and encoded[-1] is _NOT_PASSED:
        encoded.pop()
    return encoded


_known: WeakKeyDictionary[object, dict[int, Signature]] = WeakKeyDictionary()


def signature_types(function: Callable[..., object], *, leading: int = 0) -> Signature:
    """Return the value types of a step's or a workflow's function; the same object each time.

    A bound method's `self` is no argument. What has no signature (some builtins) takes anything, unannotated.

    Args:
        function: Any callable. Its annotations are resolved now: call this when its module has been imported.
        leading: Number of first parameters that are Relight's own and are left out: 1 for a workflow's `ctx`.

    Raises:
        InvalidValueError: An annotation can't be resolved, or pydantic can't handle it; it names the parameter.
    """
    if isinstance(function, MethodType):
        return signature_types(function.__func__, leading=leading + 1)
    try:
        kept = _known.setdefault(function, {})
    except TypeError:
        return _signature(function, leading)
    if leading not in kept:
        kept[leading] = _signature(function, leading)
    return kept[leading]


def _signature(function: Callable[..., object], leading: int) -> Signature:
    name = cast("str", getattr(function, "__qualname__", type(function).__qualname__))
    try:
        shape = inspect.signature(function)
    except (TypeError, ValueError):
        return Signature(name, _UNKNOWN, {})
    parameters = list(shape.parameters.values())
    while leading and parameters and parameters[0].kind in (_POSITIONAL_ONLY, _POSITIONAL):
        del parameters[0]
        leading -= 1
    shape = shape.replace(parameters=parameters)
    return Signature(name, shape, _hints(function, name, (*shape.parameters, "return")))


def _hints(function: Callable[..., object], name: str, wanted: Sequence[str]) -> dict[str, object]:
    source = _source(function)
    annotations = get_annotations(source, format=Format.FORWARDREF)
    # Each one by itself: a name that is only there for type checkers does no harm where the type is not needed (`ctx`).
    hints = {one: _resolved(source, name, one, annotations[one]) for one in wanted if one in annotations}
    return hints | {"return": function} if isinstance(function, type) else hints


def _source(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return what carries the annotations of `inspect.signature(function)`."""
    function = inspect.unwrap(function, stop=lambda one: hasattr(one, "__signature__"))
    if isinstance(function, partial):
        return _source(function.func)
    if isinstance(function, type):
        return cast("Callable[..., Any]", function.__init__)  # type: ignore[misc]  # Only its annotations are read.
    if not hasattr(function, "__annotations__") and not inspect.isroutine(function):
        return type(function).__call__
    return function


def _resolved(source: Callable[..., Any], function: str, name: str, annotation: object) -> object:
    holder = SimpleNamespace(__annotations__={name: annotation})
    try:
        return get_type_hints(
            holder, globalns=getattr(source, "__globals__", {}), localns=_locals(source), include_extras=True
        )[name]
    except (NameError, AttributeError, TypeError, SyntaxError) as error:
        what = f"the return annotation of {function}" if name == "return" else f"argument {name!r} of {function}"
        problem = f"its annotation can't be resolved ({error})"
        remedy = "define or import the name at the top of the module, not only under TYPE_CHECKING"
        raise InvalidValueError(what, "", problem, remedy) from None


def _locals(source: Callable[..., Any]) -> dict[str, object]:
    """Names that an annotation in a function's body may use: type parameters, and what the function closes over."""
    names: dict[str, object] = {one.__name__: one for one in getattr(source, "__type_params__", ())}
    free: tuple[str, ...] = getattr(getattr(source, "__code__", None), "co_freevars", ())
    cells: tuple[CellType, ...] = getattr(source, "__closure__", None) or ()
    for name, cell in zip(free, cells, strict=False):
        try:
            names[name] = cell.cell_contents
        except ValueError:
            # It is assigned later; an annotation that needs it is then reported as not defined.
            continue
    return names


def _awaited(annotation: object) -> object:
    """Return what awaiting gives, for a plain function that returns a coroutine."""
    if annotation is Awaitable or annotation is Coroutine:
        return object
    return get_args(annotation)[-1] if get_origin(annotation) in (Awaitable, Coroutine) else annotation
