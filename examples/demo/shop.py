"""The demo's application: an order is charged, judged by a model, reviewed by a person if need be, and confirmed."""

from __future__ import annotations

from dataclasses import dataclass

import httpx

from relight import Retry, WorkflowContext, step, workflow

__all__ = (
    "Order",
    "Receipt",
    "Review",
    "Services",
    "charge_card",
    "process_order",
    "refund",
    "score_fraud",
    "send_confirmation",
)


@dataclass(frozen=True)
class Order:
    id: str
    customer: str
    cents: int


@dataclass(frozen=True)
class Review:
    approved: bool
    by: str


@dataclass(frozen=True)
class Receipt:
    charge: str | None
    reviewer: str | None


@dataclass(frozen=True)
class Services:
    """What the steps need of the world; the worker's lifespan makes it."""

    provider: httpx.AsyncClient
    model: httpx.AsyncClient
    sends_key: bool

    def key(self) -> dict[str, str]:
        # The same for every attempt of this step of this run, whichever worker makes it.
        return {"Idempotency-Key": step.info().idempotency_key} if self.sends_key else {}


@step(timeout=20, retry=Retry(delay=0.2))
async def charge_card(order: Order) -> str:
    services = step.deps(Services)
    charge = {"order": order.id, "customer": order.customer, "cents": order.cents}
    answer = await services.provider.post("/charges", json=charge, headers=services.key())
    return str(answer.raise_for_status().json()["charge"])


@step(timeout=20, retry=Retry(delay=0.2))
async def score_fraud(order: Order) -> float:
    question = {"prompt": f"Is an order of {order.cents} cents by {order.customer} a fraud?", "cents": order.cents}
    answer = await step.deps(Services).model.post("/score", json=question)
    return float(answer.raise_for_status().json()["risk"])


@step(timeout=20, retry=Retry(delay=0.2))
async def refund(charge: str) -> None:
    services = step.deps(Services)
    (await services.provider.post("/refunds", json={"charge": charge}, headers=services.key())).raise_for_status()


@step(timeout=20, retry=Retry(delay=0.2))
async def send_confirmation(order: Order, charge: str) -> None:
    services = step.deps(Services)
    text = {"to": order.customer, "charge": charge}
    (await services.provider.post("/confirmations", json=text, headers=services.key())).raise_for_status()


@workflow(queue="orders")
async def process_order(ctx: WorkflowContext, order: Order) -> Receipt:
    charge = await charge_card(order)
    risk = await score_fraud(order)

    reviewer = None
    if risk > 0.5:
        review = await ctx.suspend("fraud-review", {"risk": risk}, type=Review)
        reviewer = review.by
        if not review.approved:
            await refund(charge)
            return Receipt(charge=None, reviewer=reviewer)

    await send_confirmation(order, charge)
    return Receipt(charge=charge, reviewer=reviewer)
