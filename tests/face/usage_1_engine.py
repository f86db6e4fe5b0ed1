# pyright: strict
"""Checked use of the engine's face: each `assert_type` must hold and each line marked `# refused` must be an error, under
mypy --strict and pyright strict. It is checked, never run; `test_face.py` says what the checkers must say of it.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import assert_type

from pydantic import BaseModel

from relight import (
    Effect,
    Relight,
    Retry,
    RetryAfter,
    Run,
    Step,
    StepFailed,
    TerminalError,
    Worker,
    WorkflowContext,
    step,
    workflow,
)
from relight.testing import TestEnvironment

class Order(BaseModel):
    id: str
    customer: str
    cents: int

class Review(BaseModel):
    approved: bool
    by: str

class Refusal(BaseModel):
    why: str

class Receipt(BaseModel):
    charge: str
    approved_by: str | None = None

class CardDeclined(Exception): ...

@dataclass
class Deps:
    async def charge(self, customer: str, cents: int, key: str) -> str:
        return f"ch_{customer}_{cents}_{key}"

# ------------------------------------------------------------------------------------ steps, all six ways

@step(retry=Retry(attempts=5, delay=1, delay_max=30, never=(ValueError,)), timeout=20, effect="idempotent")
async def charge_card(customer: str, cents: int) -> str:
    if cents == 0:
        raise TerminalError("nothing to charge")
    if cents > 10**9:
        raise RetryAfter(timedelta(minutes=1))
    step.heartbeat({"asked": True})
    seen = step.last_heartbeat(dict[str, bool])
    assert_type(seen, dict[str, bool] | None)
    return await step.deps(Deps).charge(customer, cents, step.info().idempotency_key)

@step
async def fraud_score(order: Order) -> float:
    return order.cents / 100_000

@step
def send_email(to: str, text: str) -> None:
    print(to, text)

@step(timeout=timedelta(seconds=3))
def word_count(text: str, *, lower: bool = False) -> int:
    return len((text.lower() if lower else text).split())

def plain(a: int, *, b: str = "") -> bytes:
    return b"%d" % a

async def plain_async(a: int) -> list[str]:
    return [str(a)]

def typed(a: Step[[str, int], str]) -> None: ...

# ----------------------------------------------------------------------------------------------- workflows

@workflow(queue="orders", timeout=timedelta(days=7))
async def process_order(ctx: WorkflowContext, order: Order, notify: bool = True) -> Receipt:
    try:
        charge = await charge_card(order.customer, cents=order.cents)
    except StepFailed as error:
        if error.matches(CardDeclined):
            return Receipt(charge="declined")
        raise
    assert_type(charge, str)
    reviewer: str | None = None
    if order.cents > 100_000:
        answer = await ctx.suspend("fraud-review", {"order": order.id}, type=Review, timeout=timedelta(days=3))
        assert_type(answer, Review)
        either = await ctx.suspend("second", type=Review | Refusal)
        assert_type(either, Review | Refusal)
        anything = await ctx.suspend("third")
        assert_type(anything, object)
        reviewer = answer.by
    await ctx.sleep(timedelta(minutes=10))
    await ctx.sleep(0.5)
    assert_type(await ctx.step("plain", plain, 3, b="x"), bytes)
    assert_type(await ctx.step("plain", plain_async, 3), list[str])
    assert_type(await ctx.step("method", Deps().charge, "c", 1, key="k"), str)
    assert_type(await ctx.step("lambda", lambda: 3), int)
    assert_type(await ctx.step("score", step(plain, retry=Retry(attempts=2)), 3), bytes)
    assert_type(await charge_card.options(name="again", effect="unsafe")("c", 3), str)
    assert_type(await send_email(order.customer, "confirmed"), None)
    assert_type(await word_count("a b", lower=True), int)
    score, words = await asyncio.gather(fraud_score(order), word_count("a b"))
    assert_type(score, float)
    assert_type(words, int)
    async with asyncio.TaskGroup() as group:
        task = group.create_task(charge_card("c", 1))
    assert_type(task.result(), str)
    return Receipt(charge=charge, approved_by=reviewer)

@workflow
async def nothing(ctx: WorkflowContext) -> None:
    ctx.log.info("nothing")

@workflow
async def waits(ctx: WorkflowContext) -> None:
    token = ctx.awakeable(type=Review)
    assert_type(await token, Review)
    assert_type(await ctx.wait_for_signal("go", type=int), int)
    async for note in ctx.signals("note", type=str):
        assert_type(note, str)
    order = Order(id="o", customer="c", cents=1)
    assert_type(await process_order(ctx, order, notify=False), Receipt)      # in line, in this run

# -------------------------------------------------------------------------------------------------- client

@asynccontextmanager
async def lifespan() -> AsyncGenerator[Deps]:
    yield Deps()

async def main(order: Order) -> None:
    async with Relight("nats://127.0.0.1:4222") as relight:
        run = await relight.start(process_order, order, id="order-42", delay=timedelta(minutes=1))
        assert_type(run, Run[Receipt])
        assert_type(await run.result(timeout=60), Receipt)
        assert_type(await relight.call(process_order, order, False), Receipt)
        assert_type(await relight.call(nothing), None)
        assert_type(await relight.start("process_order", order, type=Receipt, id="x"), Run[Receipt])
        assert_type(relight.get_run("order-42", type=Receipt), Run[Receipt])
        assert_type(relight.get_run("order-42"), Run[object])
        await run.resume("fraud-review", Review(approved=True, by="ann"))
        await run.resolve("charge_card", result="ch_2")
        async with Worker(relight, [process_order, nothing], lifespan=lifespan):
            async for found in relight.runs(workflow="process_order", status="parked"):
                assert_type(found, Run[object])

        await relight.start(process_order, "order-42")                  # refused
        await relight.start(process_order)                              # refused
        await relight.start(process_order, order, quueue="x")           # refused
        await relight.start(plain_workflow, order)                      # type-checks; refused at run time
        await relight.start(process_order, order, session="x")          # refused
        await charge_card("c", "3")                                     # refused
        await charge_card.options(retries=3)("c", 3)                    # refused

@workflow
async def nothing_with(ctx: WorkflowContext, order: Order) -> int:
    await charge_card("c", 3)
    charge_card("c", 3)                                                 # refused: never awaited
    return 3

async def plain_workflow(ctx: WorkflowContext, order: Order) -> int:
    return 3

@workflow                                                               # refused: not async
def sync_workflow(ctx: WorkflowContext) -> int:
    return 3

async def test_order(order: Order) -> None:
    async def charged(customer: str, cents: int) -> str:
        return "ch_1"
    def mailed(to: str, text: str) -> None: ...
    def wrong(to: int) -> None: ...
    async with TestEnvironment([process_order], deps=Deps()) as env:
        env.fake(charge_card)(charged)
        env.fake(send_email)(mailed)
        env.fake(send_email)(wrong)                                     # refused
        run = await env.start(process_order, order)
        await env.until(run, suspended="fraud-review")
        await run.resume("fraud-review", {"approved": True, "by": "ann"})
        assert_type(await run.result(), Receipt)
        await env.replay(run)

effect: Effect = "unsafe"
