"""Calls and signatures: one call has one digest, and arguments are checked before anything is sent."""

from __future__ import annotations

import functools
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Generic, NoReturn, ParamSpec, TypeVar

import pytest

from relight.errors import InvalidValueError
from relight.sdk._values import digest, signature_types, value_type

if TYPE_CHECKING:
    from decimal import Decimal as OnlyForCheckers

P = ParamSpec("P")
R = TypeVar("R")


@dataclass
class Order:
    id: str
    cents: int = 0


@dataclass
class RushOrder(Order):
    hours: int = 1


def charge(customer: str, cents: int, note: str = "", /, *, tries: int = 1) -> str:
    raise NotImplementedError


def pay(customer: str, cents: int = 5, note: str = "", *, tries: int = 1) -> str:
    raise NotImplementedError


def loose(first: int, *rest: int, **named: object) -> None:
    raise NotImplementedError


async def process(ctx: OnlyForCheckers, order: Order, notify: bool = True) -> list[Order]:
    raise NotImplementedError


def hidden(amount: OnlyForCheckers) -> None:
    raise NotImplementedError


def started(x: int) -> Coroutine[Any, Any, datetime]:
    raise NotImplementedError


def hopeless() -> NoReturn:
    raise NotImplementedError


def charge_one(cents: int) -> None:
    raise NotImplementedError


def anything(*args):  # type: ignore[no-untyped-def]  # pyright: ignore
    raise NotImplementedError


class Shop:
    def __init__(self, name: str) -> None:
        self.lock = object()

    def sell(self, order: Order) -> Order:
        raise NotImplementedError

    @classmethod
    def open(cls, name: str) -> int:
        raise NotImplementedError

    @staticmethod
    def close(name: str) -> int:
        raise NotImplementedError

    def __call__(self, cents: int) -> float:
        raise NotImplementedError


def logged(function: Callable[P, R]) -> Callable[P, R]:
    @functools.wraps(function)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> R:
        return function(*args, **kwargs)

    return wrapper


def unwrapped(function: Callable[P, R]) -> Callable[P, R]:
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> R:
        return function(*args, **kwargs)

    return wrapper


def of(function: Callable[..., object], *args: object, **kwargs: object) -> str:
    return signature_types(function).digest(args, kwargs)


def test_one_call_has_one_digest_however_it_is_written() -> None:
    digests = {of(pay, "c", 1), of(pay, "c", cents=1), of(pay, cents=1, customer="c")}

    assert len(digests) == 1


def test_other_calls_have_other_digests() -> None:
    digests = [
        of(pay, "c"),
        of(pay, "c", 1),
        of(pay, "c", 1, "1"),
        of(pay, "c", note="1"),
        of(pay, "c", tries=1),
        of(pay, "c", 0),
        of(pay, "c,1"),
        of(loose, 1),
        of(loose, 1, 2),
        of(loose, 1, 2, 3),
        of(loose, 1, a=2),
        of(loose, 1, a=2, b=2),
        of(loose, 1, b=2),
        of(loose, 1, 2, a=2),
    ]

    assert len(set(digests)) == len(digests)


def test_a_new_optional_parameter_does_not_change_the_digest() -> None:
    def before(customer: str) -> None: ...
    def after(customer: str, cents: int = 1, *, note: str = "") -> None: ...

    assert of(before, "c") == of(after, "c")


def test_the_digest_is_fixed_for_ever() -> None:
    assert of(pay, "c", 1) == digest([b'"c"', b"1"]) == "f2b540ff5e2afdae"


def test_keywords_that_a_function_collects_have_no_order() -> None:
    assert of(loose, 1, a=1, b=2) == of(loose, 1, b=2, a=1)
    assert of(loose, first=1, a=1) == of(loose, 1, a=1)


def test_a_call_that_python_refuses_is_a_type_error_that_names_the_function() -> None:
    for args, kwargs in (((), {}), (("c", 1, "n", 4), {}), (("c",), {"customer": "d"}), (("c",), {"what": 1})):
        with pytest.raises(TypeError, match=r"^pay: "):
            signature_types(pay).digest(args, kwargs)


def test_positional_only_parameters_have_no_keyword() -> None:
    assert len({of(charge, "c", 1), of(charge, "c", 1, tries=1), of(charge, "c", 1, "")}) == 3
    with pytest.raises(TypeError):
        of(charge, "c", cents=1)


def test_an_argument_that_has_no_json_is_refused_by_its_name() -> None:
    with pytest.raises(InvalidValueError, match=r"argument 'client' of loose: object can't be written") as caught:
        of(loose, 1, client=object())

    assert "step.deps" in caught.value.remedy
    with pytest.raises(InvalidValueError, match=r"argument 'customer' of pay: "):
        of(pay, "\ud800")


def test_a_large_argument_is_digested() -> None:
    assert len(of(pay, "x" * 1_000_000)) == 16


def test_self_is_no_argument_of_a_bound_method() -> None:
    shop = Shop("s")

    assert of(shop.sell, Order("a")) == of(Shop("t").sell, order=Order("a"))
    assert signature_types(shop.sell).result is value_type(Order)
    assert of(Shop.open, "a") == of(Shop.close, "a")
    assert signature_types(Shop.open).result is value_type(int)


def test_objects_classes_partials_and_wrapped_functions_keep_their_annotations() -> None:
    assert signature_types(Shop("s")).result is value_type(float)
    assert signature_types(functools.partial(pay, "c")).result is value_type(str)
    assert of(functools.partial(pay, "c"), 1) == of(charge_one, 1)
    assert signature_types(logged(pay)).result is value_type(str)
    assert of(logged(pay), "c", cents=1) == of(pay, "c", 1)
    assert signature_types(Order).result is value_type(Order)
    assert of(Order, "a", cents=1) == of(Order, "a", 1)


def test_functions_without_annotations_or_signature_take_plain_values() -> None:
    functions: list[Any] = [anything, min, dict, unwrapped(pay)]
    for function in functions:
        assert of(function, 1, "a") == of(function, 1, "a")
        assert of(function, 1, "a") != of(function, 1, "b")

    assert signature_types(lambda: None).result is value_type(object)
    assert not signature_types(hopeless).result.is_annotated


def test_what_is_awaited_is_the_result() -> None:
    def awaited() -> Awaitable[int]:
        raise NotImplementedError

    assert signature_types(started).result is value_type(datetime)
    assert signature_types(awaited).result is value_type(int)


def test_one_function_has_one_signature() -> None:
    assert signature_types(pay) is signature_types(pay)
    assert signature_types(process, leading=1) is signature_types(process, leading=1)


def test_an_annotation_that_is_only_there_for_checkers_is_one_clear_error() -> None:
    with pytest.raises(InvalidValueError, match=r"'amount' of hidden: .*'OnlyForCheckers' is not defined") as caught:
        signature_types(hidden)

    assert "TYPE_CHECKING" in caught.value.remedy


def test_an_annotation_that_pydantic_can_not_handle_names_the_parameter() -> None:
    class Client: ...

    def step(client: Client) -> None:
        print(Client)

    with pytest.raises(InvalidValueError, match="argument 'client' of "):
        signature_types(step)


def test_a_class_of_the_enclosing_function_resolves_where_the_function_uses_it() -> None:
    @dataclass
    class Local:
        x: int

    def make() -> Local:
        return Local(1)

    assert signature_types(make).result is value_type(Local)


def test_a_generic_function_is_unannotated_where_its_type_variable_stands() -> None:
    class Holder(Generic[R]):
        def keep(self, value: R, values: list[R]) -> R:
            raise NotImplementedError

    keep = signature_types(Holder[int]().keep)

    assert keep.result.record({"a": 1}, what="result") == (b'{"a":1}', {"a": 1})


def test_arguments_of_a_workflow_are_validated_encoded_and_come_back() -> None:
    types = signature_types(process, leading=1)

    encoded = types.encode_arguments((Order("a", 3), False))

    assert encoded == (b'{"id":"a","cents":3}', b"false")
    assert types.decode_arguments(encoded) == (Order("a", 3), False)
    assert types.encode_arguments(({"id": "a", "cents": 3},)) == encoded[:1]
    assert types.decode_arguments(encoded[:1]) == (Order("a", 3),)
    assert types.result is value_type(list[Order])


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ((), "argument 'order' of process: it is missing"),
        ((Order("a"), True, 3), "the call of process: 3 arguments were given, and it takes 2"),
        (("a",), "argument 'order' of process: "),
        (({"id": "a", "cents": "many"},), "argument 'order' of process at order.cents: "),
        (({"cents": 1},), "argument 'order' of process at order.id: "),
        ((RushOrder("a"),), "argument 'order' of process: RushOrder would come back as Order"),
        ((Order("a"), "perhaps"), "argument 'notify' of process: "),
        ((Order("\ud800"),), "argument 'order' of process at order.id: "),
    ],
)
def test_arguments_that_a_workflow_can_not_take_are_refused_by_name(args: tuple[object, ...], message: str) -> None:
    with pytest.raises(InvalidValueError) as caught:
        signature_types(process, leading=1).encode_arguments(args)

    assert str(caught.value).startswith(message)
    assert caught.value.remedy


def test_recorded_arguments_that_the_code_no_longer_takes_are_refused() -> None:
    types = signature_types(process, leading=1)

    for raws in ([], [b"{}"], [b'{"id":"a"}', b"true", b"1"]):
        with pytest.raises(InvalidValueError):
            types.decode_arguments(raws)


def test_a_workflow_with_collected_or_keyword_only_parameters() -> None:
    def many(ctx: object, *words: str) -> None: ...
    def keyed(ctx: object, *, word: str) -> None: ...
    def both(ctx: object, *words: str, word: str) -> None: ...

    assert signature_types(many, leading=1).encode_arguments(("a", "b")) == (b'"a"', b'"b"')
    assert signature_types(many, leading=1).decode_arguments([b'"a"', b'"b"']) == ("a", "b")
    with pytest.raises(InvalidValueError, match=r"argument 'words\[1\]' of .*many"):
        signature_types(many, leading=1).encode_arguments(("a", 1))
    with pytest.raises(InvalidValueError, match=r"argument 'word' of .*keyed: it is missing"):
        signature_types(keyed, leading=1).encode_arguments(())
    with pytest.raises(InvalidValueError, match=r"argument 'word' of .*both: it is missing"):
        signature_types(both, leading=1).encode_arguments(("a", "b"))
