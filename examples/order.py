"""An order from charge to confirmation: steps, an error that is caught, a durable sleep."""

import asyncio
from dataclasses import dataclass
from datetime import timedelta

from relight import Relight, StepFailed, TerminalError, Worker, WorkflowContext, step, workflow


@dataclass(frozen=True)
class Order:
    id: str
    customer: str
    cents: int


class CardDeclined(TerminalError):
    """A `TerminalError` is not tried again."""


@step
async def charge_card(customer: str, cents: int) -> str:
    # A real provider gets this key; it stays the same if the worker dies and the step runs again elsewhere.
    key = step.info().idempotency_key
    if cents > 100_000:
        raise CardDeclined(f"{customer} has no {cents / 100:.2f}")
    return f"charge of {cents / 100:.2f} under the key {key}"


@step
def send_email(to: str, text: str) -> None:  # a plain function runs in a thread
    print(f"to {to}: {text}")


@workflow(queue="orders")
async def process_order(ctx: WorkflowContext, order: Order) -> str:
    try:
        charge = await charge_card(order.customer, order.cents)
    except StepFailed as error:  # the same exception live and in replay
        if not error.matches(CardDeclined):
            raise
        await send_email(order.customer, f"declined: {error}")
        return "declined"
    await ctx.sleep(timedelta(milliseconds=200))  # could be ten days: nothing is held while it sleeps
    await send_email(order.customer, "confirmed")
    return charge


async def main() -> None:
    async with Relight.local() as client, Worker(client, [process_order]):
        print(await client.call(process_order, Order("1", "ann", 4_200)))
        print(await client.call(process_order, Order("2", "ben", 990_000)))


if __name__ == "__main__":
    asyncio.run(main())
