"""What yesterday's model recorded and today's can't read: the run is parked with the path, and goes on when mended."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import pytest
from pydantic import BaseModel
from tests.crash.workers_in_memory import MemoryWorker, WorkersInMemory

from relight import RunFailed, Workflow, WorkflowContext, step, workflow
from relight.subjects import records as r


class Item(BaseModel):
    price: int


class Yesterday(BaseModel):
    items: list[Item]


class DatedItem(Item):
    currency: str


class Today(BaseModel):
    items: list[DatedItem]


class DefaultingItem(Item):
    currency: str = "EUR"


class Mended(BaseModel):
    items: list[DefaultingItem]


ORDER = Yesterday(items=[Item(price=5)])


F = TypeVar("F", bound=Callable[..., Any])


@dataclass(frozen=True)
class Case:
    """One place where a value is recorded."""

    make: Callable[[type[Any]], Workflow[..., Any]]
    what: str
    arguments: tuple[Any, ...] = ()


def annotated(function: F, name: str, model: type[Any]) -> F:
    """The function with an annotation that only the test knows."""
    function.__annotations__[name] = model
    return function


def with_step(model: type[Any]) -> Workflow[..., Any]:
    async def load() -> Any:
        return model.model_validate(ORDER.model_dump())

    load_order = step(annotated(load, "return", model))

    @workflow(name="orders")
    async def orders(ctx: WorkflowContext) -> int:
        order = await load_order()
        await ctx.suspend("on", type=str)
        return int(order.items[0].price)

    return orders


def with_signal(model: type[Any]) -> Workflow[..., Any]:
    @workflow(name="orders")
    async def orders(ctx: WorkflowContext) -> int:
        order = await ctx.wait_for_signal("order", type=model)
        await ctx.suspend("on", type=str)
        return int(order.items[0].price)

    return orders


def with_two_signals(model: type[Any]) -> Workflow[..., Any]:
    """One that is passed over looks like the wait for the second."""

    @workflow(name="orders")
    async def orders(ctx: WorkflowContext) -> int:
        order = await ctx.wait_for_signal("order", type=model)
        await ctx.wait_for_signal("order", type=str)
        return int(order.items[0].price)

    return orders


def with_answer(model: type[Any]) -> Workflow[..., Any]:
    @workflow(name="orders")
    async def orders(ctx: WorkflowContext) -> int:
        order = await ctx.suspend("order", type=model)
        await ctx.suspend("on", type=str)
        return int(order.items[0].price)

    return orders


def with_awakeable(model: type[Any]) -> Workflow[..., Any]:
    @workflow(name="orders")
    async def orders(ctx: WorkflowContext) -> int:
        order = await ctx.awakeable(type=model)
        await ctx.suspend("on", type=str)
        return int(order.items[0].price)

    return orders


def with_child(model: type[Any]) -> Workflow[..., Any]:
    @workflow(name="orders")
    async def orders(ctx: WorkflowContext) -> int:
        order = await ctx.call("child", type=model)
        await ctx.suspend("on", type=str)
        return int(order.items[0].price)

    return orders


def with_argument(model: type[Any]) -> Workflow[..., Any]:
    async def orders(ctx: WorkflowContext, order: Any) -> int:
        await ctx.suspend("on", type=str)
        return int(order.items[0].price)

    return workflow(name="orders")(annotated(orders, "order", model))


@workflow
async def child(ctx: WorkflowContext) -> Yesterday:
    return ORDER


CASES = {
    "step": Case(with_step, "the recorded result of load#1 at value.items[0].currency"),
    "signal": Case(with_signal, "signal 'order' at value.items[0].currency"),
    "signals": Case(with_two_signals, "signal 'order' at value.items[0].currency"),
    "answer": Case(with_answer, "the answer to 'order' at value.items[0].currency"),
    "awakeable": Case(with_awakeable, "what awakeable 1 was completed with at value.items[0].currency"),
    "child": Case(with_child, "the result of run 'run-child-1' at value.items[0].currency"),
    "argument": Case(with_argument, "order.items[0].currency", (ORDER,)),
}


async def yesterday(site: WorkersInMemory, case: Case) -> MemoryWorker:
    """Let the run come to where it has read the value."""
    worker = await site.add(case.make(Yesterday), child)
    run = await site.result(site.client.start(case.make(Yesterday), *case.arguments, id="run"))
    await site.until(lambda: bool(site.turns("run")))
    if "signal" in case.what:
        await run.signal("order", ORDER)
    if "answer" in case.what:
        await run.resume("order", ORDER)
    if "awakeable" in case.what:
        (created,) = site.records("run", r.AwakeableCreated)
        assert isinstance(created, r.AwakeableCreated)
        await site.client.complete(created.token, ORDER)
    last = r.SignalAwaited if case is CASES["signals"] else r.Suspended
    count = 2 if last is r.SignalAwaited or "answer" in case.what else 1
    await site.until(lambda: len(site.records("run", last)) == count)
    worker.kill()
    return worker


@pytest.mark.parametrize("name", CASES)
async def test_the_run_is_parked_with_the_path_and_goes_on_when_the_code_is_mended(
    name: str, site: WorkersInMemory
) -> None:
    case = CASES[name]
    await yesterday(site, case)
    run = site.client.get_run("run", type=int)

    today = await site.add(case.make(Today), child, code="today")
    if name == "signals":
        await run.signal("order", "on")
    else:
        await run.resume("on", "on")
    await site.until(lambda: bool(site.records("run", r.Parked)))
    described = await run.describe()
    assert described.parked == "stuck"
    assert case.what in str(described.last_error)
    today.kill()
    await site.add(case.make(Mended), child, code="mended")

    assert await site.result(run.result()) == 5


async def test_a_value_that_no_awakeable_can_take_parks_its_run_when_it_comes(site: WorkersInMemory) -> None:
    worker = await site.add(with_awakeable(Today))
    run = await site.result(site.client.start("orders", type=int, id="run"))
    await site.until(lambda: bool(site.records("run", r.AwakeableCreated)))
    (created,) = site.records("run", r.AwakeableCreated)
    assert isinstance(created, r.AwakeableCreated)

    await site.client.complete(created.token, ORDER)
    await site.until(lambda: bool(site.records("run", r.Parked)))
    assert "what awakeable 1 was completed with" in str((await run.describe()).last_error)
    worker.kill()
    await site.add(with_awakeable(Mended), code="mended")
    await run.resume("on", "on")

    assert await site.result(run.result()) == 5


async def test_a_start_that_has_waited_since_yesterday_is_parked_before_its_first_turn(site: WorkersInMemory) -> None:
    run = await site.result(site.client.start(with_argument(Yesterday), ORDER, id="run"))
    await run.resume("on", "on")

    today = await site.add(with_argument(Today), code="today")
    await site.until(lambda: bool(site.records("run", r.Parked)))
    today.kill()
    await site.add(with_argument(Mended), code="mended")

    assert await site.result(run.result()) == 5


async def test_arguments_of_a_workflow_that_is_known_by_name_only_fail_the_run(site: WorkersInMemory) -> None:
    await site.add(with_argument(Today))
    run = await site.result(site.client.start("orders", {"items": 5}, type=int))

    with pytest.raises(RunFailed, match=r"order\.items"):
        await site.result(run.result())
